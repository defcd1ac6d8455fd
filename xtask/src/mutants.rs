//! Mutation testing of `protocol/pair`: is there a line that could be wrong and no test would say so?
//!
//! `cargo-mutants` (installed below the target folder) makes the list of changes. Building the crate and its tests anew
//! for each of them takes hours, so all are woven into one copy of the crate, which asks at run time which of them is on
//! ([`weave`]); what can't be woven, a constant say, is built alone. A test is run for a mutant only when it reaches the
//! changed function, cheapest first, up to the first that fails ([`trial`]).
//!
//! What was found is kept below the target folder after each mutant ([`outcome`]), so a run may be stopped; the next one
//! goes on, for all sources that have not changed, and tries again what lived. When every mutant has an outcome,
//! `docs/protocol/mutation.md` is written, where each survivor stands with the reason that `survivors.toml` gives.

mod list;
mod outcome;
mod report;
mod trial;
mod weave;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;

use self::{
    list::Mutant,
    outcome::{Outcome, Outcomes},
    trial::{Built, Mode, Suite},
};
use crate::{invariants::Copy, layers::target_folder};

const CARGO_MUTANTS: &str = "27.1.0";
const PACKAGE: &str = "unhidra-pair";
const MANIFEST: &str = "protocol/pair/Cargo.toml";

#[derive(Args)]
pub(crate) struct Mutants {
    /// The Kth of N parts; put the outcomes of all into one folder to have the whole
    #[arg(long, value_name = "K/N", default_value = "1/1")]
    shard: Shard,
    /// Begin no mutant after so many; the next run goes on there
    #[arg(long)]
    minutes: Option<f64>,
    /// How many are tried at the same time; as many as there are cores if not given
    #[arg(long)]
    jobs: Option<usize>,
    /// Forget what earlier runs found
    #[arg(long)]
    anew: bool,
}

/// One part of all mutants.
#[derive(Clone, Copy)]
struct Shard {
    part: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (part, of) = text.split_once('/').context("a shard is K/N, as 1/4")?;
        let (part, of) = (part.parse()?, of.parse()?);
        ensure!((1..=of).contains(&part), "K is one of 1 to N");
        Ok(Self { part, of })
    }
}

/// Tries what has no outcome yet; writes the result when nothing is left.
///
/// # Errors
/// When tests fail without a mutant, too few mutants are killed, or a survivor is not explained.
pub(crate) fn run(root: &Path, options: &Mutants) -> anyhow::Result<()> {
    let begin = Instant::now();
    let folder = target_folder(root)?.join("mutants");
    let mutants = list::of(root, &installed(&folder)?)?;
    let Shard { part, of } = options.shard;
    let kept = folder.join("outcomes");
    if options.anew && kept.exists() {
        fs::remove_dir_all(&kept).context("forget the outcomes")?;
    }
    let mut outcomes = Outcomes::open(&kept, &format!("{part}-of-{of}"))?;
    let mine: Vec<_> = mutants
        .iter()
        .filter(|mutant| mutant.number % of == part - 1)
        .collect();
    let until = options
        .minutes
        .map(|minutes| begin + Duration::from_secs_f64(minutes * 60.0));
    let jobs = match options.jobs {
        Some(jobs) => jobs,
        None => thread::available_parallelism()?.get(),
    };
    if mine.iter().any(|mutant| outcomes.is_open(mutant)) {
        let copy = Copy {
            tree: folder.join("tree"),
            target: folder.join("target"),
        };
        let round = Round {
            root,
            copy,
            jobs,
            until,
        };
        round.try_woven(&mutants, &mine, &mut outcomes)?;
        round.try_alone(&mine, &mut outcomes)?;
    }
    let left = mutants
        .iter()
        .filter(|mutant| outcomes.of(mutant).is_none())
        .count();
    if left > 0 {
        println!(
            "{left} of {} mutants have no outcome yet: run it again",
            mutants.len()
        );
        return Ok(());
    }
    report::write(root, &mutants, &outcomes)
}

/// One run over a shard, in one copy of the tree.
struct Round<'a> {
    root: &'a Path,
    copy: Copy,
    jobs: usize,
    until: Option<Instant>,
}

