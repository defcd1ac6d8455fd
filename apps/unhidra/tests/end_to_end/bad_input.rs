//! What operators and users get wrong, and what breaks by itself: one line with the remedy, the documented code, and
//! everything is still there afterwards. The table is in `docs/operations.md`.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use unhidra_testkit::{
    Device, Person, Server, World,
    person::{Protection, texts},
    process::{Output, Process, RUN_TIMEOUT},
};

use crate::{program, world};

/// Two people who have talked; the server is stopped.
struct Stopped {
    world: World,
    alice: Person,
    bob: Person,
}

fn stopped() -> Stopped {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    alice.first().unwrap().send("bob", "before").unwrap();
    world.server.terminate().unwrap();
    Stopped { world, alice, bob }
}

impl Stopped {
    fn data(&self) -> PathBuf {
        self.world.server.data()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.data().join(name)
    }

    /// `serve` on the folder refuses, `doctor` says the same, and no file has changed.
    fn refuses(&self, why: &str) -> String {
        let before = contents(&self.data());
        let line = serve(&self.data(), &[]).refusal(3).unwrap();
        assert!(line.contains(why), "`{line}` does not say `{why}`");
        let looked = doctor(&self.data(), &[]).with_code(3).unwrap();
        let shown = String::from_utf8_lossy(looked.stdout()).into_owned();
        assert!(shown.contains("FAIL") && shown.contains(why), "{shown}");
        assert_eq!(contents(&self.data()), before, "something was changed");
        line
    }

    /// The server starts, and nothing is lost.
    fn goes_on(mut self) {
        self.world.server.restart().unwrap();
        let (alice, bob) = (self.alice.first().unwrap(), self.bob.first().unwrap());
        alice.send("bob", "after").unwrap();
        assert_eq!(texts(&bob.read_json().unwrap()), ["before", "after"]);
        bob.send("alice", "back").unwrap();
        assert_eq!(texts(&alice.read_json().unwrap()), ["back"]);
    }
}

fn run(arguments: &[&str], data: &Path, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program().command(folder.path());
    command.args(arguments).arg("--data").arg(data).args(more);
    Process::start(&mut command, b"")
        .unwrap()
        .wait(RUN_TIMEOUT)
        .unwrap()
}

fn serve(data: &Path, more: &[&str]) -> Output {
    run(&["serve", "--listen", "127.0.0.1:0"], data, more)
}

fn doctor(data: &Path, more: &[&str]) -> Output {
    run(&["doctor", "--listen", "127.0.0.1:0"], data, more)
}

/// Every file of a data folder that says something, by its name: length and hash.
fn contents(data: &Path) -> BTreeMap<PathBuf, (usize, u64)> {
    let files = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.is_file() && !path.ends_with("reserve") && !path.ends_with("unhidra.db-shm"))
        .filter_map(|path| {
            let bytes = fs::read(&path).unwrap();
            let mut hash = DefaultHasher::new();
            bytes.hash(&mut hash);
            // Looking makes an empty log.
            (!bytes.is_empty() || path.ends_with("unhidra.db")).then(|| (path, (bytes.len(), hash.finish())))
        })
        .collect()
}

fn database(server: &Server) -> rusqlite::Connection {
    rusqlite::Connection::open(server.data().join("unhidra.db")).unwrap()
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("unhidra.toml");
    fs::write(&config, "[server]\nlisten_adress = \"127.0.0.1:0\"\n").unwrap();
    let config = config.display().to_string();
    let line = serve(folder.path(), &["--config", &config]).refusal(3).unwrap();
    assert!(
        line.contains("server.listen_adress") && line.contains("did you mean"),
        "{line}"
    );
}

