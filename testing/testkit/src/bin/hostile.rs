//! Hostile clients as a program, for more of them than a test has time for: `cargo xtask hostile`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use unhidra_testkit::{
    Program, Seed,
    hostile::{self, Plan},
};

/// Attacks a server in every way that costs nothing, while others talk on it.
#[derive(Parser)]
struct Arguments {
    /// The binary under test
    #[arg(long)]
    program: PathBuf,
    /// Connection attempts with a forged token
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Attempts of each other attack
    #[arg(long, default_value_t = 200)]
    times: usize,
    /// Sockets of each kind that stay and say next to nothing
    #[arg(long, default_value_t = 1_500)]
    lingering: usize,
    /// Seconds that these stay at least
    #[arg(long, default_value_t = 45)]
    linger: u64,
}

fn main() -> ExitCode {
    match attack(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hostile: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn attack(arguments: &Arguments) -> anyhow::Result<()> {
    let plan = Plan {
        connections: arguments.connections,
        times: arguments.times,
        lingering: arguments.lingering,
        linger: Duration::from_secs(arguments.linger),
        quiet: Duration::from_secs(10),
        seed: Seed::from_environment()?,
    };
    let report = hostile::run(&Program::at(&arguments.program), &plan, &mut |line| {
        println!("{line}")
    })?;
    println!("\n{report}");
    report.verdict()
}
