//! Other servers beside ours: builds the measuring program of `unhidra-testkit` and runs it.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{chaos::cargo, layers::target_folder};

#[derive(Args)]
pub(crate) struct Anchors {
    /// How often each is started and measured
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds that each scenario is measured
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Only these, by name; all by default
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Builds, installs what is missing, and measures them in turn with ours; the table is the measuring program's, and the
/// samples go to `docs/plots/anchors.json`.
///
/// # Errors
/// When the build failed, or an anchor could not be measured.
pub(crate) fn run(root: &Path, anchors: &Anchors) -> anyhow::Result<()> {
    let build = ["build", "--quiet", "--release", "--package"];
    let programs = ["--bin", "anchors", "--bin", "bench"];
    cargo(root, &[&build[..], &["unhidra"]].concat())?;
    cargo(root, &[&build[..], &["unhidra-testkit"], &programs].concat())?;
    let target = target_folder(root)?;
    let mut measuring = Command::new(target.join("release/anchors"));
    measuring
        .args(["--rounds", &anchors.rounds.to_string()])
        .args(["--seconds", &anchors.seconds.to_string()])
        .arg("--program")
        .arg(target.join("release/unhidra"))
        .args(["--commit", &commit(root)?])
        .arg("--json")
        .arg(root.join("docs/plots/anchors.json"));
    if !anchors.only.is_empty() {
        measuring.args(["--only", &anchors.only.join(",")]);
    }
    let status = measuring.status().context("start the measuring program")?;
    ensure!(status.success(), "the anchors were not measured");
    Ok(())
}

/// The commit that is measured, as reports name it.
pub(crate) fn commit(root: &Path) -> anyhow::Result<String> {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=10"])
        .current_dir(root)
        .output()
        .context("run git")?;
    ensure!(output.status.success(), "git does not say which commit this is");
    let commit = String::from_utf8(output.stdout).context("git speaks UTF-8")?;
    Ok(commit.trim().to_owned())
}
