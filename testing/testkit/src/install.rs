//! Packages of the distribution that a measurement needs.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

/// That `program` can be run; otherwise `package`, which brings it, is installed.
///
/// # Errors
/// When neither works.
pub fn tool(program: &str, package: &str) -> anyhow::Result<()> {
    let runs = || {
        let asked = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        asked.is_ok_and(|status| status.success())
    };
    if runs() {
        return Ok(());
    }
    packages(&[package]).with_context(|| format!("{program} is missing, and is in the package {package}"))?;
    if !runs() {
        bail!("{program} does not run, though {package} is installed: does it fit this kernel?");
    }
    Ok(())
}

/// Installs those of `packages` that are not there. No service is started: the distribution is asked not to.
///
/// # Errors
/// When the distribution is not Debian's, or a package can't be installed.
pub fn packages(packages: &[&str]) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for package in packages {
        if !missing.contains(package) && !is_installed(package)? {
            missing.push(*package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(" "));
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
        "not installed: {}. Install them by hand, as root",
        missing.join(" ")
    );
    Ok(())
}

fn is_installed(package: &str) -> anyhow::Result<bool> {
    let asked = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status}", package])
        .output()
        .context("packages are Debian's: run dpkg-query")?;
    Ok(asked.status.success() && asked.stdout == b"installed")
}
