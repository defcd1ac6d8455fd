//! What a shell wants to know: completions, manual pages, and pipes that end early.

use std::{fs, process::Stdio};

use unhidra_testkit::process::{Process, RUN_TIMEOUT};

use crate::{program, world};

#[test]
fn completions_know_commands_and_options_in_every_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let mut command = program().command(folder.path());
        command.args(["completions", shell]);
        let printed = Process::start(&mut command, b"").unwrap();
        let printed = printed.wait(RUN_TIMEOUT).unwrap().success().unwrap();
        let script = String::from_utf8(printed.stdout().to_vec()).unwrap();
        for word in ["verify", "send", "scanned"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
    }
}

#[test]
fn the_manual_is_printed_and_every_command_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program().command(folder.path());
    command.arg("man");
    let printed = Process::start(&mut command, b"").unwrap();
    let printed = printed.wait(RUN_TIMEOUT).unwrap().success().unwrap();
    assert!(String::from_utf8_lossy(printed.stdout()).contains(".TH unhidra 1"));
    let mut command = program().command(folder.path());
    command.args(["man", "--out"]).arg(folder.path().join("man1"));
    let written = Process::start(&mut command, b"").unwrap();
    written.wait(RUN_TIMEOUT).unwrap().success().unwrap();
    for page in ["unhidra.1", "unhidra-send.1", "unhidra-devices-link.1"] {
        let page = fs::read_to_string(folder.path().join("man1").join(page)).unwrap();
        assert!(page.contains("unhidra"), "{page}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_command_quietly() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    alice.first().unwrap().send("bob", "nobody reads this").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = bob.first().unwrap().command();
    let child = command
        .arg("read")
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(
        (ended.status.code(), ended.stderr.as_slice()),
        (Some(0), &b""[..]),
        "{ended:?}"
    );
    // What nobody has seen is still new.
    assert_eq!(bob.first().unwrap().read_json().unwrap().len(), 1);
}
