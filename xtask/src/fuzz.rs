//! Fuzzing by libFuzzer: installs cargo-fuzz below the target folder, and gives every target its share of the time. New
//! inputs are gathered below the target folder too; what breaks a target is put into its corpus, where the tests find it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::layers::target_folder;

const CARGO_FUZZ: &str = "0.13.2";

#[derive(Args)]
pub(crate) struct Fuzz {
    /// In all, shared among the targets
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Only these; all when there are none
    targets: Vec<String>,
}

/// Installs, builds, runs.
///
/// # Errors
/// When a step failed, or with the inputs that break a target.
pub(crate) fn run(root: &Path, fuzz: &Fuzz) -> anyhow::Result<()> {
    let folder = target_folder(root)?.join("fuzz");
    let cargo_fuzz = installed(&folder)?;
    let targets = match fuzz.targets.as_slice() {
        [] => names(&root.join("fuzz/fuzz_targets"))?,
        some => some.to_vec(),
    };
    let count = u32::try_from(targets.len()).context("too many targets")?;
    let seconds = (fuzz.minutes * 60.0 / f64::from(count)).ceil();
    step(&mut command(&cargo_fuzz, root, &folder, &["build"]))?;
    let mut broken = Vec::new();
    for target in &targets {
        println!("xtask: {target}, {seconds} s");
        broken.extend(attack(root, &folder, &cargo_fuzz, target, seconds)?);
    }
    if broken.is_empty() {
        println!("{count} targets, {seconds} s each: nothing broke");
        return Ok(());
    }
    bail!("inputs that break a target, now in its corpus: {broken:?}")
}

/// One target for its time; what broke it, moved to its corpus.
fn attack(
    root: &Path,
    folder: &Path,
    cargo_fuzz: &Path,
    target: &str,
    seconds: f64,
) -> anyhow::Result<Vec<PathBuf>> {
    let kept = root.join("fuzz/corpus").join(target);
    let (gathered, found) = (
        folder.join("corpus").join(target),
        folder.join("found").join(target),
    );
    for place in [&gathered, &found] {
        fs::create_dir_all(place).with_context(|| format!("make {}", place.display()))?;
    }
    let mut run = command(cargo_fuzz, root, folder, &["run", target]);
    run.args([&gathered, &kept]).arg("--").args([
        format!("-max_total_time={seconds}"),
        format!("-artifact_prefix={}/", found.display()),
        "-max_len=8192".into(),
        "-timeout=20".into(),
        "-print_final_stats=1".into(),
    ]);
    let status = run.status().context("start cargo-fuzz")?;
    let mut moved = Vec::new();
    for entry in fs::read_dir(&found)? {
        let from = entry?.path();
        let to = kept.join(from.file_name().context("an input has a name")?);
        fs::copy(&from, &to)?;
        fs::remove_file(&from)?;
        moved.push(to);
    }
    ensure!(status.success() || !moved.is_empty(), "{target} could not be run");
    Ok(moved)
}

/// Sanitizers are unstable: the pinned compiler is told to take them.
fn command(cargo_fuzz: &Path, root: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo_fuzz);
    command
        .args(arguments)
        .args(["--fuzz-dir", "fuzz", "--target-dir"])
        .arg(folder.join("target"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(root);
    command
}

fn installed(folder: &Path) -> anyhow::Result<PathBuf> {
    let tools = folder.join("tools");
    let program = tools.join("bin/cargo-fuzz");
    if !program.exists() {
        step(
            Command::new("cargo")
                .args([
                    "install",
                    "cargo-fuzz",
                    "--version",
                    CARGO_FUZZ,
                    "--locked",
                    "--root",
                ])
                .arg(&tools),
        )?;
    }
    Ok(program)
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn step(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    ensure!(status.success(), "{} failed", command.get_program().display());
    Ok(())
}
