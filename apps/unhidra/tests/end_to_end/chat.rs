//! Two people chat: on a terminal with an editor, and by lines that are piped in.

use std::time::Duration;

use serde_json::Value;
use unhidra_testkit::{Device, person::texts, process::RUN_TIMEOUT, terminal::Terminal};

use crate::world;

fn chat(device: &Device, peer: &str) -> anyhow::Result<Terminal> {
    let mut terminal = Terminal::start(device.command().args(["chat", peer]).env("TERM", "xterm"))?;
    let prompt = format!("{peer}> ");
    terminal.wait_for(RUN_TIMEOUT, |shown| shown.contains(&prompt).then_some(()))?;
    Ok(terminal)
}

fn sees(terminal: &mut Terminal, text: &str) -> anyhow::Result<()> {
    terminal.wait_for(RUN_TIMEOUT, |shown| shown.contains(text).then_some(()))
}

#[test]
fn two_people_chat_on_terminals_and_see_delivery() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    alice.first().unwrap().send("bob", "written before").unwrap();
    let mut one = chat(alice.first().unwrap(), "bob").unwrap();
    sees(&mut one, "written before").unwrap();
    let mut two = chat(bob.first().unwrap(), "alice").unwrap();
    sees(&mut two, "alice: written before").unwrap();
    one.press("hello bob\r").unwrap();
    sees(&mut two, "alice: hello bob").unwrap();
    sees(&mut one, "delivered: hello bob").unwrap();
    // A message comes while a line is being typed: the line is still there after it.
    one.press("half a li").unwrap();
    two.press("in between\r").unwrap();
    sees(&mut one, "bob: in between").unwrap();
    one.press("ne\r").unwrap();
    sees(&mut two, "alice: half a line").unwrap();
    one.press("/quit\r").unwrap();
    assert!(one.wait(RUN_TIMEOUT).unwrap().success());
    two.press("\u{4}").unwrap();
    assert!(two.wait(RUN_TIMEOUT).unwrap().success());
    // What the chat has shown is not new any more.
    assert_eq!(bob.first().unwrap().read_json().unwrap(), []);
    let read = alice
        .first()
        .unwrap()
        .run(["--json", "read", "--all"])
        .unwrap()
        .success()
        .unwrap();
    let read = texts(&unhidra_testkit::person::messages(&read).unwrap());
    assert_eq!(read, ["written before", "hello bob", "in between", "half a line"]);
}

#[test]
fn control_sequences_of_others_do_not_reach_the_terminal() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let hostile = "\u{1b}]0;title\u{7}\u{1b}[31mred\nbob: forged";
    alice.first().unwrap().send("bob", hostile).unwrap();
    let mut screen = chat(bob.first().unwrap(), "alice").unwrap();
    sees(&mut screen, "forged").unwrap();
    alice.first().unwrap().send("bob", hostile).unwrap();
    let shown = screen
        .wait_for(RUN_TIMEOUT, |shown| {
            (shown.matches("forged").count() == 2).then(|| shown.to_owned())
        })
        .unwrap();
    assert!(
        !shown.contains("\u{1b}]0;") && !shown.contains("\u{1b}[31m"),
        "{shown:?}"
    );
    assert_eq!(shown.matches("\\u{1b}[31mred").count(), 2, "{shown:?}");
    // No text begins at the edge, where only messages begin.
    assert_eq!(shown.matches("    bob: forged").count(), 2, "{shown:?}");
}

#[test]
fn what_is_typed_without_a_server_is_kept_and_sent_when_it_is_back() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    device.send("bob", "known").unwrap();
    world.server.kill_nine().unwrap();
    let mut screen = chat(device, "bob").unwrap();
    sees(&mut screen, "Offline").unwrap();
    screen.press("typed offline\r/history 5\r").unwrap();
    sees(&mut screen, "Offline").unwrap();
    world.server.restart().unwrap();
    sees(&mut screen, "Online again").unwrap();
    screen.press("/quit\r").unwrap();
    assert!(screen.wait(RUN_TIMEOUT).unwrap().success());
    assert_eq!(
        texts(&bob.first().unwrap().read_json().unwrap()),
        ["known", "typed offline"]
    );
}

