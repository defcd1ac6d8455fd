//! Where the key lies that opens a profile, and how it moves without anything being lost.
//!
//! Tests by the name `keyring` need a keyring that is open: `cargo xtask keyring` makes one for them alone.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use unhidra_testkit::{
    Device, Program, Seed, World,
    person::{Protection, messages, texts},
};

use crate::{program, world};

/// The session bus that the keyring is on.
const BUS: &str = "DBUS_SESSION_BUS_ADDRESS";

fn kept(device: &Device) -> anyhow::Result<String> {
    let shown = device.run(["--json", "key", "show"])?.success()?.json()?;
    let kept = shown.first().and_then(|shown| shown["kept"].as_str());
    Ok(kept.context("it says where")?.to_owned())
}

fn all(device: &Device) -> anyhow::Result<Vec<String>> {
    let read = device.run(["--json", "read", "--all"])?.success()?;
    Ok(texts(&messages(&read)?))
}

fn key_file(device: &Device) -> PathBuf {
    device.home().join("profiles/default/store.key")
}

fn with_a_keyring() -> anyhow::Result<Program> {
    #[expect(clippy::disallowed_methods, reason = "passed on to a child, not read")]
    let bus = std::env::var_os(BUS).context("there is no session bus: run `cargo xtask keyring`")?;
    Ok(program().with(BUS, bus))
}

#[test]
fn without_a_keyring_a_file_keeps_the_key_and_a_person_is_told() {
    let mut world = world().unwrap();
    let mut alice = world.person("alice").unwrap();
    let device = alice.first().unwrap().clone();
    assert_eq!(kept(&device).unwrap(), "file");
    assert!(key_file(&device).exists());
    world.link(&mut alice).unwrap();
    let headless = world.device("headless", Protection::KeyFile).unwrap();
    let mut login = world.login_arguments(&alice, &headless).unwrap();
    login.retain(|argument| argument.as_os_str() != "--json");
    let words = world
        .secret_file(&headless, "words", &alice.recovery_key)
        .unwrap();
    login.extend(["--recovery-key-file".into(), words]);
    let told = headless.run(&login).unwrap().success().unwrap();
    assert!(
        String::from_utf8_lossy(told.stderr()).contains("store.key"),
        "{told:?}"
    );
    let insisting = world.device("insisting", Protection::KeyFile).unwrap();
    let mut login = world.login_arguments(&alice, &insisting).unwrap();
    login.push("--keyring".into());
    let line = insisting.run(&login).unwrap().refusal(9).unwrap();
    assert!(line.contains("keyring"), "{line}");
    // Nothing half-made is in the way of the next try.
    login.pop();
    login.extend([
        "--recovery-key-file".into(),
        world
            .secret_file(&insisting, "words", &alice.recovery_key)
            .unwrap(),
    ]);
    insisting.run(&login).unwrap().success().unwrap();
}

#[test]
fn a_key_moves_between_file_and_passphrase_and_the_former_one_opens_nothing() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    alice.first().unwrap().send("bob", "before").unwrap();
    let device = bob.first().unwrap();
    assert_eq!(all(device).unwrap(), ["before"]);
    let former = fs::read(key_file(device)).unwrap();
    let passphrase = world
        .secret_file(device, "passphrase", "correct horse battery")
        .unwrap();
    let to_passphrase = ["key".into(), "move".into(), "--to".into(), "passphrase".into()];
    let arguments = to_passphrase
        .into_iter()
        .chain(["--new-passphrase-file".into(), passphrase.clone()]);
    device.run::<PathBuf>(arguments).unwrap().success().unwrap();
    assert!(!key_file(device).exists());
    device.run(["whoami"]).unwrap().refusal(9).unwrap();
    let by_passphrase = device.opened_by(Protection::Passphrase(passphrase));
    assert_eq!(
        (
            kept(&by_passphrase).unwrap().as_str(),
            all(&by_passphrase).unwrap().len()
        ),
        ("passphrase", 1)
    );
    by_passphrase
        .run(["key", "move", "--to", "file"])
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(all(device).unwrap(), ["before"]);
    fs::write(key_file(device), former).unwrap();
    device.run(["whoami"]).unwrap().refusal(9).unwrap();
}

