//! A mixed day, and how costs run with sizes: builds the server and the generator, and has them measured.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{anchors::commit, chaos::cargo, layers::target_folder};

#[derive(Args)]
pub(crate) struct Soak {
    /// Minutes of each of the two days
    #[arg(long, default_value_t = 15.0)]
    minutes: f64,
    /// Connected devices
    #[arg(long, default_value_t = 2_000)]
    devices: u32,
    /// Conversations
    #[arg(long, default_value_t = 200)]
    conversations: u32,
    /// Where the JSON goes
    #[arg(long, default_value = "docs/plots/soak.json")]
    output: PathBuf,
}

/// Builds, then lives both days; lines, table and verdict are the generator's.
///
/// # Errors
/// When a build fails, or a day was no good one.
pub(crate) fn run(root: &Path, soak: &Soak) -> anyhow::Result<()> {
    let further = [
        ["--minutes".to_owned(), soak.minutes.to_string()],
        ["--devices".to_owned(), soak.devices.to_string()],
        ["--conversations".to_owned(), soak.conversations.to_string()],
    ];
    generate(root, "soak", &soak.output, &further.concat())
}

/// Builds, then measures how costs run with sizes; `further` says how often, how long and how far.
///
/// # Errors
/// When a build fails, or a message is lost.
pub(crate) fn growth(root: &Path, further: &[String]) -> anyhow::Result<()> {
    generate(root, "growth", Path::new("docs/plots/growth.json"), further)
}

fn generate(root: &Path, what: &str, output: &Path, further: &[String]) -> anyhow::Result<()> {
    let build = ["build", "--quiet", "--release", "--package"];
    cargo(root, &[&build[..], &["unhidra"]].concat())?;
    cargo(
        root,
        &[&build[..], &["unhidra-testkit", "--bin", "bench"]].concat(),
    )?;
    let folder = target_folder(root)?.join("release");
    let status = Command::new(folder.join("bench"))
        .current_dir(root)
        .arg(what)
        .arg("--program")
        .arg(folder.join("unhidra"))
        .args(["--commit", &commit(root)?])
        .arg("--output")
        .arg(output)
        .args(further)
        .status()
        .context("start the generator")?;
    ensure!(status.success(), "{what} failed");
    println!("written to {}: `cargo xtask plot` draws it", output.display());
    Ok(())
}
