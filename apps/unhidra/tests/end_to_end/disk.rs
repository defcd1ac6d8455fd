//! A full disk: what is acknowledged stays, the rest is refused with a time to come back, and all goes on by itself.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use unhidra_testkit::{
    Device, Program, Server, World,
    http::Http,
    person::texts,
    process::{Process, RUN_TIMEOUT},
    wait::until,
};

use crate::{program, world};

const SOON: Duration = Duration::from_secs(20);

fn long_lines(count: usize) -> Vec<String> {
    (0..count)
        .map(|line| format!("{line} {}", "x".repeat(20_000)))
        .collect()
}

/// Files of the process may have so many bytes: to it, the disk is full there.
fn limit_files(pid: u32, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

fn readiness(server: &Server) -> u16 {
    Http::to(server.address())
        .unwrap()
        .get("/readyz", None)
        .unwrap()
        .status
}

#[test]
fn a_server_that_can_not_write_refuses_keeps_what_it_acknowledged_and_recovers_by_itself() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let (alice, bob) = (alice.first().unwrap(), bob.first().unwrap());
    let log = fs::metadata(world.server.data().join("unhidra.db-wal"))
        .unwrap()
        .len();
    limit_files(world.server.pid().unwrap(), Some(log + 300_000));
    let lines = long_lines(40);
    let stuck = alice
        .start_lines("bob", "full", &lines, Duration::from_secs(3))
        .unwrap();
    let stuck = stuck.wait(RUN_TIMEOUT).unwrap();
    assert!(matches!(stuck.code(), Some(5 | 11)), "{stuck:?}");
    // Not even what is small can be written now.
    limit_files(world.server.pid().unwrap(), Some(1_000));
    let poke = ["poke".to_owned()];
    let is_refused = |server: &Server| {
        let poking = alice.start_lines("bob", "poke", &poke, Duration::from_secs(1))?;
        assert_ne!(poking.wait(RUN_TIMEOUT)?.code(), Some(0));
        Ok((readiness(server) == 503).then_some(()))
    };
    until("refusal", SOON, || is_refused(&world.server)).unwrap();
    let ready = Http::to(world.server.address())
        .unwrap()
        .get("/readyz", None)
        .unwrap();
    assert!(ready.headers.contains_key("retry-after"));
    // A crash on the full disk takes nothing that was acknowledged.
    let acknowledged = texts(&bob.read_json().unwrap_or_default());
    world.server.kill_nine().unwrap();
    world.server.restart().unwrap();
    limit_files(world.server.pid().unwrap(), Some(1_000));
    until("refusal", SOON, || is_refused(&world.server)).unwrap();
    limit_files(world.server.pid().unwrap(), None);
    until("recovery", SOON, || {
        Ok((readiness(&world.server) == 204).then_some(()))
    })
    .unwrap();
    alice.send_lines("bob", "full", &lines).unwrap();
    let read = [acknowledged, texts(&bob.read_json().unwrap())].concat();
    assert_eq!(read, [lines, vec!["poke".to_owned()]].concat());
}

/// The program, whose server has a small disk of its own for its data. The disk is seen by its process alone.
fn program_on_a_small_disk(folder: &Path) -> Program {
    let script = folder.join("unhidra");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = serve ] || exec '{program}' \"$@\"\nmkdir -p \"$3\"\n\
         exec unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=120m,mode=700 disk \"$3\" && exec {program} \"$@\"' sh \"$@\"\n",
        program = program().path().display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    Program::at(script)
}

/// A folder as the server sees it.
fn seen_by(server: &Server, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", server.pid().unwrap()));
    root.join(path.strip_prefix("/").unwrap())
}

/// `doctor --recover` where the server's disk is seen.
fn doctor_beside(server: &Server) -> Process {
    let mut command = Command::new("nsenter");
    command
        .args(["--user", "--preserve-credentials", "--mount", "--target"])
        .arg(server.pid().unwrap().to_string())
        .arg(program().path())
        .args(["doctor", "--recover", "--listen", "127.0.0.1:0", "--data"])
        .arg(server.data());
    Process::start(&mut command, b"").unwrap()
}

fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut filler = File::create(&path).unwrap();
    let block = vec![1; 64 * 1024];
    while filler.write_all(&block).is_ok() {}
    while filler.write_all(&block[..512]).is_ok() {}
    path
}

#[test]
fn on_a_full_disk_recovery_lets_administrators_in_and_messages_wait_for_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::start(program_on_a_small_disk(folder.path())).unwrap();
    let data = seen_by(&world.server, &world.server.data());
    fs::copy(data.join("setup-token"), world.server.setup_token_file()).unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let (root, bob) = (alice.first().unwrap(), bob.first().unwrap());
    root.send("bob", "before").unwrap();
    assert!(
        data.join("reserve").exists(),
        "this machine gives a test no file system of its own"
    );

    let filler = fill(&data);
    let stuck = |text: &str| {
        let sent = root.run(["send", "bob", text, "--timeout", "2s"]).unwrap();
        assert!(matches!(sent.code(), Some(5 | 11)), "{sent:?}");
    };
    // What is left of the last page of the log may still take a line.
    let lines = long_lines(10);
    let full = root
        .start_lines("bob", "full", &lines, Duration::from_secs(2))
        .unwrap();
    assert!(matches!(full.wait(RUN_TIMEOUT).unwrap().code(), Some(5 | 11)));
    until("refusal", SOON, || {
        Ok((readiness(&world.server) == 503).then_some(()))
    })
    .unwrap();
    let login = world.login_arguments(&alice, root).unwrap();
    root.run(&login).unwrap().with_code(5).unwrap();

    let recovered = doctor_beside(&world.server)
        .wait(RUN_TIMEOUT)
        .unwrap()
        .success()
        .unwrap();
    assert!(String::from_utf8_lossy(recovered.stdout()).contains("reserve released"));
    until("login", SOON, || {
        Ok((root.run(&login)?.code() == Some(0)).then_some(()))
    })
    .unwrap();
    root.run(["admin", "invite"]).unwrap().success().unwrap();
    stuck("later");
    assert_eq!(readiness(&world.server), 503);

    fs::remove_file(filler).unwrap();
    until("recovery", SOON, || {
        Ok((readiness(&world.server) == 204).then_some(()))
    })
    .unwrap();
    assert!(data.join("reserve").exists());
    root.send_lines("bob", "full", &lines).unwrap();
    let read = texts(&bob.read_json().unwrap());
    assert_eq!(
        read,
        [vec!["before".to_owned()], lines, vec!["later".to_owned()]].concat()
    );
}

#[test]
fn a_client_whose_disk_is_full_sends_nothing_twice() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let (alice, bob) = (alice.first().unwrap(), bob.first().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<_> = long_lines(10);
    let mut refused = 0;
    for kib in [16, 64, 128, 256, 320, 400] {
        let script = folder.path().join(format!("unhidra-{kib}"));
        // A write beyond the limit fails, as on a full disk, instead of ending the program.
        let text = format!(
            "#!/bin/bash\ntrap '' XFSZ\nulimit -S -f {kib}\nexec '{}' \"$@\"\n",
            program().path().display()
        );
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
        let cramped = Device::new(
            &Program::at(&script),
            alice.home().to_owned(),
            alice.protection().clone(),
        )
        .unwrap();
        let sent = cramped
            .start_lines("bob", "cramped", &lines, Duration::from_secs(3))
            .unwrap();
        let sent = sent.wait(RUN_TIMEOUT).unwrap();
        assert!(matches!(sent.code(), Some(0 | 5 | 9 | 11)), "{sent:?}");
        refused += usize::from(sent.code() == Some(9));
    }
    assert!(refused > 0, "one of the limits is too small");
    alice.send_lines("bob", "cramped", &lines).unwrap();
    assert_eq!(texts(&bob.read_json().unwrap()), lines);
}
