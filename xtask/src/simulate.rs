//! Random schedules against the model of the pair protocol, as many as wanted, on all cores.
//!
//! The schedules are those of `simulation.rs` in `protocol/pair/tests`: sending, delivery, loss, reordering, repetition,
//! tampering, storing and crashes. Every sealing is recorded, and no key with its nonce may come twice.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use clap::Args;

/// The test, by its whole name.
const TEST: &str = "simulation::whatever_the_network_does_messages_open_once_and_no_key_is_used_twice";
/// Schedules of one run of the test: after so many there is something to tell.
const SLICE: u32 = 5_000;

#[derive(Args)]
pub(crate) struct Simulate {
    /// How many
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) schedules: u32,
}

/// Runs `schedules` of them, rounded up to whole slices.
///
/// # Errors
/// When one breaks an invariant; the test names the schedule, shortened to what is needed.
pub(crate) fn run(root: &Path, schedules: u32) -> anyhow::Result<()> {
    let slices = schedules.div_ceil(SLICE);
    cargo(root, &["--no-run"])
        .status()
        .context("build the simulation")?;
    let begin = Instant::now();
    let (next, done) = (AtomicU32::new(0), AtomicU32::new(0));
    let work = || -> anyhow::Result<()> {
        while next.fetch_add(1, Ordering::Relaxed) < slices {
            let output = cargo(root, &["--", "--exact", TEST])
                .env("UNHIDRA_CASES", SLICE.to_string())
                .stdin(Stdio::null())
                .output()
                .context("run the simulation")?;
            let printed = String::from_utf8_lossy(&output.stdout);
            // A name that no test has would pass as well.
            let ran = printed.contains("1 passed");
            ensure!(
                output.status.success() && ran,
                "the simulation failed:\n{printed}"
            );
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            eprintln!(
                "{:>5.0} s  {done} of {slices} x {SLICE} schedules",
                begin.elapsed().as_secs_f64()
            );
        }
        Ok(())
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let ended = worker.join();
            ended.map_err(|_| anyhow::anyhow!("a worker of the simulation ended"))??;
        }
        anyhow::Ok(())
    })?;
    println!(
        "{} schedules in {:.0?}: every message opened once, and no key was used with its nonce twice",
        u64::from(slices) * u64::from(SLICE),
        begin.elapsed()
    );
    Ok(())
}

fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command
        .args([
            "test",
            "--release",
            "--quiet",
            "--package",
            "unhidra-pair",
            "--test",
            "pair",
        ])
        .args(arguments)
        .current_dir(root);
    command
}