#[test]
fn a_move_that_is_killed_at_any_moment_leaves_a_profile_that_opens() {
    let mut world = world().unwrap();
    let alice = world.person("alice").unwrap();
    let by_file = alice.first().unwrap();
    let passphrase = world
        .secret_file(by_file, "passphrase", "correct horse battery")
        .unwrap();
    let by_passphrase = by_file.opened_by(Protection::Passphrase(passphrase.clone()));
    let mut moved = 0;
    for _ in 0..12 {
        let (device, to) = match kept(by_file).unwrap().as_str() {
            "file" => (by_file, "passphrase"),
            _ => (&by_passphrase, "file"),
        };
        let mut arguments: Vec<PathBuf> = ["key", "move", "--to", to].map(PathBuf::from).to_vec();
        if to == "passphrase" {
            arguments.extend(["--new-passphrase-file".into(), passphrase.clone()]);
        }
        let mut process = device.start(arguments, b"").unwrap();
        let moment = Duration::from_millis(world.dice().below(900));
        match process.line(moment, |_| Some(())) {
            Ok(()) => moved += 1,
            Err(_) => process.kill_nine().unwrap(),
        }
        let opened = match kept(by_file).unwrap().as_str() {
            "file" => by_file,
            _ => &by_passphrase,
        };
        opened.whoami().unwrap();
    }
    println!("{moved} of 12 moves came to their end");
}

#[test]
#[ignore = "needs a keyring: cargo xtask keyring"]
fn a_keyring_keeps_the_key_and_gives_it_only_in_its_session() {
    let seed = Seed::from_environment().unwrap();
    let mut world = World::configured(with_a_keyring().unwrap(), seed, Vec::new()).unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    alice.first().unwrap().send("bob", "hello").unwrap();
    let device = bob.first().unwrap();
    assert_eq!(
        (kept(device).unwrap().as_str(), all(device).unwrap().len()),
        ("keyring", 1)
    );
    assert!(!key_file(device).exists());
    let outside = Device::new(&program(), device.home().to_owned(), Protection::KeyFile).unwrap();
    let line = outside.run(["whoami"]).unwrap().refusal(9).unwrap();
    assert!(line.contains("desktop session"), "{line}");
}

#[test]
#[ignore = "needs a keyring: cargo xtask keyring"]
fn a_key_moves_into_the_keyring_and_out_again() {
    let seed = Seed::from_environment().unwrap();
    let mut world = World::configured(with_a_keyring().unwrap(), seed, Vec::new()).unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    alice.first().unwrap().send("bob", "hello").unwrap();
    let device = bob.first().unwrap();
    let messages = all(device).unwrap();
    let outside = Device::new(&program(), device.home().to_owned(), Protection::KeyFile).unwrap();
    for _ in 0..2 {
        device
            .run(["key", "move", "--to", "file"])
            .unwrap()
            .success()
            .unwrap();
        assert_eq!(
            (kept(&outside).unwrap().as_str(), all(&outside).unwrap()),
            ("file", messages.clone())
        );
        device
            .run(["key", "move", "--to", "keyring"])
            .unwrap()
            .success()
            .unwrap();
        assert_eq!(
            (kept(device).unwrap().as_str(), all(device).unwrap()),
            ("keyring", messages.clone())
        );
        assert!(!key_file(device).exists());
        outside.run(["whoami"]).unwrap().refusal(9).unwrap();
    }
    // Moving it where it is makes a new one.
    device
        .run(["key", "move", "--to", "keyring"])
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(all(device).unwrap(), messages);
}
