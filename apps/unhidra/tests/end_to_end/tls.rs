//! TLS: who may be talked to, what is refused, and certificates that change.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use unhidra_keys::local_ca::LocalCa;
use unhidra_testkit::{
    Device, Endpoint, Person, Seed, Server, World,
    endpoint::version,
    http::Http,
    person::Protection,
    process::{Output, Process, RUN_TIMEOUT},
    server::{Setting, local_ca},
    socket::{Event, ReceiveBuffer, Socket},
};
use unhidra_types::Timestamp;

use crate::program;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn encrypted() -> anyhow::Result<World> {
    let seed = Seed::from_environment()?;
    World::configured(program(), seed, vec![local_ca()])
}

fn now() -> anyhow::Result<Timestamp> {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are made around the real time"
    )]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(Timestamp::from_millis(u64::try_from(now.as_millis())?))
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path is UTF-8")
}

/// What `arguments` of `serve` are refused with, as a wrong configuration is.
fn refused(arguments: &[&str]) -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let mut command = program().command(folder.path());
    // Any port, unless they name one: what is refused may be looked at after the port.
    if !arguments.contains(&"--listen") {
        command.env("UNHIDRA_SERVER_LISTEN", "127.0.0.1:0");
    }
    command.arg("serve").args(arguments);
    let ended = Process::start(&mut command, b"")?.wait(RUN_TIMEOUT)?;
    ended.refusal(3)
}

/// A folder of a server with an authority, and a certificate of it that was made at `made`, in files of its own.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn made(at: Timestamp) -> anyhow::Result<Self> {
        let files = Self {
            folder: tempfile::tempdir()?,
        };
        let authority = files.authority();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&authority)?;
        files.renew(at)?;
        Ok(files)
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("data/tls")
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    /// Puts another certificate in the file.
    fn renew(&self, at: Timestamp) -> anyhow::Result<()> {
        let made = self.authority().join("server.pem");
        let _was_there = fs::remove_file(&made);
        let names = ["127.0.0.1".to_owned()];
        LocalCa::open(&self.authority(), at)?.certificate(&names, at)?;
        fs::rename(&made, self.certificate())?;
        Ok(())
    }

    fn settings(&self) -> anyhow::Result<Vec<Setting>> {
        let file = text(&self.certificate())?.to_owned();
        Ok(vec![
            ("UNHIDRA_TLS_MODE", "files".into()),
            ("UNHIDRA_TLS_CERTIFICATE", file.clone()),
            ("UNHIDRA_TLS_KEY", file),
        ])
    }
}