impl Round<'_> {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Tries all that can be woven, by one build.
    fn try_woven(&self, all: &[Mutant], mine: &[&Mutant], outcomes: &mut Outcomes) -> anyhow::Result<()> {
        let woven = loop {
            let woven = weave::all(self.root, all, outcomes)?;
            self.copy.follow(self.root, &self.files(&woven.files)?)?;
            match trial::build(&self.copy, Mode::Woven, &["--lib"])? {
                Built::Binaries(_) => break woven,
                Built::Errors(errors) => {
                    for number in woven.blamed(&errors)? {
                        let mutant = all.get(number).context("a mutant has a number")?;
                        outcomes.note(mutant, Outcome::Unviable)?;
                    }
                }
            }
        };
        let queue: Vec<_> = mine
            .iter()
            .copied()
            .filter(|mutant| !mutant.is_alone() && outcomes.is_open(mutant))
            .collect();
        if queue.is_empty() {
            return Ok(());
        }
        let suite = Suite::measured(&self.copy, Mode::Woven, woven.functions)?;
        println!("{suite}, {} mutants", queue.len());
        self.work(&queue, outcomes, |mutant| suite.try_out(mutant))
    }

    /// Builds each that can't be woven, and tries it.
    fn try_alone(&self, mine: &[&Mutant], outcomes: &mut Outcomes) -> anyhow::Result<()> {
        let queue: Vec<_> = mine
            .iter()
            .filter(|mutant| mutant.is_alone() && outcomes.is_open(mutant))
            .collect();
        if queue.is_empty() || self.is_over() {
            return Ok(());
        }
        self.copy.follow(self.root, &self.files(&BTreeMap::new())?)?;
        let mut suite = Suite::measured(&self.copy, Mode::Alone, BTreeMap::new())?;
        for (at, mutant) in queue.iter().enumerate() {
            if self.is_over() {
                break;
            }
            let text = fs::read_to_string(self.root.join(&mutant.file))?;
            let broken = BTreeMap::from([(mutant.file.clone(), mutant.apply(&text)?)]);
            self.copy.follow(self.root, &self.files(&broken)?)?;
            let outcome = self.stages(mutant, &mut suite)?;
            println!("{} of {}: {outcome}: {}", at + 1, queue.len(), mutant.name);
            outcomes.note(mutant, outcome)?;
        }
        Ok(())
    }

    /// Builds the tests one after the other, up to those that fail.
    fn stages(&self, mutant: &Mutant, suite: &mut Suite) -> anyhow::Result<Outcome> {
        for targets in trial::BINARIES {
            suite.binaries = match trial::build(&self.copy, Mode::Alone, *targets)? {
                Built::Binaries(binaries) => binaries,
                Built::Errors(_) => return Ok(Outcome::Unviable),
            };
            let outcome = suite.try_out(mutant)?;
            if outcome != Outcome::Missed {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Missed)
    }

    /// What the copy has instead of the tree's: the changed sources, a crate that may name `std` as mutants do, and a
    /// manifest without lints, as a mutant may leave a variable unused.
    fn files(&self, sources: &BTreeMap<PathBuf, String>) -> anyhow::Result<BTreeMap<PathBuf, String>> {
        let mut files = sources.clone();
        for (path, unwanted) in [
            (MANIFEST, "[lints]\nworkspace = true\n"),
            (weave::LIB, "#![no_std]\n"),
        ] {
            let text = match files.remove(Path::new(path)) {
                Some(text) => text,
                None => fs::read_to_string(self.root.join(path)).with_context(|| format!("read {path}"))?,
            };
            ensure!(text.contains(unwanted), "{path} has no {unwanted:?}");
            files.insert(path.into(), text.replacen(unwanted, "", 1));
        }
        Ok(files)
    }

    fn work(
        &self,
        queue: &[&Mutant],
        outcomes: &mut Outcomes,
        attempt: impl Fn(&Mutant) -> anyhow::Result<Outcome> + Sync,
    ) -> anyhow::Result<()> {
        let shared = Mutex::new((queue.iter().enumerate(), outcomes));
        let worker = || -> anyhow::Result<()> {
            loop {
                let next = match shared.lock() {
                    Ok(mut shared) if !self.is_over() => shared.0.next(),
                    _ => None,
                };
                let Some((at, mutant)) = next else {
                    return Ok(());
                };
                let outcome = attempt(mutant)?;
                println!("{} of {}: {outcome}: {}", at + 1, queue.len(), mutant.name);
                let mut shared = shared
                    .lock()
                    .map_err(|_| anyhow::anyhow!("another worker ended"))?;
                shared.1.note(mutant, outcome)?;
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs).map(|_| scope.spawn(worker)).collect();
            for worker in workers {
                let ended = worker.join();
                ended.map_err(|_| anyhow::anyhow!("a worker ended"))??;
            }
            Ok(())
        })
    }
}

fn installed(folder: &Path) -> anyhow::Result<PathBuf> {
    let tools = folder.join("tools");
    let program = tools.join("bin/cargo-mutants");
    if !program.exists() {
        let install = [
            "install",
            "cargo-mutants",
            "--version",
            CARGO_MUTANTS,
            "--locked",
            "--root",
        ];
        let status = std::process::Command::new("cargo")
            .args(install)
            .arg(&tools)
            .status()
            .context("start cargo")?;
        ensure!(status.success(), "cargo-mutants could not be installed");
    }
    Ok(program)
}
