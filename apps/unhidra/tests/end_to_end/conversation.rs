//! People talk: everything arrives on every device, once and in order.

use unhidra_testkit::person::{Message, messages, texts};

use crate::world;

fn numbered(who: &str, count: usize) -> Vec<String> {
    (1..=count).map(|line| format!("{who} {line}")).collect()
}

fn from<'a>(sender: &str, read: &'a [Message]) -> Vec<&'a str> {
    let own = read.iter().filter(|message| message.from == sender);
    own.map(|message| message.text.as_deref().unwrap_or_default())
        .collect()
}

#[test]
fn two_people_on_four_devices_read_both_sides_in_order_and_once() {
    let mut world = world().unwrap();
    let (mut alice, mut bob) = world.alice_and_bob().unwrap();
    world.link(&mut alice).unwrap();
    world.link(&mut bob).unwrap();
    let (there, back) = (numbered("there", 40), numbered("back", 40));
    alice.first().unwrap().send_lines("bob", "there", &there).unwrap();
    bob.second().unwrap().send_lines("alice", "back", &back).unwrap();

    for device in alice.devices.iter().chain(&bob.devices) {
        let read = device.read_json().unwrap();
        // Own messages are new only to the own devices that did not send them.
        if device.name() != alice.devices[0].name() {
            assert_eq!(from("alice", &read), there, "on {}", device.name());
        }
        if device.name() != bob.devices[1].name() {
            assert_eq!(from("bob", &read), back, "on {}", device.name());
        }
        assert_eq!(device.read_json().unwrap(), [], "{} read twice", device.name());
    }
}

#[test]
fn a_message_names_its_sender_recipient_and_place() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    alice.first().unwrap().send("bob", "grüße\nzweite Zeile").unwrap();
    let read = bob.first().unwrap().read_json().unwrap();
    let [message] = read.as_slice() else {
        panic!("one message, and not {read:?}");
    };
    assert_eq!((message.from.as_str(), message.to.as_str()), ("alice", "bob"));
    assert_eq!(message.text.as_deref(), Some("grüße\nzweite Zeile"));
    assert_eq!(message.state, "received");
    assert_eq!(message.from_device, alice.first().unwrap().id().unwrap());
    assert!(message.seq.is_some());
}

#[test]
fn feeding_the_same_batch_twice_sends_it_once() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let lines = numbered("line", 50);
    let device = alice.first().unwrap();
    device.send_lines("bob", "same", &lines[..20]).unwrap();
    device.send_lines("bob", "same", &lines).unwrap();
    device.send_lines("bob", "same", &lines).unwrap();
    assert_eq!(texts(&bob.first().unwrap().read_json().unwrap()), lines);
}

#[test]
fn another_batch_of_the_same_lines_is_sent_again() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let lines = numbered("line", 5);
    let device = alice.first().unwrap();
    device.send_lines("bob", "one", &lines).unwrap();
    device.send_lines("bob", "other", &lines).unwrap();
    let read = texts(&bob.first().unwrap().read_json().unwrap());
    assert_eq!(read, [lines.clone(), lines].concat());
}

#[test]
fn blank_lines_carriage_returns_and_equal_lines_arrive_as_they_are() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let lines = ["", "a", "a", "  indented\t", "windows\r", "", "日本語", "👩‍🚀"].map(str::to_owned);
    alice.first().unwrap().send_lines("bob", "odd", &lines).unwrap();
    assert_eq!(texts(&bob.first().unwrap().read_json().unwrap()), lines);
}

#[test]
fn standard_input_is_one_message() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let text = "first line\nsecond line\n";
    let sent = alice
        .first()
        .unwrap()
        .start(["send", "bob"], text.as_bytes())
        .unwrap();
    sent.wait(unhidra_testkit::process::RUN_TIMEOUT)
        .unwrap()
        .success()
        .unwrap();
    let read = texts(&bob.first().unwrap().read_json().unwrap());
    let [message] = read.as_slice() else {
        panic!("one message, and not {read:?}");
    };
    assert_eq!(message.trim_end_matches('\n'), text.trim_end_matches('\n'));
}

#[test]
fn reading_with_a_limit_goes_on_where_it_stopped_and_all_begins_anew() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let lines = numbered("line", 10);
    alice.first().unwrap().send_lines("bob", "ten", &lines).unwrap();
    let device = bob.first().unwrap();
    let read = |arguments: &[&str]| {
        let output = device.run([&["--json", "read"], arguments].concat()).unwrap();
        texts(&messages(&output.success().unwrap()).unwrap())
    };
    assert_eq!(read(&["--limit", "4"]), lines[..4]);
    assert_eq!(read(&[]), lines[4..]);
    assert_eq!(read(&["--all"]), lines);
    assert_eq!(read(&["--all", "--from", "alice"]), lines);
}

#[test]
fn waiting_for_delivery_ends_when_a_device_of_the_peer_has_the_message() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    // Who never wrote to Alice sends her no receipts before accepting her.
    bob.first().unwrap().send("alice", "hello").unwrap();
    let listener = bob.first().unwrap().start(["--json", "listen"], b"").unwrap();
    device
        .run(["send", "bob", "are you there", "--wait", "delivered"])
        .unwrap()
        .success()
        .unwrap();
    drop(listener);
    // With nobody there it is not delivered, and says so.
    let alone = device.run(["send", "bob", "and now", "--wait", "delivered", "--timeout", "2s"]);
    alone.unwrap().refusal(11).unwrap();
    // The listener printed the first one, which is therefore not new any more.
    assert_eq!(texts(&bob.first().unwrap().read_json().unwrap()), ["and now"]);
}

#[test]
fn a_message_that_found_no_server_is_sent_by_the_next_command() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    device.send("bob", "before").unwrap();
    world.server.kill_nine().unwrap();
    let alone = device
        .run(["send", "bob", "meanwhile", "--timeout", "2s"])
        .unwrap();
    assert!(matches!(alone.code(), Some(5 | 11)), "{alone:?}");
    world.server.restart().unwrap();
    device.send("bob", "after").unwrap();
    let read = texts(&bob.first().unwrap().read_json().unwrap());
    assert_eq!(read, ["before", "meanwhile", "after"]);
}

#[test]
fn a_listener_prints_what_comes_while_it_listens() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let mut listener = bob.first().unwrap().start(["--json", "listen"], b"").unwrap();
    for text in ["one", "two"] {
        alice.first().unwrap().send("bob", text).unwrap();
        listener
            .line(unhidra_testkit::process::RUN_TIMEOUT, |line| {
                let message: Message = serde_json::from_str(line).ok()?;
                (message.text.as_deref() == Some(text)).then_some(())
            })
            .unwrap();
    }
}

#[test]
fn both_sides_compare_the_same_digits() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let digits = |device: &unhidra_testkit::Device, peer: &str| {
        let shown = device.run(["verify", peer]).unwrap().success().unwrap();
        let shown = String::from_utf8(shown.stdout().to_vec()).unwrap();
        shown.chars().filter(char::is_ascii_digit).collect::<String>()
    };
    let one = digits(alice.first().unwrap(), "bob");
    assert!(one.len() >= 60, "{one}");
    assert_eq!(one, digits(bob.first().unwrap(), "alice"));
}
