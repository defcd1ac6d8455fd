//! The table of `docs/performance.md`: builds the program and the generator, and has them measured beside each other.
//!
//! The measurement is a program of its own (`unhidra-testkit`, `bench`), so that this one stays quick to build.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{chaos::cargo, layers::target_folder, profile::Profile};

#[derive(Args)]
pub(crate) struct Bench {
    /// What to run, such as `fanout-1-100`; everything unless named
    #[arg(long)]
    scenario: Vec<String>,
    /// Small sizes and one short run, without targets: whether everything works
    #[arg(long)]
    quick: bool,
    /// How costs run with sizes, and nothing else: connections, conversations, the length of a log
    #[arg(long)]
    growth: bool,
    /// Compare with another revision, which is built below the target folder
    #[arg(long, value_name = "REV")]
    compare: Option<String>,
    /// How often each server is measured
    #[arg(long)]
    runs: Option<u32>,
    /// Seconds of one measurement
    #[arg(long)]
    seconds: Option<f64>,
    /// Entries of the log in `history-10m`
    #[arg(long)]
    entries: Option<u64>,
    /// How the programs are built
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
    /// Where the JSON goes, and the table beside it
    #[arg(long, default_value = "target/bench.json")]
    output: PathBuf,
}

/// Builds, then measures; progress and table are the measurement's.
///
/// # Errors
/// When a build fails, a message is lost or comes twice, or a server fails.
pub(crate) fn run(root: &Path, bench: &Bench) -> anyhow::Result<()> {
    if bench.growth {
        return crate::soak::growth(root, &bench.extent());
    }
    let profile = bench.profile;
    build(root, "unhidra", profile)?;
    build(root, "bench", profile)?;
    let target = target_folder(root)?;
    let folder = target.join(profile.folder());
    let output = root.join(&bench.output);
    if let Some(parent) = output.parent() {
        fs::create_dir_all(parent).context("make the folder of the table")?;
    }
    let mut measuring = Command::new(folder.join("bench"));
    measuring
        .current_dir(root)
        .arg("run")
        .arg("--program")
        .arg(folder.join("unhidra"))
        .args(["--commit", &git(root, &["describe", "--always", "--dirty"])?])
        .args(["--command", &bench.shown()])
        .arg("--output")
        .arg(&output);
    for scenario in &bench.scenario {
        measuring.args(["--scenario", scenario]);
    }
    if bench.quick {
        measuring.arg("--quick");
    }
    measuring.args(bench.extent());
    if bench.quick && bench.runs.is_none() {
        measuring.args(["--runs", "1"]);
    }
    if bench.quick && bench.seconds.is_none() {
        measuring.args(["--seconds", "1"]);
    }
    if let Some(revision) = &bench.compare {
        measuring
            .arg("--other")
            .arg(other(root, &target, revision, profile)?);
    }
    let status = measuring.status().context("start the measurement")?;
    ensure!(status.success(), "the measurement failed");
    println!("written to {}", output.display());
    Ok(())
}

/// Every scenario once, small, with programs as the tests build them: whether all of it works, not how fast.
///
/// # Errors
/// As [`run`].
pub(crate) fn smoke(root: &Path) -> anyhow::Result<()> {
    let bench = Bench {
        scenario: Vec::new(),
        quick: true,
        growth: false,
        compare: None,
        runs: None,
        seconds: None,
        entries: None,
        profile: Profile::Dev,
        output: PathBuf::from("target/bench-quick.json"),
    };
    run(root, &bench)
}

impl Bench {
    /// How often, how long and how far, where it was said.
    fn extent(&self) -> Vec<String> {
        let said = [
            ("--runs", self.runs.map(|runs| runs.to_string())),
            ("--seconds", self.seconds.map(|seconds| seconds.to_string())),
            ("--entries", self.entries.map(|entries| entries.to_string())),
        ];
        let said = said
            .into_iter()
            .filter_map(|(name, value)| Some([name.to_owned(), value?]));
        said.flatten().collect()
    }

    /// As a reader would type it.
    fn shown(&self) -> String {
        let mut words = vec!["cargo xtask bench".to_owned()];
        if self.quick {
            words.push("--quick".to_owned());
        }
        words.extend(self.scenario.iter().map(|name| format!("--scenario {name}")));
        words.extend(self.runs.map(|runs| format!("--runs {runs}")));
        words.extend(self.seconds.map(|seconds| format!("--seconds {seconds}")));
        words.extend(self.entries.map(|entries| format!("--entries {entries}")));
        words.extend(
            self.compare
                .as_ref()
                .map(|revision| format!("--compare {revision}")),
        );
        words.join(" ")
    }
}

/// Builds one program.
fn build(root: &Path, program: &str, profile: Profile) -> anyhow::Result<()> {
    let package = match program {
        "bench" => "unhidra-testkit",
        other => other,
    };
    cargo(
        root,
        &[
            "build",
            "--quiet",
            "--package",
            package,
            "--bin",
            program,
            "--profile",
            profile.name(),
        ],
    )
}

/// The program of another revision, built from a worktree below the target folder. Both stay there: the next comparison
/// builds less.
fn other(root: &Path, target: &Path, revision: &str, profile: Profile) -> anyhow::Result<PathBuf> {
    let tree = target.join("compare");
    let commit = git(
        root,
        &["rev-parse", "--verify", &format!("{revision}^{{commit}}")],
    )?;
    if tree.join(".git").exists() {
        git(&tree, &["checkout", "--quiet", "--detach", &commit])?;
    } else {
        let place = tree.to_str().context("the target folder's path is UTF-8")?;
        git(
            root,
            &[
                "worktree", "add", "--quiet", "--force", "--detach", place, &commit,
            ],
        )?;
    }
    let built = target.join("compare-target");
    let status = Command::new("cargo")
        .args([
            "build",
            "--quiet",
            "--package",
            "unhidra",
            "--profile",
            profile.name(),
        ])
        .current_dir(&tree)
        .env("CARGO_TARGET_DIR", &built)
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "{revision} can't be built");
    Ok(built.join(profile.folder()).join("unhidra"))
}

fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .output()
        .context("run git")?;
    ensure!(
        output.status.success(),
        "git {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let printed = String::from_utf8(output.stdout).context("git prints UTF-8")?;
    Ok(printed.trim().to_owned())
}
