//! What first users stumbled over, and does the right thing since.

use std::{path::PathBuf, process::Command};

use unhidra_testkit::{
    person::texts,
    process::{Process, RUN_TIMEOUT},
};

use crate::world;

#[test]
fn a_text_may_begin_with_a_hyphen_and_options_still_work() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    for arguments in [
        &["send", "bob", "-hello"][..],
        &["send", "bob", "-1", "--wait", "sent"],
        &["send", "--timeout", "20s", "bob", "--no such option"],
        &["send", "bob", "--", "-h"],
    ] {
        device.run(arguments).unwrap().success().unwrap();
    }
    let read = texts(&bob.first().unwrap().read_json().unwrap());
    assert_eq!(read, ["-hello", "-1", "--no such option", "-h"]);
    let lines = device.start(["send", "bob", "--lines"], b"a line\n").unwrap();
    lines.wait(RUN_TIMEOUT).unwrap().success().unwrap();
}

#[test]
fn a_name_that_was_never_met_is_not_queued_without_a_server_and_that_is_said() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    world.server.kill_nine().unwrap();
    let line = device.run(["send", "bob", "hello"]).unwrap().refusal(5).unwrap();
    assert!(
        line.contains("nothing was queued") && !line.contains("kept"),
        "{line}"
    );
    world.server.restart().unwrap();
    assert_eq!(bob.first().unwrap().read_json().unwrap(), []);
}

#[test]
fn a_script_learns_what_became_of_a_message_that_was_given_up_waiting_for() {
    let mut world = world().unwrap();
    let (alice, _bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    let send = |arguments: &[&str], code: i32| {
        let all = [&["--json", "send", "bob"], arguments, &["--timeout", "1s"]].concat();
        let output = device.start(all, b"a line\n").unwrap().wait(RUN_TIMEOUT).unwrap();
        output.with_code(code).unwrap().json().unwrap()
    };
    let printed = send(&["hello", "--wait", "delivered"], 11);
    assert_eq!(printed[0]["state"], "sent");
    assert!(printed[0]["msg_id"].is_string());
    world.server.kill_nine().unwrap();
    assert_eq!(send(&["again"], 5)[0]["state"], "queued");
    let lines = send(&["--lines"], 5);
    assert_eq!(
        (&lines[0]["state"], &lines[0]["lines"]),
        (&"queued".into(), &1.into())
    );
}

#[test]
fn logging_in_again_takes_server_and_name_from_the_profile() {
    let mut world = world().unwrap();
    let alice = world.person("alice").unwrap();
    let device = alice.first().unwrap();
    device.run(["logout"]).unwrap().success().unwrap();
    let line = device.run(["whoami"]).unwrap().refusal(4).unwrap();
    assert!(line.contains("unhidra login"), "{line}");
    let password = world.secret_file(device, "password", &alice.password).unwrap();
    let arguments = ["login".into(), "--password-file".into(), password];
    device.run::<PathBuf>(arguments).unwrap().success().unwrap();
    device.whoami().unwrap();
    let empty = world
        .device("empty", unhidra_testkit::person::Protection::KeyFile)
        .unwrap();
    let line = empty.run(["login"]).unwrap().refusal(2).unwrap();
    assert!(line.contains("--server") && line.contains("--username"), "{line}");
}

#[test]
fn a_batch_fed_with_other_lines_is_refused_before_anything_is_sent() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    let lines: Vec<String> = (0..100).map(|line| format!("line {line}")).collect();
    device.send_lines("bob", "b", &lines[..90]).unwrap();
    let mut shifted = lines.clone();
    shifted.insert(0, "a line more".to_owned());
    let mut changed = lines.clone();
    changed[70].push('!');
    for (other, line) in [(shifted, "line 1 "), (changed, "line 71 ")] {
        let refused = device.start_lines("bob", "b", &other, RUN_TIMEOUT).unwrap();
        let told = refused.wait(RUN_TIMEOUT).unwrap().refusal(8).unwrap();
        assert!(told.contains(line) && told.contains("another"), "{told}");
    }
    device.send_lines("bob", "b", &lines).unwrap();
    assert_eq!(texts(&bob.first().unwrap().read_json().unwrap()), lines);
}

