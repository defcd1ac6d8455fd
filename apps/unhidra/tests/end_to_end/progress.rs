//! Long work says how far it is: on a terminal, and nowhere else.

use std::fs;

use unhidra_testkit::{process::RUN_TIMEOUT, terminal::Terminal};

use crate::world;

#[test]
fn a_terminal_shows_how_far_sending_is_and_a_pipe_stays_silent() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    // So that hers is no request, of which `read` tells.
    bob.first().unwrap().send("alice", "hello").unwrap();
    let lines: Vec<String> = (0..3_000).map(|line| format!("line {line}")).collect();
    let file = device.home().join("lines.txt");
    fs::write(&file, lines.join("\n")).unwrap();
    let command = device.command();
    let mut shell = std::process::Command::new("/bin/sh");
    shell
        .env_clear()
        .args(["-c", "exec \"$@\" send bob --lines --batch b < \"$0\""])
        .arg(&file)
        .arg(command.get_program())
        .args(command.get_args());
    let mut terminal = Terminal::start(&mut shell).unwrap();
    assert!(terminal.wait(RUN_TIMEOUT).unwrap().success());
    let shown = terminal
        .wait_for(RUN_TIMEOUT, |shown| {
            shown.contains("3000 lines sent").then(|| shown.to_owned())
        })
        .unwrap();
    assert!(shown.contains("messages sent"), "{shown:?}");
    // The line is taken away before the result is printed.
    let (_, last) = shown.rsplit_once("\u{1b}[2K").unwrap();
    assert_eq!(last.trim_end(), "3000 lines sent to bob, 3000 of them new");

    let piped = device.start_lines("bob", "other", &lines, RUN_TIMEOUT).unwrap();
    let piped = piped.wait(RUN_TIMEOUT).unwrap().success().unwrap();
    assert_eq!(piped.stderr(), b"");
    let read = bob.first().unwrap().run(["read"]).unwrap().success().unwrap();
    let told = String::from_utf8_lossy(read.stderr());
    assert!(
        !told.contains("catching up") && !told.contains('\u{1b}'),
        "{told}"
    );
}
