//! The protocol's second implementation: installs what it runs on below the target folder, lets it make its traces, and
//! replays them on ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::layers::target_folder;

const SOURCES: &str = "testing/oracle";
const TRACES: &str = "testing/oracle/traces";

#[derive(Args)]
pub(crate) struct Oracle {
    /// So many times the number of traces, under other seeds
    #[arg(long, default_value_t = 1)]
    more: u32,
    /// Puts the traces in the tree
    #[arg(long, conflicts_with = "more")]
    write: bool,
}

/// Installs, generates, compares with the tree, replays.
///
/// # Errors
/// When a step failed, the traces in the tree are not what the oracle makes, or the replay found a difference.
pub(crate) fn run(root: &Path, oracle: &Oracle) -> anyhow::Result<()> {
    let folder = target_folder(root)?.join("oracle");
    let python = installed(root, &folder)?;
    let traces = folder.join("traces");
    if traces.exists() {
        fs::remove_dir_all(&traces).context("clear the traces of the last run")?;
    }
    step(
        Command::new(python)
            .args(["-m", "pair_oracle"])
            .arg(&traces)
            .args(["--more", &oracle.more.to_string()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(root.join(SOURCES)),
    )?;
    let kept = root.join(TRACES);
    for name in names(&traces)? {
        let (new, old) = (traces.join(&name), kept.join(&name));
        if oracle.write {
            fs::copy(&new, &old).with_context(|| format!("write {}", old.display()))?;
        } else if oracle.more == 1 {
            let same = fs::read(&new)? == fs::read(&old).unwrap_or_default();
            ensure!(
                same,
                "{} is not what the oracle makes: see `--write`",
                old.display()
            );
        }
    }
    step(
        Command::new("cargo")
            .args([
                "test",
                "--quiet",
                "--package",
                "unhidra-pair",
                "--test",
                "oracle",
                "--",
                "--nocapture",
            ])
            .env("UNHIDRA_ORACLE", &traces)
            .current_dir(root),
    )
}

/// The interpreter of a virtual environment with exactly what `requirements.txt` names.
fn installed(root: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let environment = folder.join("venv");
    let requirements = root.join(SOURCES).join("requirements.txt");
    let (wanted, marker) = (fs::read(&requirements)?, environment.join("installed.txt"));
    if fs::read(&marker).is_ok_and(|found| found == wanted) {
        return Ok(environment.join("bin/python"));
    }
    step(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    )?;
    step(
        Command::new(environment.join("bin/pip"))
            .args(["install", "--quiet", "--requirement"])
            .arg(&requirements),
    )?;
    fs::write(marker, wanted)?;
    Ok(environment.join("bin/python"))
}

fn names(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(PathBuf::from(entry?.file_name())))
        .collect()
}

fn step(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!(
        "{} {:?}",
        command.get_program().display(),
        command.get_args().collect::<Vec<_>>()
    );
    let status = command.status().with_context(|| format!("start {shown}"))?;
    ensure!(status.success(), "{shown} failed");
    Ok(())
}
