//! What a device holds is found again, written down and thrown away: `search`, `export`, `read --all`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;
use unhidra_testkit::{Device, person::messages, person::texts};

use crate::world;

fn found(device: &Device, arguments: &[&str]) -> anyhow::Result<Vec<String>> {
    let output = device
        .run([&["--json", "search"], arguments].concat())?
        .success()?;
    Ok(texts(&messages(&output)?))
}

#[test]
fn search_finds_in_any_case_and_conversation_the_newest_last_without_a_server() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let carol = world.person("carol").unwrap();
    alice.first().unwrap().send("bob", "Die GRÜSSE sind da").unwrap();
    carol
        .first()
        .unwrap()
        .send("bob", "keine grüße von hier")
        .unwrap();
    bob.first().unwrap().send("alice", "viele Grüsse zurück").unwrap();
    alice.first().unwrap().send("bob", "etwas anderes").unwrap();
    let device = bob.first().unwrap();
    device.read_json().unwrap();
    world.server.kill_nine().unwrap();

    let all = found(device, &["grüss"]).unwrap();
    assert_eq!(all, ["Die GRÜSSE sind da", "viele Grüsse zurück"]);
    assert_eq!(
        found(device, &["GRÜ", "--user", "carol"]).unwrap(),
        ["keine grüße von hier"]
    );
    assert_eq!(
        found(device, &["grü", "--limit", "1"]).unwrap(),
        ["viele Grüsse zurück"]
    );
    assert_eq!(found(device, &["grü", "--since", "1h"]).unwrap().len(), 3);
    assert_eq!(found(device, &["grü", "--until", "1h"]).unwrap(), [""; 0]);
    let context = found(device, &["zurück", "--context", "1"]).unwrap();
    assert_eq!(
        context,
        ["Die GRÜSSE sind da", "viele Grüsse zurück", "etwas anderes"]
    );
    let none = device.run(["search", "nowhere"]).unwrap().success().unwrap();
    assert!(none.stdout().is_empty());
    assert!(String::from_utf8_lossy(none.stderr()).contains("None of 4"));
}

#[test]
fn an_export_holds_everything_in_order_and_its_last_record_counts_it() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let lines: Vec<String> = (0..70).map(|line| format!("line {line} \u{1b}[31m")).collect();
    alice.first().unwrap().send_lines("bob", "b", &lines).unwrap();
    let device = bob.first().unwrap();
    device.read_json().unwrap();
    device.send("alice", "the last").unwrap();
    world.server.kill_nine().unwrap();

    let file = device.home().join("messages.jsonl");
    fs::write(&file, "an older export").unwrap();
    device
        .run(["export".as_ref(), "--out".as_ref(), file.as_os_str()])
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let exported: Vec<Value> = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (count, records) = exported.split_last().unwrap();
    assert_eq!((&count["messages"], &count["waiting"]), (&71.into(), &0.into()));
    let written: Vec<&str> = records
        .iter()
        .map(|record| record["text"].as_str().unwrap())
        .collect();
    let expected: Vec<&str> = lines.iter().map(String::as_str).chain(["the last"]).collect();
    assert_eq!(written, expected);
    let first = &records[0];
    assert_eq!((&first["from"], &first["to"]), (&"alice".into(), &"bob".into()));
    for field in [
        "from_device",
        "sent_at",
        "server_time",
        "seq",
        "msg_id",
        "conversation",
    ] {
        assert!(!first[field].is_null(), "{field}");
    }
    // The draft is gone, and an export that can't be written leaves what was there.
    let left = fs::read_dir(device.home()).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".messages")
    });
    assert_eq!(left.count(), 0);
    let nowhere = device.home().join("no/such/folder");
    device
        .run(["export".as_ref(), "--out".as_ref(), nowhere.as_os_str()])
        .unwrap()
        .refusal(1)
        .unwrap();
    let text = device
        .run(["export", "--user", "alice", "--format", "text"])
        .unwrap()
        .success()
        .unwrap();
    let text = String::from_utf8(text.stdout().to_vec()).unwrap();
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let count = text.lines().last();
    assert_eq!(
        count,
        Some("-- 71 messages, 0 that can't be opened yet, 0 not sent yet")
    );
}

#[test]
fn reading_goes_by_time_over_all_conversations() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let carol = world.person("carol").unwrap();
    let mut sent = Vec::new();
    for round in 0..4 {
        for sender in [&alice, &carol] {
            let text = format!("{} {round}", sender.name);
            sender.first().unwrap().send("bob", &text).unwrap();
            sent.push(text);
        }
    }
    let device = bob.first().unwrap();
    assert_eq!(texts(&device.read_json().unwrap()), sent);
    let all = device
        .run(["--json", "read", "--all"])
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(texts(&messages(&all).unwrap()), sent);
}

#[test]
fn reading_one_conversation_leaves_the_others_new() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let carol = world.person("carol").unwrap();
    alice.first().unwrap().send("bob", "from alice").unwrap();
    carol.first().unwrap().send("bob", "from carol").unwrap();
    let device = bob.first().unwrap();
    let read = |arguments: &[&str]| {
        let output = device.run([&["--json", "read"], arguments].concat()).unwrap();
        texts(&messages(&output.success().unwrap()).unwrap())
    };
    assert_eq!(read(&["--from", "alice"]), ["from alice"]);
    assert_eq!(read(&["--from", "alice"]), [""; 0]);
    assert_eq!(read(&[]), ["from carol"]);
    assert_eq!(read(&[]), [""; 0]);
}
