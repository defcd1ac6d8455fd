//! A backup taken while the server serves is a server on which everybody goes on.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use unhidra_testkit::{Device, Person, Seed, Server, World, person::texts, process::RUN_TIMEOUT};

use crate::{program, run};

/// Every command renews its tokens: those of the backup are old ones in no time.
fn world() -> World {
    let settings = vec![("UNHIDRA_KEYS_TOKEN_LIFETIME", "30s".to_owned())];
    World::configured(program(), Seed::from_environment().unwrap(), settings).unwrap()
}

fn back_up(server: &Server, name: &str) -> PathBuf {
    let file = server.logs().join(name);
    let (data, out) = (server.data(), file.display().to_string());
    run(
        &server.logs(),
        &["backup", "--data", &data.display().to_string(), "--out", &out],
    )
    .success()
    .unwrap();
    file
}

/// The server is lost with its folder, and comes back from the backup.
fn lose_and_restore(server: &mut Server, backup: &Path) {
    server.kill_nine().unwrap();
    let data = server.data();
    fs::rename(&data, data.with_extension("lost")).unwrap();
    let (file, data) = (backup.display().to_string(), data.display().to_string());
    run(&server.logs(), &["restore", &file, "--data", &data])
        .success()
        .unwrap();
    server.restart().unwrap();
}

fn read_everything<'a>(devices: impl IntoIterator<Item = &'a Device>) {
    for device in devices {
        device.read_json().unwrap();
    }
}

/// Everybody writes to the other side, and every other device of both reads it.
fn everybody_goes_on(alice: &Person, bob: &Person, round: &str) {
    let all: Vec<&Device> = alice.devices.iter().chain(&bob.devices).collect();
    for (sender, peer) in all.iter().zip([&bob.name, &bob.name, &alice.name, &alice.name]) {
        let line = format!("{round} from {}", sender.name());
        sender.send(peer, &line).unwrap();
        for reader in all.iter().filter(|reader| reader.name() != sender.name()) {
            assert_eq!(
                texts(&reader.read_json().unwrap()),
                [line.as_str()],
                "on {}",
                reader.name()
            );
        }
    }
}

fn seqs(device: &Device) -> Vec<u64> {
    let output = device
        .run(["--json", "read", "--all"])
        .unwrap()
        .success()
        .unwrap();
    let read = unhidra_testkit::person::messages(&output).unwrap();
    read.iter().filter_map(|message| message.seq).collect()
}

#[test]
fn a_backup_taken_while_lines_flow_restores_to_a_server_on_which_everybody_goes_on() {
    let mut world = world();
    let (mut alice, mut bob) = world.alice_and_bob().unwrap();
    world.link(&mut alice).unwrap();
    world.link(&mut bob).unwrap();
    everybody_goes_on(&alice, &bob, "before");

    let flowing: Vec<String> = (0..300).map(|line| format!("flowing {line}")).collect();
    let sending = alice.devices[0]
        .start_lines("bob", "flow", &flowing, RUN_TIMEOUT)
        .unwrap();
    let backup = back_up(&world.server, "backup.tar");
    sending.wait(RUN_TIMEOUT).unwrap().success().unwrap();
    read_everything(alice.devices.iter().chain(&bob.devices));
    everybody_goes_on(&alice, &bob, "after");
    let last_seq = seqs(&bob.devices[0]).into_iter().max().unwrap();

    lose_and_restore(&mut world.server, &backup);
    // What clients append again, they do before they are asked for anything.
    read_everything(alice.devices.iter().chain(&bob.devices));
    read_everything(alice.devices.iter().chain(&bob.devices));
    everybody_goes_on(&alice, &bob, "restored");
    for device in alice.devices.iter().chain(&bob.devices) {
        let seqs = seqs(device);
        assert!(seqs.is_sorted_by(|one, next| one < next), "on {}", device.name());
        assert!(seqs.last().unwrap() - last_seq > 1 << 31, "on {}", device.name());
    }
    for device in &bob.devices {
        let output = device
            .run(["--json", "read", "--all"])
            .unwrap()
            .success()
            .unwrap();
        let read = texts(&unhidra_testkit::person::messages(&output).unwrap());
        for line in &flowing {
            assert_eq!(
                read.iter().filter(|text| *text == line).count(),
                1,
                "{line} on {}",
                device.name()
            );
        }
    }
}

