//! The pair protocol beside the implementations of others, in turns on one machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{chaos::cargo, layers::target_folder};

const MANIFEST: &str = "protocol/pair/compare/Cargo.toml";
const SCRIPT: &str = "protocol/pair/compare/libsignal.mjs";
/// What is fetched from npm's registry, below the target folder and nowhere else.
const LIBSIGNAL: &str = "@signalapp/libsignal-client";

#[derive(Args)]
pub(crate) struct Compare {
    /// Turns of ours and vodozemac's, and of libsignal's
    #[arg(long, default_value_t = 3)]
    turns: u32,
    /// libsignal's Node package as well, of this version; needs `node` and `npm`, and its licence is the AGPL
    #[arg(long, value_name = "VERSION", num_args = 0..=1, default_missing_value = "0.103.0")]
    libsignal: Option<String>,
}

/// Builds and fetches what runs, then lets them take turns.
///
/// # Errors
/// When something can't be built, fetched or run.
pub(crate) fn run(root: &Path, compare: &Compare) -> anyhow::Result<()> {
    cargo(root, &["build", "--release", "--manifest-path", MANIFEST])?;
    let folder = match &compare.libsignal {
        Some(version) => Some(fetched(root, version)?),
        None => None,
    };
    for turn in 1..=compare.turns {
        println!("turn {turn} of {}", compare.turns);
        cargo(
            root,
            &["run", "--quiet", "--release", "--manifest-path", MANIFEST],
        )?;
        if let Some(folder) = &folder {
            step(Command::new("node").arg("libsignal.mjs").current_dir(folder))?;
        }
    }
    Ok(())
}

/// The folder with the package and our script, which finds the package where it lies itself.
fn fetched(root: &Path, version: &str) -> anyhow::Result<PathBuf> {
    let folder = target_folder(root)?.join("libsignal");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    step(
        Command::new("npm")
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--no-package-lock",
                "--prefix",
            ])
            .arg(&folder)
            .arg(format!("{LIBSIGNAL}@{version}"))
            .current_dir(&folder),
    )?;
    fs::copy(root.join(SCRIPT), folder.join("libsignal.mjs")).context("copy the script")?;
    Ok(folder)
}

fn step(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("run {name}"))?;
    ensure!(status.success(), "{name} failed");
    Ok(())
}
