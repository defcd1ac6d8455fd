//! `doctor` and `config show` say what is, for people and for scripts.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;
use unhidra_testkit::process::Output;

use crate::{run, world};

/// The state of each check.
fn states(output: &Output) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = output.json().unwrap();
    findings
        .iter()
        .map(|one| (text(&one["check"]), text(&one["state"])))
        .collect()
}

#[test]
fn a_running_server_is_looked_at_without_being_disturbed() {
    let mut world = world().unwrap();
    world.person("alice").unwrap();
    let (data, address) = (
        world.server.data().display().to_string(),
        world.server.address().to_string(),
    );
    let arguments = [
        "--json", "doctor", "--full", "--data", &data, "--listen", &address,
    ];
    let looked = run(&world.server.logs(), &arguments).success().unwrap();
    let states = states(&looked);
    for check in [
        "configuration",
        "data folder",
        "keys",
        "database",
        "clock",
        "port",
    ] {
        assert_eq!(states[check], "ok", "{check}");
    }
    assert!(states.contains_key("disk") && states.contains_key("files"));
    world.person("bob").unwrap();
}

#[test]
fn an_open_folder_is_warned_of_and_served() {
    let mut world = world().unwrap();
    world.server.terminate().unwrap();
    let data = world.server.data();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let shown = data.display().to_string();
    let looked = run(
        &world.server.logs(),
        &["--json", "doctor", "--data", &shown, "--listen", "127.0.0.1:0"],
    );
    assert_eq!(states(&looked.success().unwrap())["data folder"], "warn");
    world.server.restart().unwrap();
    assert!(world.server.log().unwrap().contains("open to other users"));
}

#[test]
fn recovery_takes_the_log_in_and_removes_what_was_never_finished() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    alice.first().unwrap().send("bob", "before").unwrap();
    world.server.kill_nine().unwrap();
    let data = world.server.data();
    fs::write(data.join("keys.sealed.new"), b"half").unwrap();
    let shown = data.display().to_string();
    let arguments = ["doctor", "--recover", "--data", &shown, "--listen", "127.0.0.1:0"];
    let recovered = run(&world.server.logs(), &arguments).success().unwrap();
    let said = String::from_utf8_lossy(recovered.stdout()).into_owned();
    assert!(
        said.contains("1 unfinished files removed") && said.contains("taken in"),
        "{said}"
    );
    assert!(!data.join("keys.sealed.new").exists());
    let log = fs::metadata(data.join("unhidra.db-wal"));
    assert!(log.is_ok_and(|log| log.len() == 0), "looking makes an empty one");
    assert!(data.join("reserve").exists(), "there is room");
    world.server.restart().unwrap();
    let read = bob.first().unwrap().read_json().unwrap();
    assert_eq!(unhidra_testkit::person::texts(&read), ["before"]);
}

#[test]
fn the_effective_configuration_and_the_example_are_there_for_scripts() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("unhidra.toml"),
        "[server]\nmax_connections = 7\n",
    )
    .unwrap();
    let shown = run(
        folder.path(),
        &["--json", "config", "show", "--data", "elsewhere"],
    )
    .success()
    .unwrap();
    let shown = shown.json().unwrap();
    let key = |name: &str| shown.iter().find(|one| one["key"] == name).unwrap();
    assert_eq!(
        (
            key("server.data")["origin"].as_str(),
            key("server.data")["value"].as_str()
        ),
        (Some("flag"), Some("\"elsewhere\""))
    );
    assert_eq!(key("server.max_connections")["value"], "7");
    assert_eq!(key("log.filter")["origin"], "default");
    let example = run(folder.path(), &["--json", "config", "example"])
        .success()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(example.len(), shown.len());
    assert!(example.iter().all(|one| !one["doc"].as_str().unwrap().is_empty()));
}
