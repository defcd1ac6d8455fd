//! Fuzzing by libFuzzer: installs cargo-fuzz below the target folder, and gives every target its share of the time. New
//! inputs are gathered below the target folder too; what breaks a target is put into its corpus, where the tests find it.
//!
//! Ends with a table of what was tried. With `--keep` the corpora take in some of the gathered inputs: of those few that reach
//! what all of them reach, the shortest.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::layers::target_folder;

const CARGO_FUZZ: &str = "0.13.2";
/// Inputs, and bytes of them all, that `--keep` takes for each target: the corpora are in the tree.
const MAX_KEPT: (usize, u64) = (32, 8 * 1024);

#[derive(Args)]
pub(crate) struct Fuzz {
    /// In all, shared among the targets
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// `address` watches memory as well, and is slower. The tree itself forbids unsafe code
    #[arg(long, default_value = "none")]
    sanitizer: String,
    /// Afterwards, put into the corpora what the gathered inputs reach and they do not
    #[arg(long)]
    keep: bool,
    /// Only these; all when there are none
    targets: Vec<String>,
}

/// Where things are.
struct Place<'a> {
    root: &'a Path,
    /// Below the target folder.
    folder: PathBuf,
    cargo_fuzz: PathBuf,
    sanitizer: &'a str,
}

/// Installs, builds, runs.
///
/// # Errors
/// When a step failed, or with the inputs that break a target.
pub(crate) fn run(root: &Path, fuzz: &Fuzz) -> anyhow::Result<()> {
    let folder = target_folder(root)?.join("fuzz");
    let place = Place {
        root,
        cargo_fuzz: installed(&folder)?,
        folder,
        sanitizer: &fuzz.sanitizer,
    };
    let targets = match fuzz.targets.as_slice() {
        [] => names(&root.join("fuzz/fuzz_targets"))?,
        some => some.to_vec(),
    };
    let count = u32::try_from(targets.len()).context("too many targets")?;
    // None at all would be without end.
    let seconds = (fuzz.minutes * 60.0 / f64::from(count)).ceil().max(1.0);
    step(&mut place.command(&["build"]))?;
    let (mut broken, mut table) = (Vec::new(), Vec::new());
    for target in &targets {
        println!("xtask: {target}, {seconds} s");
        broken.extend(place.attack(target, seconds)?);
        table.push(place.row(target)?);
        if fuzz.keep {
            place.keep(target)?;
        }
    }
    println!("| Target | Inputs tried | per second | Edges reached | MiB at most |\n|---|---|---|---|---|");
    println!("{}", table.join("\n"));
    if broken.is_empty() {
        println!("{count} targets, {seconds} s each: nothing broke");
        return Ok(());
    }
    bail!("inputs that break a target, now in its corpus: {broken:?}")
}

impl Place<'_> {
    /// One target for its time; what broke it, moved to its corpus.
    fn attack(&self, target: &str, seconds: f64) -> anyhow::Result<Vec<PathBuf>> {
        let (kept, gathered, found) = (
            self.kept(target),
            self.gathered(target)?,
            made(self.folder.join("found").join(target))?,
        );
        let mut run = self.command(&["run", target]);
        run.args([&gathered, &kept]).arg("--").args([
            format!("-max_total_time={seconds}"),
            format!("-artifact_prefix={}/", found.display()),
            "-max_len=8192".into(),
            "-timeout=20".into(),
            "-print_final_stats=1".into(),
        ]);
        let log = File::create(self.log(target)).context("make a log")?;
        let status = run.stderr(log).status().context("start cargo-fuzz")?;
        let mut moved = Vec::new();
        for entry in fs::read_dir(&found)? {
            let from = entry?.path();
            let to = kept.join(from.file_name().context("an input has a name")?);
            fs::copy(&from, &to)?;
            fs::remove_file(&from)?;
            moved.push(to);
        }
        ensure!(
            status.success() || !moved.is_empty(),
            "{target} could not be run, see {}",
            self.log(target).display()
        );
        Ok(moved)
    }

    /// What the last run of a target says of itself.
    fn row(&self, target: &str) -> anyhow::Result<String> {
        let log = fs::read(self.log(target)).context("read a log")?;
        let log = String::from_utf8_lossy(&log);
        let after = |what: &str| {
            let rest = log.rsplit_once(what).map_or("", |(_, rest)| rest);
            rest.split_whitespace().next().unwrap_or("?")
        };
        Ok(format!(
            "| {target} | {} | {} | {} | {} |",
            after("stat::number_of_executed_units:"),
            after("stat::average_exec_per_sec:"),
            after("cov: "),
            after("stat::peak_rss_mb:"),
        ))
    }

    /// Puts the shortest of the few gathered inputs that reach something new into the corpus.
    fn keep(&self, target: &str) -> anyhow::Result<()> {
        let (kept, gathered) = (self.kept(target), self.gathered(target)?);
        let merged = made(self.folder.join("merged").join(target))?;
        fs::remove_dir_all(&merged)?;
        fs::create_dir(&merged)?;
        for (_, held) in by_length(&kept)? {
            fs::copy(
                &held,
                merged.join(held.file_name().context("an input has a name")?),
            )?;
        }
        let mut merge = self.command(&["run", target]);
        merge
            .args([&merged, &gathered])
            .args(["--", "-set_cover_merge=1"])
            .arg(format!("-artifact_prefix={}/", self.folder.display()));
        let log = File::create(self.log(target).with_extension("keep")).context("make a log")?;
        step(merge.stderr(log))?;
        let (mut inputs, mut room) = MAX_KEPT;
        for (length, input) in by_length(&merged)? {
            let to = kept.join(input.file_name().context("an input has a name")?);
            if to.exists() {
                continue;
            }
            if inputs == 0 || room < length {
                break;
            }
            (inputs, room) = (inputs - 1, room - length);
            fs::copy(&input, &to)?;
        }
        Ok(())
    }

    /// Sanitizers are unstable: the pinned compiler is told to take them.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.cargo_fuzz);
        command
            .args(arguments)
            .args([
                "--fuzz-dir",
                "fuzz",
                "--debug-assertions",
                "--sanitizer",
                self.sanitizer,
            ])
            .arg("--target-dir")
            .arg(self.folder.join("target"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("CARGO_TARGET_DIR")
            .current_dir(self.root);
        command
    }

    fn kept(&self, target: &str) -> PathBuf {
        self.root.join("fuzz/corpus").join(target)
    }

    fn gathered(&self, target: &str) -> anyhow::Result<PathBuf> {
        made(self.folder.join("corpus").join(target))
    }

    fn log(&self, target: &str) -> PathBuf {
        self.folder.join(target).with_extension("log")
    }
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

fn made(folder: PathBuf) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

/// The files of a folder with their lengths, the shortest first.
fn by_length(folder: &Path) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    files.sort();
    Ok(files)
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
