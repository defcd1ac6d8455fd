//! The audit log: exported, checked without a network, proved, searched; and a server that goes back is noticed.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use unhidra_testkit::{
    World,
    person::Device,
    process::{Output, RUN_TIMEOUT},
};

use crate::{run, world};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(output.stdout()).into_owned()
}

fn warned(output: &Output) -> bool {
    String::from_utf8_lossy(output.stderr()).contains("WARNING: on ")
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Acts that get records.
fn invite(device: &Device, times: usize) {
    for _ in 0..times {
        device.run(["admin", "invite"]).unwrap().success().unwrap();
    }
}

/// An export with its key, and where they lie.
fn exported(device: &Device, folder: &Path) -> (PathBuf, String) {
    let file = folder.join("export.jsonl");
    let told = device.run(["--json", "audit", "export", "--out", text(&file)]);
    let told = told.unwrap().success().unwrap().json().unwrap();
    assert!(told[0]["records"].as_u64() > Some(0), "{told:?}");
    let key = device.run(["audit", "key"]).unwrap().success().unwrap();
    (file, printed(&key).trim().to_owned())
}

#[test]
fn an_export_is_checked_by_the_public_key_alone_and_every_change_is_located() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (file, key) = exported(alice.first().unwrap(), folder);
    let verify = |file: &Path| run(folder, &["--json", "audit", "verify", text(file), "--key", &key]);
    let intact = verify(&file).success().unwrap().json().unwrap();
    let summary = intact.last().unwrap();
    assert_eq!(
        (&summary["intact"], summary["faults"].as_u64()),
        (&Value::Bool(true), Some(0))
    );
    assert_eq!(summary["signed"], summary["records"]);

    let lines: Vec<String> = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let place = |number: u64| {
        let wanted = format!("{{\"record\":{{\"number\":{number},");
        lines.iter().position(|line| line.starts_with(&wanted)).unwrap()
    };
    let changed = folder.join("changed.jsonl");
    let findings = |lines: Vec<String>| -> Vec<(String, Option<u64>)> {
        fs::write(&changed, lines.join("\n")).unwrap();
        let mut found = verify(&changed).with_code(9).unwrap().json().unwrap();
        found.pop();
        let named = |finding: &Value| {
            (
                finding["table"].as_str().unwrap().to_owned(),
                finding["number"].as_u64(),
            )
        };
        found.iter().map(named).collect()
    };
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        findings(lines)
    };
    let named = lines
        .iter()
        .position(|line| line.contains(r#"\"username\":\"bob\""#))
        .unwrap();
    let number = u64::try_from(named - place(1) + 1).unwrap();
    let found = with(&|lines| lines[named] = lines[named].replace(r#"\"bob\""#, r#"\"eve\""#));
    assert_eq!(found, [("payload".to_owned(), Some(number))]);
    let found = with(&|lines| drop(lines.remove(place(5))));
    assert_eq!(found[0], ("record".to_owned(), Some(5)));
    let found = with(&|lines| lines.swap(place(4), place(6)));
    assert!(
        found.iter().all(|(_, number)| (4..=6).contains(&number.unwrap())),
        "{found:?}"
    );
    let found = with(&|lines| {
        let copy = lines[place(3)].replace("\"number\":3,", "\"number\":4,");
        lines.insert(place(4), copy);
    });
    assert_eq!(found[0].1, Some(4), "{found:?}");
    let head = lines
        .iter()
        .rposition(|line| line.starts_with("{\"head\""))
        .unwrap();
    let found = with(&|lines| lines[head] = lines[head].replacen("\"size\":", "\"size\":1", 1));
    assert_eq!(found.last().unwrap().0, "head");
    let found = with(&|lines| drop(lines.pop()));
    assert_eq!(found[0].0, "record");
    let found = with(&|lines| drop(lines.remove(head)));
    assert!(!found.is_empty());

    let other = "07".repeat(32);
    run(folder, &["audit", "verify", text(&file), "--key", &other])
        .with_code(9)
        .unwrap();
    run(folder, &["audit", "verify", text(&file)])
        .with_code(2)
        .unwrap();
    bob.first()
        .unwrap()
        .run(["audit", "export"])
        .unwrap()
        .refusal(4)
        .unwrap();
}

#[test]
fn a_record_is_proved_found_and_erased() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let (device, folder) = (alice.first().unwrap(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let search = |arguments: &[&str]| {
        let mut all = vec!["--json", "audit", "search"];
        all.extend(arguments);
        device.run(all).unwrap().success().unwrap().json().unwrap()
    };
    let opened = search(&["--act", "account-opened", "--text", "bob"]);
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert!(!search(&["--subject", "bob"]).is_empty());
    assert!(!search(&["--actor", "alice", "--since", "1h"]).is_empty());
    assert!(search(&["--until", "1h"]).is_empty());
    let page = search(&["--limit", "2"]);
    assert_eq!((page.len(), page[2]["next"].as_u64()), (3, Some(2)));
    let number = opened[0]["number"].as_u64().unwrap().to_string();

    let (proof, pinned) = (folder.join("proof.json"), folder.join("audit.pub"));
    device
        .run(["audit", "prove", &number, "--out", text(&proof)])
        .unwrap()
        .success()
        .unwrap();
    let key = device.run(["--json", "audit", "key"]).unwrap().success().unwrap();
    fs::write(&pinned, key.stdout()).unwrap();
    let check = || {
        run(
            folder,
            &["audit", "verify-proof", text(&proof), "--key", text(&pinned)],
        )
    };
    assert!(printed(&check().success().unwrap()).contains("account-opened"));
    let honest = fs::read_to_string(&proof).unwrap();
    fs::write(&proof, honest.replace("bob", "eve")).unwrap();
    assert!(check().refusal(9).unwrap().contains("payload"));

    device
        .run(["audit", "erase", &number])
        .unwrap()
        .success()
        .unwrap();
    device
        .run(["audit", "erase", &number])
        .unwrap()
        .refusal(6)
        .unwrap();
    device
        .run(["audit", "prove", "99999"])
        .unwrap()
        .refusal(6)
        .unwrap();
    bob.first()
        .unwrap()
        .run(["audit", "erase", "1"])
        .unwrap()
        .refusal(4)
        .unwrap();
    assert_eq!(search(&["--act", "payload-erased"]).len(), 1);
    let (file, key) = exported(device, folder);
    assert!(search(&["--act", "account-opened", "--text", "bob"]).is_empty());
    let intact = run(folder, &["--json", "audit", "verify", text(&file), "--key", &key]);
    assert_eq!(
        intact.success().unwrap().json().unwrap().last().unwrap()["erased"],
        1
    );
}

#[test]
fn a_changed_byte_of_the_database_is_located_while_it_is_served_and_after() {
    let mut world = world().unwrap();
    let (alice, _bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = world.server.data();
    let verify = |data: &Path| {
        run(
            folder.path(),
            &["--json", "audit", "verify", "--data", text(data)],
        )
    };
    verify(&data).success().unwrap();
    // Killed while records are appended: tree and records are of the same commit.
    for _ in 0..3 {
        let invite = || device.start(["admin", "invite"], b"").unwrap();
        let running = [invite(), invite(), invite()];
        world.server.kill_nine().unwrap();
        for process in running {
            process.wait(RUN_TIMEOUT).unwrap();
        }
        verify(&data).success().unwrap();
        world.server.restart().unwrap();
    }
    world.server.terminate().unwrap();
    verify(&data).success().unwrap();

    let copy = folder.path().join("data");
    copy_folder(&data, &copy);
    let database = copy.join("unhidra.db");
    let mut bytes = fs::read(&database).unwrap();
    let wanted = br#""username":"bob""#;
    let at = bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
        .unwrap();
    bytes[at + wanted.len() - 2] = b'x';
    fs::write(&database, bytes).unwrap();
    let found = verify(&copy).with_code(9).unwrap().json().unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0]["table"], "payload");
    assert!(found[0]["number"].as_u64().unwrap() > 1);
    let empty = folder.path().join("empty");
    verify(&empty).with_code(3).unwrap();
}

/// A server whose folder was put back to an older copy, with what bob saw of its log between.
struct Restored {
    world: World,
    alice: Device,
    bob: Device,
    /// The head that bob saw last.
    head: PathBuf,
    _folder: tempfile::TempDir,
}

fn restored() -> Restored {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let (alice, bob) = (alice.first().unwrap().clone(), bob.first().unwrap().clone());
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (world.server.data(), folder.path().join("backup"));
    let head = folder.path().join("head.json");
    world.server.terminate().unwrap();
    copy_folder(&data, &backup);
    world.server.restart().unwrap();
    invite(&alice, 3);
    alice.run(["audit", "heads"]).unwrap().success().unwrap();
    bob.run(["audit", "heads", "--out", text(&head)])
        .unwrap()
        .success()
        .unwrap();
    assert!(!warned(
        &bob.run(["read", "--watch-audit", "0s"])
            .unwrap()
            .success()
            .unwrap()
    ));

    world.server.terminate().unwrap();
    fs::remove_dir_all(&data).unwrap();
    copy_folder(&backup, &data);
    world.server.restart().unwrap();
    Restored {
        world,
        alice,
        bob,
        head,
        _folder: folder,
    }
}

#[test]
fn a_server_that_was_put_back_is_noticed_by_whoever_saw_a_later_head() {
    let Restored {
        world,
        alice,
        bob,
        head,
        _folder,
    } = restored();
    // Whatever is done with it, the code is that of the command.
    let read = bob
        .run(["read", "--watch-audit", "0s"])
        .unwrap()
        .success()
        .unwrap();
    assert!(warned(&read), "{}", String::from_utf8_lossy(read.stderr()));
    let sent = bob
        .run(["send", "alice", "still here"])
        .unwrap()
        .success()
        .unwrap();
    assert!(warned(&sent));
    let events = bob
        .run(["--json", "read"])
        .unwrap()
        .success()
        .unwrap()
        .json()
        .unwrap();
    let event = events
        .iter()
        .find(|event| event["notice"] == "audit-contradicted")
        .unwrap();
    assert_eq!(event["contradiction"], "shrunk");
    assert!(bob.run(["audit", "heads"]).unwrap().with_code(9).is_ok());
    let data = world.server.data();
    let verify = |earlier: &[&str]| {
        let mut arguments = vec!["audit", "verify", "--data", text(&data)];
        arguments.extend(earlier);
        run(bob.home(), &arguments)
    };
    verify(&[]).success().unwrap();
    let line = verify(&["--earlier", text(&head)]).refusal(9).unwrap();
    assert!(line.contains("the earlier tree head"), "{line}");

    // It has overtaken what bob saw, with another history.
    invite(&alice, 12);
    alice.run(["audit", "heads"]).unwrap();
    let heads = bob
        .run(["--json", "audit", "heads"])
        .unwrap()
        .with_code(9)
        .unwrap()
        .json()
        .unwrap();
    let evidence = heads[0]["evidence"].as_array().unwrap();
    assert_eq!(evidence.len(), 2);
    assert_eq!(evidence[1]["contradiction"], "forked");
    verify(&["--earlier", text(&head)]).with_code(9).unwrap();

    bob.run(["audit", "accept-restore"]).unwrap().success().unwrap();
    assert!(!warned(
        &bob.run(["read", "--watch-audit", "0s"])
            .unwrap()
            .success()
            .unwrap()
    ));
    let heads = bob
        .run(["--json", "audit", "heads"])
        .unwrap()
        .success()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(
        heads[0]["evidence"].as_array().unwrap().len(),
        2,
        "evidence stays"
    );
    invite(&alice, 1);
    alice.run(["audit", "accept-restore"]).unwrap().success().unwrap();
    bob.run(["audit", "heads"]).unwrap().success().unwrap();
}
