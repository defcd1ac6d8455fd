//! Flame graphs: builds the programs with the names of their functions, and has them recorded.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{anchors::commit, layers::target_folder};

#[derive(Args)]
pub(crate) struct Flame {
    /// What to record: a flow of messages, `conn-10k` or `sealed-p2p`; those in `docs/plots` unless named
    scenario: Vec<String>,
    /// Seconds of a flow of messages
    #[arg(long)]
    seconds: Option<f64>,
    /// The folder of the drawings
    #[arg(long, default_value = "docs/plots")]
    output: PathBuf,
}

/// Builds in a target folder of its own, records, and draws one SVG for each scenario; the table of where the time went is
/// the recorder's.
///
/// # Errors
/// When a build fails, `perf` can't record, or a scenario fails.
pub(crate) fn run(root: &Path, flame: &Flame) -> anyhow::Result<()> {
    let target = target_folder(root)?.join("flame");
    let build = |package: &str, program: &str| {
        let status = Command::new("cargo")
            .args([
                "build",
                "--quiet",
                "--release",
                "--package",
                package,
                "--bin",
                program,
            ])
            .current_dir(root)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_PROFILE_RELEASE_STRIP", "none")
            .status()
            .context("run cargo")?;
        ensure!(status.success(), "{program} can't be built");
        Ok(target.join("release").join(program))
    };
    let server = build("unhidra", "unhidra")?;
    let mut recording = Command::new(build("unhidra-testkit", "bench")?);
    recording
        .current_dir(root)
        .arg("flame")
        .args(&flame.scenario)
        .arg("--program")
        .arg(server)
        .args(["--commit", &commit(root)?])
        .arg("--output")
        .arg(&flame.output);
    if let Some(seconds) = flame.seconds {
        recording.args(["--seconds", &seconds.to_string()]);
    }
    let status = recording.status().context("start the recording")?;
    ensure!(status.success(), "nothing was recorded");
    println!("drawn in {}", flame.output.display());
    Ok(())
}
