//! Running the tests, and everything else that a release would need.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};

/// Installs what the tests need, runs the documentation's tests, then all others; ends with the runner's summary.
///
/// # Errors
/// The first step that failed.
pub(crate) fn test(root: &Path) -> anyhow::Result<()> {
    if Command::new("cargo")
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|found| !found.status.success())
    {
        cargo(root, &["install", "cargo-nextest", "--locked"])?;
    }
    cargo(root, &["test", "--quiet", "--workspace", "--doc"])?;
    cargo(root, &["nextest", "run", "--workspace", "--no-fail-fast"])
}

/// Random schedules of the pair protocol that every change is tried with: some minutes on two cores. `cargo xtask
/// simulate` runs ten times as many.
const CI_SCHEDULES: u32 = 100_000;

/// Format, lints, layers, documentation, random schedules, tests, every load scenario once and small.
///
/// # Errors
/// The first step that failed.
pub(crate) fn ci(root: &Path) -> anyhow::Result<()> {
    cargo(root, &["fmt", "--all", "--check"])?;
    cargo(
        root,
        &[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    crate::layers::check(root)?;
    step(
        root,
        Command::new("cargo")
            .args([
                "doc",
                "--quiet",
                "--workspace",
                "--no-deps",
                "--document-private-items",
            ])
            .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links"),
    )?;
    crate::simulate::run(root, CI_SCHEDULES)?;
    crate::bench::smoke(root)?;
    // Last, so that the run ends with the summary of the tests.
    test(root)
}

fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    step(root, Command::new("cargo").args(arguments))
}

fn step(root: &Path, command: &mut Command) -> anyhow::Result<()> {
    let arguments: Vec<_> = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let shown = format!("cargo {}", arguments.join(" "));
    println!("xtask: {shown}");
    let status = command
        .current_dir(root)
        .status()
        .with_context(|| format!("run {shown}"))?;
    ensure!(status.success(), "{shown} failed");
    Ok(())
}