#[test]
fn a_value_out_of_range_and_a_file_that_is_none_are_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("unhidra.toml");
    let path = config.display().to_string();
    for (text, why) in [
        ("[keys]\ntoken_lifetime = \"0s\"\n", "keys.token_lifetime"),
        ("[log]\nfilter = \"a=b=c\"\n", "log.filter"),
        ("[server]\nmax_connections = 0\n", "server.max_connections"),
        ("[server\n", "line 1"),
    ] {
        fs::write(&config, text).unwrap();
        let line = serve(folder.path(), &["--config", &path]).refusal(3).unwrap();
        assert!(line.contains(why), "{line}");
    }
    let line = serve(folder.path(), &["--config", "missing.toml"])
        .refusal(3)
        .unwrap();
    assert!(
        line.contains("missing.toml") && line.contains("--config"),
        "{line}"
    );
}

#[test]
fn a_folder_that_can_not_be_written_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for folder in [file.path().join("data"), PathBuf::from("/proc/unhidra")] {
        let line = serve(&folder, &[]).refusal(3).unwrap();
        assert!(line.contains("--data"), "{line}");
    }
}

#[test]
fn a_port_in_use_is_refused_and_whoever_has_it_goes_on() {
    let mut world = world().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = world.server.address().to_string();
    let line = run(&["serve", "--listen", &address], folder.path(), &[])
        .refusal(3)
        .unwrap();
    assert!(line.contains(&address) && line.contains("--listen"), "{line}");
    world.person("alice").unwrap();
}

#[test]
fn a_corrupt_database_is_refused_until_it_is_put_back() {
    let stopped = stopped();
    let whole = fs::read(stopped.file("unhidra.db")).unwrap();
    let mut corrupt = whole.clone();
    // Every page but the first and the last.
    let end = corrupt.len() - 4_096;
    corrupt[4_096..end].fill(0xA5);
    for broken in [&corrupt[..], &whole[..whole.len() / 2], &[b'x'; 8_192][..]] {
        fs::write(stopped.file("unhidra.db"), broken).unwrap();
        stopped.refuses("restore");
    }
    fs::write(stopped.file("unhidra.db"), whole).unwrap();
    stopped.goes_on();
}

#[test]
fn a_database_that_is_empty_or_missing_beside_keys_is_refused() {
    let stopped = stopped();
    let kept = stopped.file("unhidra.db").with_extension("kept");
    fs::rename(stopped.file("unhidra.db"), &kept).unwrap();
    stopped.refuses("is missing");
    fs::write(stopped.file("unhidra.db"), b"").unwrap();
    stopped.refuses("is empty");
    fs::rename(kept, stopped.file("unhidra.db")).unwrap();
    stopped.goes_on();
}

#[test]
fn keys_that_are_missing_exposed_or_others_are_refused_and_never_replaced() {
    let stopped = stopped();
    for name in ["sealing.key", "keys.sealed"] {
        let file = stopped.file(name);
        let kept = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let line = stopped.refuses(name);
        assert!(line.contains("missing"), "{line}");
        assert!(!file.exists());
        fs::write(&file, &kept).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let line = stopped.refuses(name);
        assert!(line.contains("0600"), "{line}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, &kept[..kept.len() - 1]).unwrap();
        stopped.refuses("damaged");
        fs::write(&file, &kept).unwrap();
    }
    stopped.goes_on();
}

#[test]
fn a_newer_schema_is_refused() {
    let stopped = stopped();
    let schema: u32 = database(&stopped.world.server)
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    let set = |schema: u32| {
        let database = database(&stopped.world.server);
        database.pragma_update(None, "user_version", schema).unwrap();
    };
    set(schema + 1);
    let line = stopped.refuses("newer");
    assert!(line.contains("install the newer version"), "{line}");
    let data = stopped.data();
    run(&["backup", "--out", "/tmp"], &data, &[]).refusal(3).unwrap();
    set(schema);
    stopped.goes_on();
}

#[test]
fn a_clock_that_is_a_year_off_is_refused_unless_it_is_vouched_for() {
    const YEAR: i64 = 365 * 86_400_000;
    let stopped = stopped();
    for (by, why) in [(YEAR, "before"), (-YEAR, "after")] {
        let move_last = |by: i64| {
            let moved = database(&stopped.world.server).execute(
                "UPDATE audit_record SET at = at + ?1 WHERE number = (SELECT max(number) FROM audit_record)",
                [by],
            );
            assert_eq!(moved.unwrap(), 1);
        };
        move_last(by);
        let line = stopped.refuses(why);
        assert!(line.contains("clock") && line.contains("--trust-clock"), "{line}");
        doctor(&stopped.data(), &["--trust-clock"]).success().unwrap();
        move_last(-by);
    }
    stopped.goes_on();
}

#[test]
fn a_log_that_was_cut_costs_no_message_and_gives_no_number_twice() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let (alice, bob) = (alice.first().unwrap(), bob.first().unwrap());
    let exchange = |text: &str| {
        alice.send("bob", text).unwrap();
        assert_eq!(texts(&bob.read_json().unwrap()), [text]);
        bob.send("alice", text).unwrap();
        assert_eq!(texts(&alice.read_json().unwrap()), [text]);
    };
    exchange("before");
    world.server.kill_nine().unwrap();
    let log = world.server.data().join("unhidra.db-wal");
    let length = fs::metadata(&log).unwrap().len();
    assert!(length > 4_096, "there is a log of {length} bytes");
    fs::File::options()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(length - 1)
        .unwrap();
    let looked = doctor(&world.server.data(), &[]).success().unwrap();
    let shown = String::from_utf8_lossy(looked.stdout()).into_owned();
    assert!(
        shown.contains("warn database") && shown.contains("within a commit"),
        "{shown}"
    );
    world.server.restart().unwrap();
    exchange("after");
    exchange("and again");
}

