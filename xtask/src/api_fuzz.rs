//! The REST interface against its own description: installs Schemathesis into a virtual environment under the target
//! folder, builds the program, and hands both to `api-fuzz` of `unhidra-testkit`.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::layers::target_folder;

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

#[derive(Args)]
pub(crate) struct ApiFuzz {
    /// Requests of each kind for each operation
    #[arg(long, default_value_t = 60)]
    examples: u32,
    /// Replays the choices of an earlier run
    #[arg(long)]
    seed: Option<u64>,
}

/// Installs, builds, fuzzes as an administrator and as a member.
///
/// # Errors
/// When a step failed, or the server answered what its document does not say.
pub(crate) fn run(root: &Path, fuzz: &ApiFuzz) -> anyhow::Result<()> {
    let target = target_folder(root)?;
    let environment = target.join("api-fuzz/venv");
    let schemathesis = environment.join("bin/schemathesis");
    if !schemathesis.exists() {
        step(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        step(Command::new(environment.join("bin/pip")).args(["install", "--quiet", SCHEMATHESIS]))?;
    }
    step(
        Command::new("cargo")
            .args(["build", "--quiet", "--package", "unhidra"])
            .current_dir(root),
    )?;
    step(
        Command::new("cargo")
            .args([
                "build",
                "--quiet",
                "--package",
                "unhidra-testkit",
                "--bin",
                "api-fuzz",
            ])
            .current_dir(root),
    )?;
    let mut fuzzer = Command::new(target.join("debug/api-fuzz"));
    fuzzer
        .arg("--program")
        .arg(target.join("debug/unhidra"))
        .arg("--schemathesis")
        .arg(schemathesis)
        .arg("--folder")
        .arg(target.join("api-fuzz"))
        .arg("--configuration")
        .arg(root.join("testing/testkit/schemathesis.toml"))
        .args(["--examples", &fuzz.examples.to_string()]);
    if let Some(seed) = fuzz.seed {
        fuzzer.args(["--seed", &seed.to_string()]);
    }
    step(&mut fuzzer)
}

fn step(command: &mut Command) -> anyhow::Result<()> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("run {shown}"))?;
    ensure!(status.success(), "{shown} failed");
    Ok(())
}
