//! The project's own tools: `cargo xtask <command>`.

mod anchors;
mod api_fuzz;
mod bench;
mod chaos;
mod compare;
mod count;
mod deep;
mod flame;
mod fuzz;
mod hostile;
mod invariants;
mod keyring;
mod layers;
mod model;
mod mutants;
mod oracle;
mod plot;
mod profile;
mod simulate;
mod soak;
mod suite;
mod tls_check;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own tools", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check that dependencies point down only, and that every crate takes the workspace's lints
    Layers,
    /// Install what the tests need and run all of them
    Test,
    /// Send real text while server and client are killed at random moments, then search the server for it
    Chaos(chaos::Chaos),
    /// Break each invariant of the protocol once, and see that its test fails
    Invariants(invariants::Invariants),
    /// Break every line of the pair protocol in turn, and see that a test fails
    Mutants(mutants::Mutants),
    /// Run random schedules of messages, crashes and attacks against the model of the pair protocol
    Simulate(simulate::Simulate),
    /// Run the symbolic models of the pair protocol, and compare what they show with what they say
    Model,
    /// Give every decoder, a session and the client's engine to libFuzzer
    Fuzz(fuzz::Fuzz),
    /// Have the protocol's second implementation, in Python, make traces, and replay them on ours
    Oracle(oracle::Oracle),
    /// Measure the pair protocol beside vodozemac's and libsignal's
    Compare(compare::Compare),
    /// Build tier 0 for WebAssembly, a microcontroller and 32 bits, and run its tests where there is something to run them on
    Deep(deep::Deep),
    /// Run the tests that need a keyring, with one of their own
    Keyring,
    /// Attack a server in every way that costs nothing, while others talk on it
    Hostile(hostile::Hostile),
    /// Have the server's TLS examined by testssl.sh
    TlsCheck,
    /// Ask the server for everything that its OpenAPI document allows, and for much that it does not
    ApiFuzz(api_fuzz::ApiFuzz),
    /// Measure NATS, Mosquitto, and ejabberd with PostgreSQL, as our server is measured
    Anchors(anchors::Anchors),
    /// Measure the server and reference servers beside each other under load
    Bench(bench::Bench),
    /// Count the server's instructions for each unit of work, beside those counted before
    Count(count::Count),
    /// Record where the time of a scenario goes, and draw it
    Flame(flame::Flame),
    /// Live a mixed day with the server, among people who behave and among some who do not
    Soak(soak::Soak),
    /// Draw the reports in docs/plots
    Plot,
    /// Everything that a release would need: format, lints, layers, documentation, tests
    Ci,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let root = root()?;
    match Arguments::parse().command {
        Command::Layers => layers::check(&root),
        Command::Test => suite::test(&root),
        Command::Chaos(chaos) => chaos::run(&root, &chaos),
        Command::Invariants(options) => invariants::check(&root, &options),
        Command::Mutants(options) => mutants::run(&root, &options),
        Command::Simulate(options) => simulate::run(&root, options.schedules),
        Command::Model => model::run(&root),
        Command::Fuzz(options) => fuzz::run(&root, &options),
        Command::Oracle(options) => oracle::run(&root, &options),
        Command::Compare(options) => compare::run(&root, &options),
        Command::Deep(options) => deep::run(&root, &options),
        Command::Keyring => keyring::run(&root),
        Command::Hostile(hostile) => hostile::run(&root, &hostile),
        Command::TlsCheck => tls_check::run(&root),
        Command::ApiFuzz(fuzz) => api_fuzz::run(&root, &fuzz),
        Command::Anchors(anchors) => anchors::run(&root, &anchors),
        Command::Bench(bench) => bench::run(&root, &bench),
        Command::Count(options) => count::run(&root, &options),
        Command::Flame(flame) => flame::run(&root, &flame),
        Command::Soak(soak) => soak::run(&root, &soak),
        Command::Plot => plot::run(&root),
        Command::Ci => suite::ci(&root),
    }
}

fn root() -> anyhow::Result<PathBuf> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .map(PathBuf::from)
        .context("xtask lies in the workspace")
}
