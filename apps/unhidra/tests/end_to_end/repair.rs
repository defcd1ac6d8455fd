//! What a device can't open, it gets from the sender again.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{fs, path::Path};

use serde_json::Value;
use unhidra_testkit::{Device, person::texts};

use crate::world;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Puts a profile back to what `backup` holds.
fn put_back(device: &Device, backup: &Path) {
    fs::remove_dir_all(device.home()).unwrap();
    copy(backup, device.home());
}

#[test]
fn a_profile_that_was_put_back_gets_what_it_can_not_open_from_the_sender() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let (alice, bob) = (alice.first().unwrap(), bob.first().unwrap());
    alice.send("bob", "hello").unwrap();
    assert_eq!(texts(&bob.read_json().unwrap()), ["hello"]);
    let folder = tempfile::tempdir().unwrap();
    copy(bob.home(), folder.path());
    // Both ratchets move on, there and back.
    for round in ["one", "two"] {
        bob.send("alice", round).unwrap();
        assert_eq!(texts(&alice.read_json().unwrap()), [round]);
        alice.send("bob", round).unwrap();
        assert_eq!(texts(&bob.read_json().unwrap()), [round]);
    }
    alice.send("bob", "sealed for what is gone").unwrap();
    put_back(bob, folder.path());

    let read = bob.read_json().unwrap();
    let waits: Vec<_> = read.iter().filter(|message| message.state == "waiting").collect();
    assert!(!waits.is_empty(), "{read:?}");
    assert!(
        waits
            .iter()
            .all(|message| message.text.is_none() && message.from == "alice")
    );
    let asked_of = waits.last().unwrap().seq;
    // Alice's program hears the question and answers, without anyone typing anything else.
    assert!(
        alice
            .read_json()
            .unwrap()
            .iter()
            .all(|message| message.text.is_none())
    );
    let read = bob.read_json().unwrap();
    let given = read
        .iter()
        .find(|message| message.text.as_deref() == Some("sealed for what is gone"));
    assert_eq!(given.unwrap().seq, asked_of, "at its old place: {read:?}");
    // And on it goes, both ways.
    bob.send("alice", "I can read you again").unwrap();
    assert_eq!(texts(&alice.read_json().unwrap()), ["I can read you again"]);
    alice.send("bob", "good").unwrap();
    assert_eq!(texts(&bob.read_json().unwrap()).last().unwrap(), "good");
    // What was not opened is counted by reason where it was, and the administrator sees the counts.
    assert_eq!(unopened(alice), None);
    let reasons = unopened(bob).unwrap();
    assert!(!reasons.is_empty(), "{reasons:?}");
    let counted: u64 = reasons.values().filter_map(Value::as_u64).sum();
    let listed = alice.run(["--json", "admin", "devices", "list"]).unwrap();
    for device in listed.json().unwrap() {
        let told = device["failures"].as_object().unwrap();
        let of_bob = device["username"] == "bob";
        let total: u64 = told.values().filter_map(Value::as_u64).sum();
        assert_eq!(total, if of_bob { counted } else { 0 }, "{device}");
    }
}

/// The reasons for which a device has not opened messages, as `doctor` counts them.
fn unopened(device: &Device) -> Option<serde_json::Map<String, Value>> {
    let looked = device
        .run(["--json", "doctor", "--listen", "127.0.0.1:0"])
        .unwrap();
    let findings = looked.json().unwrap();
    let messages = findings.iter().find(|one| one["check"] == "messages").unwrap();
    messages.get("counts").and_then(Value::as_object).cloned()
}