#[test]
fn a_wrong_or_empty_passphrase_and_an_exposed_key_file_open_nothing() {
    let mut world = world().unwrap();
    let home = world.device("alice", Protection::KeyFile).unwrap();
    let right = world
        .secret_file(&home, "right", "correct horse battery staple")
        .unwrap();
    let device = home.opened_by(Protection::Passphrase(right));
    world.person_on("alice", device.clone()).unwrap();
    for (name, text) in [("wrong", "incorrect horse"), ("empty", "")] {
        let file = world.secret_file(&home, name, text).unwrap();
        let line = device
            .opened_by(Protection::Passphrase(file))
            .run(["whoami"])
            .unwrap()
            .refusal(9)
            .unwrap();
        assert!(line.contains("passphrase"), "{line}");
    }
    let missing = device.opened_by(Protection::Passphrase("/missing".into()));
    let line = missing.run(["whoami"]).unwrap().refusal(9).unwrap();
    assert!(line.contains("--passphrase-file"), "{line}");
    device.whoami().unwrap();

    let bob = world.person("bob").unwrap();
    let bob = bob.first().unwrap();
    let key = found(bob, "store.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let line = bob.run(["whoami"]).unwrap().refusal(9).unwrap();
    assert!(line.contains("0600"), "{line}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    bob.whoami().unwrap();
}

#[test]
fn a_profile_of_a_newer_version_is_refused() {
    let mut world = world().unwrap();
    let alice = world.person("alice").unwrap();
    let device = alice.first().unwrap();
    let store = found(device, "store.db");
    let set = |version: u32| {
        let store = rusqlite::Connection::open(&store).unwrap();
        store.pragma_update(None, "user_version", version).unwrap();
    };
    let version = rusqlite::Connection::open(&store)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
        .unwrap();
    set(version + 1);
    let line = device.run(["whoami"]).unwrap().refusal(9).unwrap();
    assert!(line.contains("newer"), "{line}");
    set(version);
    device.whoami().unwrap();
}

#[test]
fn an_invitation_that_would_live_too_long_is_refused_where_it_is_typed() {
    let mut world = world().unwrap();
    let alice = world.person("alice").unwrap();
    for expires in ["31d", "0s"] {
        let refused = alice
            .first()
            .unwrap()
            .run(["admin", "invite", "--expires", expires])
            .unwrap();
        let refused = refused.with_code(2).unwrap();
        assert!(String::from_utf8_lossy(refused.stderr()).contains("between 1s and 30d"));
    }
}

fn found(device: &Device, name: &str) -> PathBuf {
    device.home().join("profiles/default").join(name)
}
