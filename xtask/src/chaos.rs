//! Chaos for as long as wanted: builds the program and hands it to the storm of `unhidra-testkit`.
//!
//! The storm is a program of its own, so that this one stays quick to build, and runs in a network namespace whose
//! loopback interface it takes down, and a mount namespace in which it mounts a disk that is too small.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{layers::target_folder, profile::Profile};

#[derive(Args)]
pub(crate) struct Chaos {
    /// Lines of real text
    #[arg(long, default_value_t = 20_000)]
    lines: usize,
    /// How often the server is killed
    #[arg(long, default_value_t = 5)]
    server_kills: u32,
    /// How often each of the four clients is killed
    #[arg(long, default_value_t = 2)]
    client_kills: u32,
    /// How often the network is cut
    #[arg(long, default_value_t = 2)]
    cuts: u32,
    /// How often the server's disk is full
    #[arg(long, default_value_t = 1)]
    full_disks: u32,
    /// Replays the random choices of an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// How the program is built
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
}

/// Builds, then storms; progress and verdict are the storm's.
///
/// # Errors
/// When the build or the storm failed.
pub(crate) fn run(root: &Path, chaos: &Chaos) -> anyhow::Result<()> {
    let profile = chaos.profile;
    cargo(
        root,
        &[
            "build",
            "--quiet",
            "--package",
            "unhidra",
            "--profile",
            profile.name(),
        ],
    )?;
    cargo(
        root,
        &[
            "build",
            "--quiet",
            "--package",
            "unhidra-testkit",
            "--bin",
            "chaos",
        ],
    )?;
    let target = target_folder(root)?;
    let mut storm = Command::new("unshare");
    storm.args(["--net", "--mount"]);
    if !rustix::process::geteuid().is_root() {
        storm.args(["--user", "--map-root-user"]);
    }
    storm
        .arg(target.join("debug/chaos"))
        .arg("--program")
        .arg(target.join(profile.folder()).join("unhidra"))
        .args(["--lines", &chaos.lines.to_string()])
        .args(["--server-kills", &chaos.server_kills.to_string()])
        .args(["--client-kills", &chaos.client_kills.to_string()])
        .args(["--cuts", &chaos.cuts.to_string()])
        .args(["--full-disks", &chaos.full_disks.to_string()]);
    if let Some(seed) = chaos.seed {
        storm.args(["--seed", &seed.to_string()]);
    }
    let status = storm
        .status()
        .context("start the storm in namespaces: `unshare` is in the package util-linux")?;
    ensure!(status.success(), "the program did not stand the storm");
    Ok(())
}

pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("cargo")
        .args(arguments)
        .current_dir(root)
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}
