//! Instructions for each unit of work: builds the server and the generator, and has them counted by callgrind.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{anchors::commit, chaos::cargo, layers::target_folder};

/// The counts to compare with.
const BASELINE: &str = "docs/plots/instructions.json";

#[derive(Args)]
pub(crate) struct Count {
    /// How often; the median counts
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Keep these counts in `docs/plots/instructions.json`, for the next to be compared with
    #[arg(long)]
    keep: bool,
}

/// Builds, then counts; the table is the generator's.
///
/// # Errors
/// When a build fails, valgrind can't be run, or a unit takes over a tenth more than the baseline says.
pub(crate) fn run(root: &Path, count: &Count) -> anyhow::Result<()> {
    let build = ["build", "--quiet", "--release", "--package"];
    cargo(root, &[&build[..], &["unhidra"]].concat())?;
    cargo(
        root,
        &[&build[..], &["unhidra-testkit", "--bin", "bench"]].concat(),
    )?;
    let folder = target_folder(root)?.join("release");
    let mut counting = Command::new(folder.join("bench"));
    counting
        .current_dir(root)
        .args(["count", "--runs", &count.runs.to_string()])
        .arg("--program")
        .arg(folder.join("unhidra"))
        .args(["--commit", &commit(root)?])
        .arg(if count.keep { "--output" } else { "--baseline" })
        .arg(BASELINE);
    let status = counting.status().context("start the generator")?;
    ensure!(
        status.success(),
        "the counts are not as good as before, or there are none"
    );
    Ok(())
}
