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

use unhidra_testkit::{Program, World};

fn program() -> Program {
    Program::at(env!("CARGO_BIN_EXE_unhidra"))
}

fn world() -> anyhow::Result<World> {
    World::start(program())
}
