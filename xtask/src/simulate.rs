//! Random schedules against the model of the pair protocol, as many as wanted, on all cores.
//!
//! The schedules are those of `simulation.rs` in `protocol/pair/tests`: sending, delivery, loss, reordering, repetition,
//! tampering, storing and crashes. Every sealing is recorded, and no key with its nonce may come twice. How many steps of
//! the ratchet and post-quantum epochs they went through is added up, and must not be little.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::Value;

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
    let program = built(root)?;
    let begin = Instant::now();
    let (next, done) = (AtomicU32::new(0), AtomicU32::new(0));
    let reached = Mutex::new(Reached::default());
    let work = || -> anyhow::Result<()> {
        while next.fetch_add(1, Ordering::Relaxed) < slices {
            let output = Command::new(&program)
                .args(["--exact", "--show-output", TEST])
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
            let mut reached = reached
                .lock()
                .map_err(|_| anyhow::anyhow!("a worker ended in between"))?;
            reached.add(&printed)?;
            drop(reached);
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
    let reached = reached
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a worker ended in between"))?;
    let run = u64::from(slices) * u64::from(SLICE);
    ensure!(
        reached.0.get("schedules") == Some(&run),
        "of {run} schedules were reached: {reached:?}"
    );
    println!(
        "{} in {:.0?}: every message opened once, and no key was used with its nonce twice",
        reached.sum(),
        begin.elapsed()
    );
    Ok(())
}

/// The sums of what the runs of the test say that they reached: `reached: 3 messages, 2 epochs`.
#[derive(Debug, Default)]
struct Reached(BTreeMap<String, u64>);

impl Reached {
    fn add(&mut self, printed: &str) -> anyhow::Result<()> {
        let line = printed.lines().find_map(|line| line.strip_prefix("reached: "));
        for part in line.context("a run says what it reached")?.split(", ") {
            let (count, what) = part.split_once(' ').context("a count and what it is of")?;
            let count: u64 = count.parse().with_context(|| format!("count {what}"))?;
            *self.0.entry(what.to_owned()).or_default() += count;
        }
        Ok(())
    }

    fn sum(&self) -> String {
        let parts: Vec<_> = self
            .0
            .iter()
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        parts.join(", ")
    }
}

/// The test's program, which whoever goes on working on the tree does not change.
fn built(root: &Path) -> anyhow::Result<String> {
    let output = Command::new("cargo")
        .args(["test", "--release", "--quiet", "--package", "unhidra-pair"])
        .args(["--test", "pair", "--no-run", "--message-format", "json"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("build the simulation")?;
    ensure!(output.status.success(), "the simulation could not be built");
    let messages = String::from_utf8_lossy(&output.stdout);
    let program = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(str::to_owned));
    program.context("cargo names the program of the simulation")
}