/// Waits until the server's log holds `line` so often.
fn logged(server: &Server, line: &str, times: usize) -> anyhow::Result<()> {
    let begin = std::time::Instant::now();
    while server.log()?.matches(line).count() < times {
        assert!(begin.elapsed() < RUN_TIMEOUT, "`{line}` is not in the log");
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn two_people_meet_by_a_link_and_talk_over_tls_alone() -> anyhow::Result<()> {
    let mut world = encrypted()?;
    let alice = world.person("alice")?;
    let link = world.invitation_link()?;
    let fingerprint = world.server.fingerprint()?;
    let bob = by_link(&mut world, "bob", &link)?;

    alice.first()?.send("bob", "hello")?;
    bob.first()?.send("alice", "hello back")?;
    let read = bob.first()?.read_json()?;
    assert_eq!(read[0].text.as_deref(), Some("hello"));
    let read = alice.first()?.read_json()?;
    let last = read.last().and_then(|message| message.text.as_deref());
    assert_eq!(last, Some("hello back"));

    // What the link carries is what the server prints: a profile that pins it by hand reaches the same server.
    assert!(
        link.starts_with("unhidra://127.0.0.1:") && !link.contains(&fingerprint),
        "{link}"
    );
    let shown: unhidra_client_native::invitation::InvitationLink = link.parse()?;
    assert_eq!(
        shown.authority.map(|authority| authority.to_string()),
        Some(fingerprint)
    );
    Ok(())
}

/// Registers with a link and nothing else.
fn by_link(world: &mut World, name: &str, link: &str) -> anyhow::Result<Person> {
    let device = world.device(name, Protection::KeyFile)?;
    let password = world.dice().word(24);
    let file = world.secret_file(&device, "password", &password)?;
    let file = text(&file)?;
    let arguments = [
        "--json",
        "register",
        "--username",
        name,
        "--invitation",
        link,
        "--password-file",
        file,
    ];
    let printed = device.run(arguments)?.success()?.json()?;
    Ok(Person {
        name: name.into(),
        password,
        recovery_key: printed[0]["recovery_key"]
            .as_str()
            .context("words are text")?
            .into(),
        devices: vec![device],
    })
}

#[test]
fn only_tls_1_3_is_spoken_and_it_is_announced_to_browsers() -> anyhow::Result<()> {
    let world = encrypted()?;
    let endpoint = world.server.endpoint();
    endpoint.certificate(&[&version::TLS13])?;
    let older = format!("{:#}", endpoint.certificate(&[&version::TLS12]).unwrap_err());
    assert!(older.contains("ProtocolVersion"), "{older}");
    let answer = Http::to(endpoint)?.get("/healthz", None)?;
    assert_eq!(answer.headers["strict-transport-security"], "max-age=31536000");
    Ok(())
}

#[test]
fn a_server_that_nobody_vouches_for_gets_nothing_and_its_fingerprint_is_shown() -> anyhow::Result<()> {
    let world = encrypted()?;
    let fingerprint = world.server.fingerprint()?;
    let device = world.device("stranger", Protection::KeyFile)?;
    let refusal = |trust: &[&str]| register(&world, &device, &world.server.url(), trust)?.refusal(12);

    let unknown = refusal(&[])?;
    assert!(
        unknown.contains(&fingerprint) && unknown.contains("--ca-fingerprint"),
        "{unknown}"
    );
    let other = "00".repeat(32);
    let wrong = refusal(&["--ca-fingerprint", &other])?;
    assert!(
        wrong.contains("not from the authority that was trusted"),
        "{wrong}"
    );
    let file = world.secret_file(&device, "other", "no certificate")?;
    let none = refusal(&["--ca-file", text(&file)?])?;
    assert!(none.contains("holds no certificate"), "{none}");
    let log = world.server.log()?;
    assert!(!log.contains("/v1/accounts"), "a request was sent: {log}");
    Ok(())
}

fn register(world: &World, device: &Device, url: &str, more: &[&str]) -> anyhow::Result<Output> {
    let password = world.secret_file(device, "password", "a long enough password")?;
    let token = world.server.setup_token_file();
    let mut arguments = vec![
        "register",
        "--server",
        url,
        "--username",
        "alice",
        "--password-file",
    ];
    arguments.extend([text(&password)?, "--setup-token-file", text(&token)?]);
    arguments.extend(more);
    device.run(arguments)
}

#[test]
fn an_authority_from_a_file_vouches_for_the_server_too() -> anyhow::Result<()> {
    let world = encrypted()?;
    let device = world.device("alice", Protection::KeyFile)?;
    let file = world.server.data().join("tls/ca.pem");
    let trust = ["--ca-file", text(&file)?];
    register(&world, &device, &world.server.url(), &trust)?.success()?;
    device.run(["whoami"])?.success()?;
    Ok(())
}

#[test]
fn a_replaced_authority_is_refused_until_the_person_accepts_it() -> anyhow::Result<()> {
    let mut world = encrypted()?;
    let alice = world.person("alice")?;
    let device = alice.first()?;
    let (first, folder) = (world.server.fingerprint()?, world.server.data().join("tls"));
    world.server.terminate()?;
    fs::remove_dir_all(&folder)?;
    world.server.restart()?;

    let refusal = device.run(["whoami"])?.refusal(12)?;
    assert!(
        refusal.contains(&first) && refusal.contains("ask the administrator"),
        "{refusal}"
    );
    // Neither does a login replace what is pinned, unless it is told to.
    let mut login = world.login_arguments(&alice, device)?;
    let new = login.pop().context("the fingerprint comes last")?;
    login.pop();
    device.run(&login)?.refusal(12)?;
    login.extend(["--ca-fingerprint".into(), new]);
    device.run(&login)?.success()?;
    device.run(["whoami"])?.success()?;
    Ok(())
}

#[test]
fn tls_and_plain_http_tell_each_other_apart_in_one_line() -> anyhow::Result<()> {
    let world = encrypted()?;
    let device = world.device("alice", Protection::KeyFile)?;
    let plain = format!("http://{}", world.server.address());
    let line = register(&world, &device, &plain, &[])?.refusal(12)?;
    assert!(line.contains("https://"), "{line}");

    let world = crate::world()?;
    let device = world.device("alice", Protection::KeyFile)?;
    let encrypted = format!("https://{}", world.server.address());
    let line = register(&world, &device, &encrypted, &[])?.refusal(12)?;
    assert!(line.contains("does not speak TLS"), "{line}");

    let line = register(&world, &device, "http://192.0.2.1:9000", &[])?.refusal(12)?;
    assert!(line.contains("reads the password"), "{line}");
    Ok(())
}

#[test]
fn a_new_certificate_is_served_without_dropping_anybody_and_a_broken_one_is_not() -> anyhow::Result<()> {
    let files = Files::made(now()?)?;
    let mut server = Server::configured(&program(), files.folder.path(), files.settings()?)?;
    let endpoint: Endpoint = server.endpoint();
    let first = endpoint.certificate(&[&version::TLS13])?;
    let http = Http::to(endpoint.clone())?;
    http.get("/readyz", None)?;
    let before = open_connections(&server)?;

    files.renew(now()?)?;
    server.hang_up()?;
    logged(&server, "another certificate is served", 1)?;
    let second = endpoint.certificate(&[&version::TLS13])?;
    assert_ne!(first, second);
    // The client keeps its connection open between requests: this one is not a new one.
    http.get("/readyz", None)?;
    let after = open_connections(&server)?;
    assert!(
        before.len() == 1 && after.contains(&before[0]),
        "{before:?}, {after:?}"
    );

    for broken in ["nothing", ""] {
        fs::write(files.certificate(), broken)?;
        server.hang_up()?;
    }
    logged(&server, "the certificate was not replaced, the old one stays", 1)?;
    assert_eq!(endpoint.certificate(&[&version::TLS13])?, second);
    files.renew(now()?.saturating_sub(DAY * 100))?;
    server.hang_up()?;
    logged(&server, "the certificate was not replaced, the old one stays", 2)?;
    assert_eq!(endpoint.certificate(&[&version::TLS13])?, second);
    Ok(())
}

/// The other ends of the server's connections, as the kernel knows them.
fn open_connections(server: &Server) -> anyhow::Result<Vec<String>> {
    let port = format!(":{:04X}", server.address().port());
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", server.pid()?))?;
    let established = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        (local.ends_with(&port) && state == "01").then(|| remote.to_owned())
    };
    Ok(table.lines().filter_map(established).collect())
}

#[test]
fn a_socket_outlives_the_certificate_that_it_began_with() -> anyhow::Result<()> {
    let mut world = encrypted()?;
    let (alice, bob) = world.alice_and_bob()?;
    let token = bob.first()?.access_token()?;
    let endpoint = world.server.endpoint();
    let mut socket = Socket::open(endpoint.clone(), &token, ReceiveBuffer::Usual)?;
    assert!(matches!(socket.next(RUN_TIMEOUT)?, Event::Frame(_)));
    let first = endpoint.certificate(&[&version::TLS13])?;

    fs::remove_file(world.server.data().join("tls/server.pem"))?;
    world.server.hang_up()?;
    logged(&world.server, "another certificate is served", 1)?;
    assert_ne!(endpoint.certificate(&[&version::TLS13])?, first);

    alice.first()?.send("bob", "still there?")?;
    assert!(matches!(socket.next(RUN_TIMEOUT)?, Event::Frame(_)));
    Ok(())
}

#[test]
fn an_expired_or_exposed_certificate_is_not_served() -> anyhow::Result<()> {
    let expired = Files::made(now()?.saturating_sub(DAY * 100))?;
    let file = expired.certificate();
    let arguments = ["--tls-certificate", text(&file)?, "--tls-key", text(&file)?];
    let line = refused(&arguments)?;
    assert!(line.contains("expired at") && line.contains("clock"), "{line}");

    let exposed = Files::made(now()?)?;
    let file = exposed.certificate();
    fs::set_permissions(&file, Permissions::from_mode(0o644))?;
    let line = refused(&["--tls-certificate", text(&file)?, "--tls-key", text(&file)?])?;
    assert!(line.contains("0600"), "{line}");

    let other = Files::made(now()?)?;
    fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    let key = other.certificate();
    let line = refused(&["--tls-certificate", text(&file)?, "--tls-key", text(&key)?])?;
    assert!(line.contains("not that of the certificate"), "{line}");
    Ok(())
}

#[test]
fn others_are_not_let_in_without_tls() -> anyhow::Result<()> {
    let line = refused(&["--listen", "0.0.0.0:0"])?;
    assert!(
        line.contains("--tls local-ca") && line.contains("--behind-proxy"),
        "{line}"
    );
    let line = refused(&["--behind-proxy"])?;
    assert!(line.contains("--public-url"), "{line}");
    let line = refused(&["--tls", "files"])?;
    assert!(line.contains("--tls-certificate"), "{line}");
    let behind = ["--behind-proxy", "--public-url", "https://chat.example.org"];
    let line = refused(&[&behind[..], &["--trusted-proxy", "everyone"]].concat())?;
    assert!(line.contains("everyone") && line.contains("10.0.0.0/8"), "{line}");
    Ok(())
}

#[test]
fn cheap_passwords_stay_on_this_machine() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = program().command(folder.path());
    command
        .env("UNHIDRA_IDENTITY_PASSWORD_HASHING", "cheap")
        .args(["serve", "--listen", "127.0.0.1:0", "--behind-proxy"])
        .args(["--public-url", "https://chat.example.org"]);
    let ended = Process::start(&mut command, b"")?.wait(RUN_TIMEOUT)?;
    let line = ended.refusal(3)?;
    assert!(line.contains("too cheap"), "{line}");
    Ok(())
}

#[test]
fn doctor_looks_at_the_certificate() -> anyhow::Result<()> {
    let files = Files::made(now()?.saturating_sub(DAY * 100))?;
    let file = files.certificate();
    let examined = |path: &Path| -> anyhow::Result<_> {
        let folder = tempfile::tempdir()?;
        let mut command = program().command(folder.path());
        command.args(["--json", "doctor", "--listen", "127.0.0.1:0", "--tls-certificate"]);
        command.arg(path).arg("--tls-key").arg(path);
        let findings = Process::start(&mut command, b"")?.wait(RUN_TIMEOUT)?.json()?;
        let mut findings = findings.into_iter();
        findings
            .find(|finding| finding["check"] == "certificate")
            .context("the certificate is looked at")
    };
    let finding = examined(&file)?;
    assert_eq!(finding["state"], "fail", "{finding}");
    assert!(finding["found"].to_string().contains("expired"), "{finding}");
    files.renew(now()?)?;
    assert_eq!(examined(&file)?["state"], "ok");
    Ok(())
}
