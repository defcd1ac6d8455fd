//! The symbolic models of the pair protocol, run by Verifpal and compared with what each of them says it shows.
//!
//! The first line of a model is `// expect: CODE`: a letter and a digit for each query, `c` confidentiality and `a`
//! authentication, 0 where it holds and 1 where there is an attack. Controls expect attacks: a tool that finds none
//! there would prove nothing elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use crate::layers::target_folder;

/// The version whose language the models are written in.
const VERSION: &str = "1.6.7";
/// Where they are.
const MODELS: &str = "docs/protocol/model";

/// Runs all models, after installing Verifpal into the target folder if it is not there.
///
/// # Errors
/// When a model shows anything else than it says, or Verifpal can't be installed.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let verifpal = install(&target_folder(root)?)?;
    let mut models: Vec<PathBuf> = fs::read_dir(root.join(MODELS))
        .context("list the models")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    models.retain(|path| path.extension().is_some_and(|ending| ending == "vp"));
    models.sort();
    ensure!(!models.is_empty(), "there is no model in {MODELS}");
    let mut unlike = 0_u32;
    for model in &models {
        let text = fs::read_to_string(model).with_context(|| format!("read {}", model.display()))?;
        let expected = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("// expect: "))
            .with_context(|| format!("{} does not say what to expect", model.display()))?;
        let found = verify(&verifpal, model)?;
        let verdict = if found == expected {
            "as expected"
        } else {
            "UNLIKE"
        };
        unlike += u32::from(found != expected);
        let name = model.file_stem().unwrap_or_default().to_string_lossy();
        println!("{name:<20} expected {expected:<10} found {found:<10} {verdict}");
    }
    ensure!(
        unlike == 0,
        "{unlike} of {} models show something else",
        models.len()
    );
    Ok(())
}

/// The result code, which is the last line.
fn verify(verifpal: &Path, model: &Path) -> anyhow::Result<String> {
    let output = Command::new(verifpal)
        .args(["verify", "--result-code"])
        .arg(model)
        .output()
        .context("run verifpal")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let code = printed.lines().rev().find(|line| !line.trim().is_empty());
    ensure!(
        output.status.success(),
        "{}: {}{printed}",
        model.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    code.map(|code| code.trim().to_owned())
        .with_context(|| format!("{} has no result", model.display()))
}

fn install(target: &Path) -> anyhow::Result<PathBuf> {
    let root = target.join("verifpal");
    let program = root.join("bin/verifpal");
    let is_there = Command::new(&program)
        .arg("about")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(VERSION));
    if is_there {
        return Ok(program);
    }
    println!("xtask: verifpal {VERSION} is missing: cargo install");
    // It asks for a later compiler than it needs.
    let status = Command::new("cargo")
        .args([
            "install",
            "verifpal",
            "--locked",
            "--ignore-rust-version",
            "--force",
        ])
        .args(["--no-default-features", "--features", "cli"])
        .arg(format!("--version={VERSION}"))
        .arg("--root")
        .arg(&root)
        .arg("--target-dir")
        .arg(root.join("build"))
        .status()
        .context("run cargo install")?;
    ensure!(status.success(), "verifpal can't be installed");
    Ok(program)
}
