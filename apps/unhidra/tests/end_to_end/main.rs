//! The program from outside: a real server, real devices, the commands that people type.

mod archive;
mod audit;
mod backup;
mod bad_input;
mod chat;
mod connections;
mod conversation;
mod disk;
mod doctor;
mod first_minute;
mod hostile;
mod identity_change;
mod keys;
mod load;
mod progress;
mod refusals;
mod repair;
mod revocation;
mod shell;
mod shutdown;
mod slow_reader;
mod stumbles;
mod terminal;
mod tls;
mod verification;

use std::path::Path;

use unhidra_testkit::{
    Program, World,
    process::{Output, Process, RUN_TIMEOUT},
};

fn program() -> Program {
    Program::at(env!("CARGO_BIN_EXE_unhidra"))
}

fn world() -> anyhow::Result<World> {
    World::start(program())
}

/// Runs a command that needs no profile, in `folder`.
#[expect(clippy::unwrap_used, reason = "a test that can't start the program fails")]
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = program().command(folder);
    command.args(arguments);
    Process::start(&mut command, b"")
        .unwrap()
        .wait(RUN_TIMEOUT)
        .unwrap()
}
