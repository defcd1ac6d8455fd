//! Hostile clients in numbers: builds the program and hands it to the attackers of `unhidra-testkit`.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{chaos::cargo, layers::target_folder};

#[derive(Args)]
pub(crate) struct Hostile {
    /// Connection attempts with a forged token
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Sockets of each kind that stay and say next to nothing
    #[arg(long, default_value_t = 1_500)]
    lingering: usize,
}

/// Builds, then attacks; the table and the verdict are the attackers'.
///
/// # Errors
/// When the build failed, or the server did not stand it.
pub(crate) fn run(root: &Path, hostile: &Hostile) -> anyhow::Result<()> {
    cargo(root, &["build", "--quiet", "--package", "unhidra", "--release"])?;
    cargo(
        root,
        &[
            "build",
            "--quiet",
            "--package",
            "unhidra-testkit",
            "--bin",
            "hostile",
        ],
    )?;
    let target = target_folder(root)?;
    let status = Command::new(target.join("debug/hostile"))
        .arg("--program")
        .arg(target.join("release/unhidra"))
        .args(["--connections", &hostile.connections.to_string()])
        .args(["--lingering", &hostile.lingering.to_string()])
        .status()
        .context("start the attackers")?;
    ensure!(status.success(), "the program did not stand the attack");
    Ok(())
}