#[test]
fn ctrl_c_loses_neither_what_was_entered_nor_what_was_being_typed() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let mut screen = chat(alice.first().unwrap(), "bob").unwrap();
    screen.press("entered\rbeing typed").unwrap();
    sees(&mut screen, "being typed").unwrap();
    screen.press("\u{3}").unwrap();
    // Nothing is left on the line, so that the next one says how to end; arrow up brings the kept line back.
    screen.press("\u{3}").unwrap();
    sees(&mut screen, "Ctrl-D ends the chat").unwrap();
    screen.press("\u{1b}[A\r").unwrap();
    screen.press("\u{4}").unwrap();
    assert!(screen.wait(RUN_TIMEOUT).unwrap().success());
    assert_eq!(
        texts(&bob.first().unwrap().read_json().unwrap()),
        ["entered", "being typed"]
    );
}

#[test]
fn a_chat_gives_the_terminal_back_as_it_was() {
    let mut world = world().unwrap();
    let (alice, _bob) = world.alice_and_bob().unwrap();
    let command = alice.first().unwrap().command();
    for (script, keys) in [
        (
            "stty -g; \"$0\" \"$@\" chat bob; stty -g; echo end",
            Some("/quit\r"),
        ),
        (
            "stty -g; timeout 4 \"$0\" \"$@\" chat bob; stty -g; echo end",
            None,
        ),
    ] {
        let mut shell = std::process::Command::new("/bin/sh");
        shell
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .args(["-c", script])
            .arg(command.get_program())
            .args(command.get_args());
        let mut terminal = Terminal::start(&mut shell).unwrap();
        sees(&mut terminal, "bob> ").unwrap();
        if let Some(keys) = keys {
            terminal.press(keys).unwrap();
        }
        sees(&mut terminal, "end\r\n").unwrap();
        let shown = terminal.shown();
        let modes: Vec<&str> = shown
            .lines()
            .filter_map(|line| {
                line.trim()
                    .rsplit(|c: char| !c.is_ascii_hexdigit() && c != ':')
                    .next()
            })
            .filter(|line| line.matches(':').count() > 10)
            .collect();
        assert_eq!(modes.len(), 2, "{shown:?}");
        assert_eq!(modes[0], modes[1]);
    }
}

#[test]
fn piped_lines_are_sent_and_a_script_sees_messages_and_states() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    bob.first().unwrap().send("alice", "a question").unwrap();
    let device = alice.first().unwrap();
    let piped = device
        .start(["--json", "chat", "bob"], b"one\n\n//two\nthree")
        .unwrap();
    let output = piped.wait(RUN_TIMEOUT).unwrap().success().unwrap();
    let printed = output.json().unwrap();
    let has = |field: &str, value: &str| printed.iter().any(|line: &Value| line[field] == value);
    assert!(has("state", "sent"), "{printed:?}");
    let read = texts(&bob.first().unwrap().read_json().unwrap());
    assert_eq!(read, ["one", "/two", "three"]);
}

#[test]
fn a_user_without_a_device_can_not_be_talked_to_and_an_unknown_command_is_not_sent() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    device.run(["chat", "nobody"]).unwrap().refusal(6).unwrap();
    let piped = device.start(["chat", "bob"], b"/foo bar\n/help\n").unwrap();
    let output = piped.wait(Duration::from_secs(60)).unwrap().success().unwrap();
    let told = String::from_utf8_lossy(output.stderr());
    assert!(
        told.contains("There is no /foo") && told.contains("/history"),
        "{told}"
    );
    assert_eq!(bob.first().unwrap().read_json().unwrap(), []);
}
