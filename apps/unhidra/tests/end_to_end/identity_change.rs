//! Identities that change, and people who are strangers or blocked.
#![expect(
    clippy::unwrap_used,
    reason = "what a test is made of stops where it is wrong"
)]

use std::path::PathBuf;

use serde_json::Value;
use unhidra_testkit::{
    Person, World,
    person::{Device, Protection, texts},
    process::Output,
};

use crate::world;

/// What `read --json` prints: messages by their text, and notices by their name and user.
fn read(device: &Device) -> Vec<String> {
    let printed = device.run(["--json", "read"]).unwrap().success().unwrap();
    printed.json().unwrap().iter().map(line).collect()
}

fn line(value: &Value) -> String {
    if value["state"] == "waiting" {
        return "(waiting)".to_owned();
    }
    match value.get("notice") {
        Some(notice) => format!("! {} {}", text(notice), text(&value["user"])),
        None if value.get("request").is_some() => format!("? {}", text(&value["text"])),
        None => text(&value["text"]),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn json(device: &Device, arguments: &[&str]) -> Vec<Value> {
    let printed = device.run(["--json"].iter().chain(arguments)).unwrap();
    printed.success().unwrap().json().unwrap()
}

fn talk(from: &Device, to: &str, device: &Device, said: &str) {
    from.send(to, said).unwrap();
    let read = read(device);
    let is_said = |line: &String| line == said || line.strip_prefix("? ") == Some(said);
    assert!(read.iter().any(is_said), "{read:?}");
}

fn log_in_with_words(world: &World, person: &Person, name: &str, words: &str) -> (Output, Device) {
    let device = world.device(name, Protection::KeyFile).unwrap();
    let mut arguments = world.login_arguments(person, &device).unwrap();
    let file = world.secret_file(&device, "recovery", words).unwrap();
    arguments.extend(["--recovery-key-file".into(), file]);
    (device.run(arguments).unwrap(), device)
}

fn reset(world: &World, person: &Person, name: &str) -> (Output, Device) {
    let device = world.device(name, Protection::KeyFile).unwrap();
    let password = world.secret_file(&device, "password", &person.password).unwrap();
    let url = world.server.url();
    let arguments = [
        "--json",
        "identity",
        "reset",
        "--server",
        &url,
        "--username",
        &person.name,
        "--confirm",
        &person.name,
        "--device-name",
        name,
        "--password-file",
    ];
    let arguments = arguments.map(PathBuf::from).into_iter().chain([password]);
    (device.run(arguments).unwrap(), device)
}

#[test]
fn a_rotation_is_told_to_contacts_and_every_device_goes_on() {
    let mut world = world().unwrap();
    let (mut alice, bob) = world.alice_and_bob().unwrap();
    world.link(&mut alice).unwrap();
    let (laptop, phone, bobs) = (
        alice.first().unwrap(),
        alice.second().unwrap(),
        bob.first().unwrap(),
    );
    talk(laptop, "bob", bobs, "before");
    talk(bobs, "alice", phone, "before, from bob");
    let before = &json(bobs, &["verify", "alice", "--confirm"])[0];
    assert_eq!(before["verified"], true);
    assert_eq!(json(bobs, &["contacts", "list"])[0]["verified"], true);
    // On its way while the identity changes, to a device that is not there.
    bobs.send("alice", "on its way").unwrap();

    let rotated = json(laptop, &["identity", "rotate", "--yes"]);
    let words = text(&rotated[0]["recovery_key"]);
    assert_eq!(words.split(' ').count(), 24);
    assert_ne!(words, alice.recovery_key);
    assert_eq!(rotated[1]["devices"].as_array().unwrap().len(), 2);

    talk(laptop, "bob", bobs, "after, from the laptop");
    let told = read(phone);
    assert!(told.contains(&"! identity-rotated alice".to_owned()), "{told:?}");
    assert!(told.contains(&"on its way".to_owned()), "{told:?}");
    talk(phone, "bob", bobs, "after, from the phone");
    talk(bobs, "alice", phone, "after, from bob");
    assert!(read(laptop).contains(&"after, from bob".to_owned()));

    let after = &json(bobs, &["verify", "alice"])[0];
    assert_eq!(after["verified"], false);
    assert_eq!(json(bobs, &["contacts", "list"])[0]["verified"], false);
    assert_ne!(after["digits"], before["digits"]);
    assert_eq!(json(laptop, &["verify", "bob"])[0]["digits"], after["digits"]);

    // Only the device that rotated certifies others, and the old words are void.
    let line = phone.run(["devices", "revoke", &laptop.id().unwrap()]).unwrap();
    let line = line.refusal(1).unwrap();
    assert!(line.contains(laptop.name()), "{line}");
    log_in_with_words(&world, &alice, "thief", &alice.recovery_key)
        .0
        .refusal(4)
        .unwrap();
    let (recovered, device) = log_in_with_words(&world, &alice, "alice-new", &words);
    recovered.success().unwrap();
    device
        .run(["devices", "revoke", &phone.id().unwrap()])
        .unwrap()
        .success()
        .unwrap();
    talk(&device, "bob", bobs, "recovered");
}

#[test]
fn a_notice_of_a_rotation_is_read_once_and_leaves_out_a_lost_device() {
    let mut world = world().unwrap();
    let (mut alice, bob) = world.alice_and_bob().unwrap();
    world.link(&mut alice).unwrap();
    let (laptop, lost, bobs) = (
        alice.first().unwrap(),
        alice.second().unwrap(),
        bob.first().unwrap(),
    );
    talk(laptop, "bob", bobs, "before");
    let id = lost.id().unwrap();
    json(laptop, &["identity", "rotate", "--yes", "--without", &id]);
    let line = lost
        .run(["send", "bob", "from the grave"])
        .unwrap()
        .refusal(4)
        .unwrap();
    assert!(line.contains("revoked") && line.contains("profile"), "{line}");
    laptop.send("bob", "after").unwrap();
    assert_eq!(read(bobs), ["! identity-rotated alice", "? after"]);
    assert_eq!(read(bobs), [] as [&str; 0]);
}

#[test]
fn after_a_reset_nothing_is_sent_until_the_new_digits_are_accepted() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let (old, bobs) = (alice.first().unwrap(), bob.first().unwrap());
    talk(old, "bob", bobs, "before");
    talk(bobs, "alice", old, "before, from bob");

    let (done, new) = reset(&world, &alice, "alice-again");
    let words = text(&done.success().unwrap().json().unwrap()[0]["recovery_key"]);
    assert_eq!(words.split(' ').count(), 24);
    let line = old.run(["read"]).unwrap().refusal(4).unwrap();
    assert!(line.contains("revoked"), "{line}");
    let again = world.login_arguments(&alice, old).unwrap();
    let line = old.run(again).unwrap().refusal(4).unwrap();
    assert!(line.contains("reset"), "{line}");

    let line = bobs
        .run(["send", "alice", "is it you?"])
        .unwrap()
        .refusal(7)
        .unwrap();
    assert!(line.contains("contacts accept alice"), "{line}");
    new.send("bob", "it is me").unwrap();
    assert_eq!(read(bobs), ["! identity-changed alice", "(waiting)"]);
    assert_eq!(json(bobs, &["contacts", "list"])[0]["identity_changed"], true);

    let wrong = "12345 ".repeat(12);
    bobs.run(["contacts", "accept", "alice", "--yes", "--digits", &wrong])
        .unwrap()
        .refusal(7)
        .unwrap();
    bobs.run(["send", "alice", "still not"])
        .unwrap()
        .refusal(7)
        .unwrap();
    let digits = text(&json(&new, &["verify", "bob"])[0]["digits"]);
    let accepted = &json(
        bobs,
        &["contacts", "accept", "alice", "--yes", "--digits", &digits],
    )[0];
    assert_eq!(accepted["new_digits"], digits);
    assert_ne!(accepted["old_digits"], digits);
    let read_now = read(bobs);
    assert!(read_now.contains(&"it is me".to_owned()), "{read_now:?}");
    talk(bobs, "alice", &new, "so it is");
    talk(&new, "bob", bobs, "thank you");

    let line = reset(&world, &alice, "alice-once-more").0.refusal(1).unwrap();
    assert!(line.contains("once a day"), "{line}");
}

#[test]
fn a_blocked_user_learns_nothing_and_is_read_again_afterwards() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let (alices, bobs) = (alice.first().unwrap(), bob.first().unwrap());
    talk(bobs, "alice", alices, "hello");
    talk(alices, "bob", bobs, "hello yourself");
    json(bobs, &["contacts", "block", "alice"]);
    alices.send("bob", "are you there?").unwrap();
    assert_eq!(read(bobs), [] as [&str; 0]);
    assert_eq!(texts(&bobs.read_json().unwrap()), [] as [&str; 0]);
    let line = bobs.run(["send", "alice", "no"]).unwrap().refusal(7).unwrap();
    assert!(line.contains("contacts unblock alice"), "{line}");
    let waiting = [
        "send",
        "bob",
        "and now?",
        "--wait",
        "delivered",
        "--timeout",
        "3s",
    ];
    let waiting = alices.start(waiting, b"").unwrap();
    assert_eq!(read(bobs), [] as [&str; 0]);
    waiting
        .wait(unhidra_testkit::process::RUN_TIMEOUT)
        .unwrap()
        .refusal(11)
        .unwrap();
    assert_eq!(json(bobs, &["contacts", "list"])[0]["blocked"], true);
    json(bobs, &["contacts", "unblock", "alice"]);
    talk(alices, "bob", bobs, "in step");
    talk(bobs, "alice", alices, "both ways");
}