#[test]
fn pruning_forgets_old_messages_here_and_nowhere_else() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let lines: Vec<String> = (0..20).map(|line| format!("line {line}")).collect();
    alice.first().unwrap().send_lines("bob", "b", &lines).unwrap();
    let device = bob.first().unwrap();
    device.read_json().unwrap();
    let all = |device: &unhidra_testkit::Device| {
        let read = device
            .run(["--json", "read", "--all"])
            .unwrap()
            .success()
            .unwrap();
        texts(&unhidra_testkit::person::messages(&read).unwrap())
    };
    let none = device
        .run(["--json", "prune", "--before", "1h", "--yes"])
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(none.json().unwrap()[0]["deleted"], 0);
    device
        .run(["prune", "--before", "0s"])
        .unwrap()
        .refusal(2)
        .unwrap();
    assert_eq!(all(device).len(), 20);
    let pruned = device
        .run(["--json", "prune", "--before", "0s", "--yes"])
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(pruned.json().unwrap()[0]["deleted"], 20);
    assert_eq!(all(device), [""; 0]);
    alice.first().unwrap().send("bob", "after").unwrap();
    assert_eq!(texts(&device.read_json().unwrap()), ["after"]);
    assert_eq!(all(alice.first().unwrap()).len(), 21);
    alice
        .first()
        .unwrap()
        .run(["prune", "--before", "0s", "--yes"])
        .unwrap()
        .success()
        .unwrap();
    // What was sent under a batch is still known.
    alice.first().unwrap().send_lines("bob", "b", &lines).unwrap();
    assert_eq!(device.read_json().unwrap(), []);
}

/// The file size that a process may write stands in for a disk that fills up, a little later each time.
#[test]
fn a_disk_that_fills_up_neither_loses_nor_doubles_what_a_person_sends_again_as_told() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    device.send("bob", "begin").unwrap();
    let mut expected = vec!["begin".to_owned()];
    let (mut failed, mut kept) = (0, 0);
    for kibibytes in (4..120).step_by(4) {
        let text = format!("within {kibibytes}");
        let command = device.command();
        let mut shell = Command::new("/bin/bash");
        shell
            .env_clear()
            .args(["-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\""])
            .arg(kibibytes.to_string())
            .arg(command.get_program())
            .args(command.get_args())
            .args(["send", "bob", &text]);
        let output = Process::start(&mut shell, b"")
            .unwrap()
            .wait(RUN_TIMEOUT)
            .unwrap();
        let told = String::from_utf8_lossy(output.stderr()).into_owned();
        if output.code() != Some(0) {
            failed += 1;
            if told.contains("do not send it again") {
                kept += 1;
            } else {
                device.send("bob", &text).unwrap();
            }
        }
        expected.push(text);
    }
    assert!(failed > 0 && failed < 29, "{failed} failed, {kept} of them kept");
    device.send("bob", "end").unwrap();
    expected.push("end".to_owned());
    let mut read = texts(&bob.first().unwrap().read_json().unwrap());
    read.sort();
    expected.sort();
    assert_eq!(read, expected, "{failed} failed, {kept} of them kept");
}

#[test]
fn a_commands_own_options_stand_before_those_of_every_command() {
    let mut world = world().unwrap();
    let (alice, _bob) = world.alice_and_bob().unwrap();
    let help = alice.first().unwrap().run(["send", "--help"]).unwrap();
    let help = String::from_utf8_lossy(help.success().unwrap().stdout()).into_owned();
    let at = |option: &str| help.find(&format!("  --{option}")).unwrap();
    for own in ["lines", "batch", "wait", "timeout"] {
        assert!(at(own) < at("profile"), "{own} in {help}");
    }
}

#[test]
fn what_is_asked_and_what_to_do_next_fit_the_command() {
    let mut world = world().unwrap();
    let (alice, _bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    let refusal = |arguments: &[&str], code: i32| device.run(arguments).unwrap().refusal(code).unwrap();
    let rotate = refusal(&["identity", "rotate"], 2);
    assert!(rotate.contains("--yes") && !rotate.contains("digits"), "{rotate}");
    let search = refusal(&["audit", "search", "--act", "nonsense"], 8);
    assert!(search.contains("check what was entered"), "{search}");
    let code = refusal(&["devices", "link", "AQGh"], 8);
    assert!(code.contains("copy all of"), "{code}");
    let whoami = device.run(["whoami"]).unwrap().success().unwrap();
    let whoami = String::from_utf8_lossy(whoami.stdout()).into_owned();
    assert!(whoami.contains("super-admin"), "{whoami}");
    let own = device.id().unwrap();
    let own = refusal(&["devices", "revoke", &own], 2);
    assert!(own.contains("another one"), "{own}");
    let name = alice.name.clone();
    assert!(refusal(&["verify", &name], 2).contains("yourself"));
    let waited = &["send", "bob", "hello", "--wait", "delivered", "--timeout", "1s"];
    let waited = device.run(waited).unwrap().with_code(11).unwrap();
    let said = String::from_utf8_lossy(waited.stderr()).into_owned();
    assert!(
        said.contains("no device of bob") && !said.contains("queued"),
        "{said}"
    );
    world.server.kill_nine().unwrap();
    let gone = refusal(&["whoami"], 5);
    assert!(
        gone.contains("Connection refused")
            && gone.contains("check the address")
            && !gone.contains("client error"),
        "{gone}"
    );
}
