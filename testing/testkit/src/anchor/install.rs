//! Packages of the distribution that an anchor consists of.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::Anchor;

/// Installs what `anchors` need and is not there. No service is started: the distribution is asked not to.
///
/// # Errors
/// When the distribution is not Debian's, or a package can't be installed.
pub fn install(anchors: &[Anchor]) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for package in anchors.iter().flat_map(|anchor| anchor.packages()) {
        if !missing.contains(package) && !is_installed(package)? {
            missing.push(*package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    println!("anchors: installing {}", missing.join(" "));
    let installed = Command::new("apt-get")
        .args(["install", "--yes", "--quiet=2", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Told to start nothing, scripts of packages start nothing.
        .env("RUNLEVEL", "1")
        .status()
        .context("run apt-get")?;
    ensure!(
        installed.success(),
        "not installed: {}. Install them by hand, or leave the anchor out by `--only`",
        missing.join(" ")
    );
    Ok(())
}

fn is_installed(package: &str) -> anyhow::Result<bool> {
    let asked = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status}", package])
        .output()
        .context("anchors are packages of Debian: run dpkg-query")?;
    Ok(asked.status.success() && asked.stdout == b"installed")
}