#[test]
fn a_user_without_a_device_and_a_device_that_does_not_certify_are_told_by_name() {
    let mut world = world().unwrap();
    let mut alice = world.person("alice").unwrap();
    world.link(&mut alice).unwrap();
    let account = unhidra_wire::rest::OpenAccount {
        invitation: unhidra_wire::rest::Hidden::new(world.invitation().unwrap()),
        username: "carol".parse().unwrap(),
        password: unhidra_wire::rest::Hidden::new(world.dice().word(20)),
    };
    let http = unhidra_testkit::http::Http::to(world.server.address()).unwrap();
    http.post("/v1/accounts", None, &account).unwrap();
    let (laptop, phone) = (alice.first().unwrap(), alice.second().unwrap());
    let line = laptop.run(["verify", "carol"]).unwrap().refusal(7).unwrap();
    assert!(line.contains("carol has no device yet"), "{line}");
    let line = phone
        .run(["identity", "rotate", "--yes"])
        .unwrap()
        .refusal(1)
        .unwrap();
    assert!(line.contains("identity show"), "{line}");
    let shown = &json(phone, &["identity", "show"])[0];
    assert_eq!(shown["certifies"], false);
    assert_eq!(shown["certifiers"][0]["name"], laptop.name());
    // New words for the same identity: the old ones are void.
    let words = text(&json(laptop, &["identity", "recovery-key"])[0]["recovery_key"]);
    log_in_with_words(&world, &alice, "thief", &alice.recovery_key)
        .0
        .refusal(4)
        .unwrap();
    log_in_with_words(&world, &alice, "alice-new", &words)
        .0
        .success()
        .unwrap();
}

#[test]
fn who_writes_first_asks_and_gets_receipts_once_accepted() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let (alices, bobs) = (alice.first().unwrap(), bob.first().unwrap());
    alices.send("bob", "may I?").unwrap();
    let printed = bobs.run(["read"]).unwrap().success().unwrap();
    let told = String::from_utf8_lossy(printed.stderr()).into_owned();
    assert!(told.contains("contacts accept-request alice"), "{printed:?}");
    let asking = &json(bobs, &["contacts", "requests"])[0];
    assert_eq!(
        (text(&asking["user"]), &asking["messages"]),
        ("alice".into(), &Value::from(1))
    );
    let sent = json(alices, &["read", "--all"]);
    assert_eq!(sent[0]["state"], "sent");
    json(bobs, &["contacts", "accept-request", "alice"]);
    assert_eq!(read(alices), [] as [&str; 0]);
    assert_eq!(json(alices, &["read", "--all"])[0]["state"], "delivered");
    assert_eq!(json(bobs, &["contacts", "requests"]).len(), 0);
    bobs.run(["contacts", "accept-request", "alice"])
        .unwrap()
        .refusal(6)
        .unwrap();
}
