//! What others write never steers the terminal.

use unhidra_testkit::{person::texts, process::RUN_TIMEOUT};

use crate::world;

/// Clears the screen, colours, sets the title, rings, goes back, and turns the reading direction around.
const HOSTILE: &str = "\u{1b}[2J\u{1b}[31mred\u{1b}]0;title\u{7}\u{8}\u{9b}5A\rover\u{202e}desrever\u{7f}";

/// Whether a terminal would do something else than print, or lacks a part of the text.
fn steers(printed: &[u8]) -> bool {
    let printed = String::from_utf8_lossy(printed);
    let steering = |character: char| {
        (character.is_control() && !matches!(character, '\n' | '\t'))
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let whole = ["red", "title", "over", "desrever"]
        .iter()
        .all(|part| printed.contains(part));
    printed.chars().any(steering) || !whole
}

#[test]
fn control_sequences_of_others_are_shown_escaped() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let mut listener = bob.first().unwrap().start(["listen"], b"").unwrap();
    alice.first().unwrap().send("bob", HOSTILE).unwrap();
    listener
        .line(RUN_TIMEOUT, |line| line.contains("desrever").then_some(()))
        .unwrap();
    let listened = listener.stdout().unwrap();
    assert!(!steers(&listened), "{listened:?}");
    drop(listener);
    let read = bob
        .first()
        .unwrap()
        .run(["read", "--all"])
        .unwrap()
        .success()
        .unwrap();
    assert!(!steers(read.stdout()), "{read:?}");
}

#[test]
fn a_script_gets_the_text_as_it_was_written_and_no_control_byte_either() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    alice.first().unwrap().send("bob", HOSTILE).unwrap();
    let read = bob
        .first()
        .unwrap()
        .run(["--json", "read"])
        .unwrap()
        .success()
        .unwrap();
    assert!(!steers(read.stdout()), "{read:?}");
    let messages = unhidra_testkit::person::messages(&read).unwrap();
    assert_eq!(texts(&messages), [HOSTILE]);
}