#[test]
fn a_device_that_logged_in_after_the_backup_goes_on_and_a_copy_of_its_token_does_not() {
    let mut world = world();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let backup = back_up(&world.server, "backup.tar");
    let device = alice.first().unwrap();
    device.run(["logout"]).unwrap().success().unwrap();
    let login = world.login_arguments(&alice, device).unwrap();
    device.run(login).unwrap().success().unwrap();
    lose_and_restore(&mut world.server, &backup);
    device.send("bob", "still here").unwrap();
    assert_eq!(texts(&bob.first().unwrap().read_json().unwrap()), ["still here"]);
    device.whoami().unwrap();
    // Ended for good: the restore makes up for what the backup lacks, and for nothing later.
    device.run(["logout"]).unwrap().success().unwrap();
    device.run(["whoami"]).unwrap().with_code(4).unwrap();
}

#[test]
fn a_backup_is_made_under_its_name_alone_for_its_owner_alone_and_says_what_is_in_it() {
    let mut world = world();
    world.person("alice").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (
        world.server.data().display().to_string(),
        folder.path().display().to_string(),
    );
    let made = run(
        folder.path(),
        &["--json", "backup", "--data", &data, "--out", &out],
    )
    .success()
    .unwrap();
    let made: Value = made.json().unwrap().remove(0);
    let files: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [file] = files.as_slice() else {
        panic!("one file, and not {files:?}")
    };
    assert_eq!(made["backup"], file.display().to_string());
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = made["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["name"].clone())
        .collect();
    assert_eq!(names[0], "unhidra.db");
    assert!(
        names.contains(&"keys.sealed".into()) && names.contains(&"sealing.key".into()),
        "{names:?}"
    );
    assert!(
        !names.contains(&"lock".into()) && !names.contains(&"reserve".into()),
        "{names:?}"
    );
    let checked = run(
        folder.path(),
        &["--json", "restore", "--check", &file.display().to_string()],
    );
    assert_eq!(
        checked.success().unwrap().json().unwrap()[0]["parts"],
        made["parts"]
    );
    // The name is taken now.
    run(
        folder.path(),
        &["backup", "--data", &data, "--out", &file.display().to_string()],
    )
    .refusal(2)
    .unwrap();
    // A copy in the folder itself would be lost with it.
    let inside = format!("{data}/backup.tar");
    run(folder.path(), &["backup", "--data", &data, "--out", &inside])
        .refusal(3)
        .unwrap();
}

#[test]
fn a_damaged_backup_and_a_folder_in_use_are_refused_and_nothing_is_changed() {
    let mut world = world();
    world.person("alice").unwrap();
    let backup = back_up(&world.server, "backup.tar");
    let folder = tempfile::tempdir().unwrap();
    let restore = |file: &Path, data: &Path| {
        let (file, data) = (file.display().to_string(), data.display().to_string());
        run(folder.path(), &["restore", &file, "--data", &data])
    };
    let used = restore(&backup, &world.server.data()).refusal(3).unwrap();
    assert!(used.contains("not empty"), "{used}");

    let whole = fs::read(&backup).unwrap();
    let damaged = folder.path().join("damaged.tar");
    let data = folder.path().join("data");
    for broken in [&whole[..whole.len() / 2], &b"no backup at all"[..]] {
        fs::write(&damaged, broken).unwrap();
        restore(&damaged, &data).refusal(8).unwrap();
    }
    let mut turned = whole.clone();
    turned[whole.len() / 2] ^= 1;
    fs::write(&damaged, turned).unwrap();
    restore(&damaged, &data).refusal(8).unwrap();
    assert!(!data.exists());

    // Cut off, a restore leaves a folder that no server takes for its own.
    fs::create_dir_all(data.join(".restoring")).unwrap();
    let data = data.display().to_string();
    let line = run(
        folder.path(),
        &["serve", "--data", &data, "--listen", "127.0.0.1:0"],
    )
    .refusal(3)
    .unwrap();
    assert!(line.contains("restore again"), "{line}");
    world.person("bob").unwrap();
}
