use std::time::Duration;

use super::*;

#[test]
fn the_example_is_itself_a_configuration() {
    let text = example::<Whole>();
    assert_eq!(
        sources(&text, &[], &[]).load::<Whole>().unwrap(),
        sources("", &[], &[]).load().unwrap()
    );
}

use crate::unit::{self, ByteSize};

#[derive(confique::Config, Debug, PartialEq)]
struct Whole {
    /// What the server listens on.
    #[config(nested)]
    http: Http,
}

#[derive(confique::Config, Debug, PartialEq)]
struct Http {
    /// Address and port.
    #[config(default = "127.0.0.1:9000")]
    bind: std::net::SocketAddr,
    /// The largest request body.
    #[config(default = "1MiB")]
    body_limit: ByteSize,
    /// How long a request may take.
    #[config(default = "10s", deserialize_with = unit::duration)]
    timeout: Duration,
    /// Connections at once.
    #[config(default = 1000)]
    connections: u32,
    /// Another name of this server.
    name: Option<String>,
}

fn sources(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    Sources {
        file: Some(("unhidra.toml".into(), file.into())),
        env: own(env),
        flags: own(flags),
    }
}

#[test]
fn later_layers_win_over_earlier_ones() {
    let file = "[http]\nconnections = 1\nbody_limit = '2MiB'\ntimeout = '3s'";
    let env = [
        ("UNHIDRA_HTTP_BODY_LIMIT", "3MiB"),
        ("UNHIDRA_HTTP_TIMEOUT", "4s"),
        ("UNHIDRA_HTTP_NAME", "007"),
    ];
    let loaded: Whole = sources(file, &env, &[("http.timeout", "5s")]).load().unwrap();
    assert_eq!(loaded.http.bind.port(), 9000);
    assert_eq!(loaded.http.connections, 1);
    assert_eq!(loaded.http.body_limit, ByteSize::from_mib(3));
    assert_eq!(loaded.http.timeout, Duration::from_secs(5));
    assert_eq!(loaded.http.name.as_deref(), Some("007"));
}

#[test]
fn numbers_come_through_the_environment() {
    let loaded: Whole = sources("", &[("UNHIDRA_HTTP_CONNECTIONS", "7")], &[])
        .load()
        .unwrap();
    assert_eq!(loaded.http.connections, 7);
}

#[test]
fn an_unknown_key_is_refused_and_the_nearest_known_key_is_named() {
    let told = |sources: Sources| sources.load::<Whole>().unwrap_err().to_string();
    let file = told(sources("[http]\ntimout = '1s'", &[], &[]));
    assert_eq!(
        file,
        "unhidra.toml: unknown key `http.timout`, did you mean `http.timeout`?"
    );
    let env = told(sources("", &[("UNHIDRA_HTTP_BIN", "x")], &[]));
    assert_eq!(
        env,
        "environment: unknown key `UNHIDRA_HTTP_BIN`, did you mean `UNHIDRA_HTTP_BIND`?"
    );
    let flag = told(sources("", &[], &[("htp.bind", "x")]));
    assert_eq!(
        flag,
        "flag `htp.bind`: unknown key `htp.bind`, did you mean `http.bind`?"
    );
}

#[test]
fn a_file_that_is_not_toml_is_refused_in_one_line_that_says_where() {
    for (text, line) in [("[http]\nbind = 7\n", 2), ("[http]\n\nbind 7", 3), ("x", 1)] {
        let told = sources(text, &[], &[]).load::<Whole>().unwrap_err().to_string();
        assert!(
            told.starts_with("unhidra.toml") && told.lines().count() == 1,
            "{told}"
        );
        assert!(
            told.contains("unknown key") || told.contains(&format!("line {line}")),
            "{told}"
        );
    }
}

#[test]
fn the_effective_value_of_every_key_names_what_set_it() {
    let file = "[http]\nconnections = 1\nbody_limit = '2MiB'\ntimeout = '3s'";
    let env = [
        ("UNHIDRA_HTTP_BODY_LIMIT", "3MiB"),
        ("UNHIDRA_HTTP_CONNECTIONS", "7"),
    ];
    let effective = sources(file, &env, &[("http.bind", "127.0.0.1:1")])
        .effective::<Whole>()
        .unwrap();
    let shown: Vec<_> = effective
        .iter()
        .map(|one| (one.key.as_str(), one.value.as_deref(), one.origin.as_str()))
        .collect();
    let expected = [
        ("http.bind", Some("\"127.0.0.1:1\""), "flag"),
        ("http.body_limit", Some("\"3MiB\""), "UNHIDRA_HTTP_BODY_LIMIT"),
        ("http.timeout", Some("\"3s\""), "unhidra.toml"),
        ("http.connections", Some("7"), "UNHIDRA_HTTP_CONNECTIONS"),
        ("http.name", None, "default"),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn variables_of_no_section_are_left_alone() {
    let env = [("UNHIDRA_SERVICE_HOST", "10.0.0.1"), ("UNHIDRA_PROFILE", "work")];
    assert!(sources("", &env, &[]).load::<Whole>().is_ok());
}

#[test]
fn a_value_that_does_not_fit_names_its_origin_and_hides_the_value() {
    let error = sources("", &[("UNHIDRA_HTTP_TIMEOUT", "12 parsecs")], &[])
        .load::<Whole>()
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("UNHIDRA_HTTP_TIMEOUT: "), "{error}");
    assert!(!error.contains("parsecs"), "{error}");
}

#[test]
fn the_example_has_every_key_and_loads_once_uncommented() {
    let text = example::<Whole>();
    let keys = text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.starts_with(' '));
    let uncommented = format!(
        "[http]\n{}",
        keys.filter(|line| !line.ends_with('='))
            .collect::<Vec<_>>()
            .join("\n")
    );
    let loaded: Whole = sources(&uncommented, &[], &[]).load().unwrap();
    assert_eq!(loaded, sources("", &[], &[]).load().unwrap());
    assert!(
        text.contains(
            "# The largest request body.\n# Variable: UNHIDRA_HTTP_BODY_LIMIT\n#body_limit = \"1MiB\"\n"
        ),
        "{text}"
    );
}
