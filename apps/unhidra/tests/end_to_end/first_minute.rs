//! The first minute: what a newcomer types works.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use unhidra_testkit::process::{Process, RUN_TIMEOUT};

use crate::program;

/// How soon a newcomer has seen a conversation.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn the_demo_shows_two_people_on_three_devices_within_ten_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program().command(folder.path());
    command.args(["demo", "--exit"]);
    let begin = Instant::now();
    let output = Process::start(&mut command, b"")
        .unwrap()
        .wait(RUN_TIMEOUT)
        .unwrap()
        .success()
        .unwrap();
    let took = begin.elapsed();
    let shown = String::from_utf8(output.stdout().to_vec()).unwrap();
    println!("after {took:?}:\n{shown}");
    assert!(took < SHOWN_WITHIN, "{took:?}");
    for who in ["alice", "bob"] {
        assert!(shown.to_lowercase().contains(who), "{who} is not shown");
    }
    let lines = shown.to_lowercase();
    assert!(lines.contains("server"), "what the server stored is not shown");
}

#[test]
fn the_commands_that_the_demo_prints_work_when_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program().command(folder.path());
    command.args(["demo", "--data"]).arg(folder.path().join("demo"));
    let mut demo = Process::start(&mut command, b"").unwrap();
    // It serves on, so its last line does not end the run: the commands are all there once one of each is.
    let wanted = ["send", "read"];
    let pasted = |shown: &str| -> Vec<String> {
        let lines = shown.lines().map(|line| line.trim().trim_start_matches("$ "));
        let commands = lines.filter(|line| {
            line.split_whitespace()
                .next()
                .is_some_and(|word| word.ends_with("unhidra"))
                && line.contains("--profile")
        });
        commands.map(str::to_owned).collect()
    };
    demo.line(RUN_TIMEOUT, |line| {
        let commands = pasted(line);
        commands
            .iter()
            .any(|command| command.contains(" read"))
            .then_some(())
    })
    .unwrap();
    let shown = String::from_utf8(demo.stdout().unwrap()).unwrap();
    let commands = pasted(&shown);
    for word in wanted {
        assert!(
            commands
                .iter()
                .any(|command| command.contains(&format!(" {word}"))),
            "no command to {word} in:\n{shown}"
        );
    }
    for command in commands.iter().filter(|command| !command.contains(" listen")) {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", command]).current_dir(folder.path());
        let output = Process::start(&mut shell, b"")
            .unwrap()
            .wait(RUN_TIMEOUT)
            .unwrap();
        output.success().unwrap();
    }
    demo.ask_to_end().unwrap();
    assert_eq!(demo.wait(RUN_TIMEOUT).unwrap().code(), Some(0));
}

#[test]
fn the_example_of_the_configuration_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = program().command(folder.path());
        command.args(arguments);
        Process::start(&mut command, b"")
            .unwrap()
            .wait(RUN_TIMEOUT)
            .unwrap()
            .success()
            .unwrap()
    };
    let example = run(&["config", "example"]);
    let file = folder.path().join("unhidra.toml");
    std::fs::write(&file, example.stdout()).unwrap();
    let data = folder.path().join("data");
    run(&[
        "doctor",
        "--config",
        file.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ]);
}

#[test]
fn every_command_has_help_with_an_exit_code_of_zero() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "serve", "demo", "register", "login", "logout", "whoami", "devices", "verify", "send", "read",
        "listen", "admin", "doctor", "config",
    ] {
        let mut command = program().command(folder.path());
        command.args([name, "--help"]);
        let help = Process::start(&mut command, b"")
            .unwrap()
            .wait(RUN_TIMEOUT)
            .unwrap()
            .success()
            .unwrap();
        assert!(help.stdout().len() > 100, "{name}");
    }
}
