//! The storm as a program, for runs longer than a test: `cargo xtask chaos`.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use unhidra_testkit::{
    Program, Seed, blind,
    chaos::{self, Ground, Network, Plan, SmallDisk},
};

/// Sends real text through kills, cuts and a full disk at random moments, then searches the server for it.
#[derive(Parser)]
struct Arguments {
    /// The binary under test
    #[arg(long)]
    program: PathBuf,
    #[arg(long)]
    lines: usize,
    #[arg(long)]
    server_kills: u32,
    #[arg(long)]
    client_kills: u32,
    #[arg(long)]
    cuts: u32,
    #[arg(long)]
    full_disks: u32,
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    match storm(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn storm(arguments: &Arguments) -> anyhow::Result<()> {
    let plan = Plan {
        lines: arguments.lines,
        server_kills: arguments.server_kills,
        client_kills: arguments.client_kills,
        cuts: arguments.cuts,
        full_disks: arguments.full_disks,
        seed: match arguments.seed {
            Some(seed) => Seed(seed),
            None => Seed::from_environment()?,
        },
    };
    // `cargo xtask chaos` starts this program in namespaces of its own.
    let ground = Ground {
        network: Network::namespace()?,
        disk: Some(SmallDisk::mount()?),
    };
    let begin = Instant::now();
    let mut progress = |line: &str| println!("{:>7.1} s  {line}", begin.elapsed().as_secs_f64());
    let mut aftermath = chaos::run(&Program::at(&arguments.program), ground, plan, &mut progress)?;
    let report = blind::check(&aftermath)?;
    progress(&format!(
        "searched the server's folder, logs and {} MiB of memory for {} secrets",
        report.memory_bytes >> 20,
        report.secrets
    ));
    report.verdict()?;
    chaos::go_on_from_the_backup(&mut aftermath, &mut progress)?;
    progress("nothing lost, repeated, out of order or known to the server");
    Ok(())
}
