//! `docs/protocol/mutation.md`: how many mutants are killed, and why the others live.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::{
    list::Mutant,
    outcome::{Outcome, Outcomes},
};

const RESULT: &str = "docs/protocol/mutation.md";
const REASONS: &str = "docs/protocol/survivors.toml";
const CRATE: &str = "protocol/pair";
/// At least so many of a thousand have to be killed.
const LEAST_KILLED: usize = 950;

#[derive(Deserialize)]
struct Reasons {
    #[serde(default)]
    survivor: Vec<Survivor>,
}

/// Why a mutant lives. It is named by its line, not by its number: code above may grow.
#[derive(Deserialize)]
struct Survivor {
    file: PathBuf,
    /// As `cargo mutants` says it.
    change: String,
    /// The line of the source.
    line: String,
    why: String,
}

#[derive(Default)]
struct Count {
    unviable: usize,
    caught: usize,
    endless: usize,
    missed: usize,
}

impl Count {
    fn add(&mut self, outcome: &Outcome) {
        *match outcome {
            Outcome::Unviable => &mut self.unviable,
            Outcome::Caught(_) => &mut self.caught,
            Outcome::Endless(_) => &mut self.endless,
            Outcome::Missed => &mut self.missed,
        } += 1;
    }

    fn viable(&self) -> usize {
        self.killed() + self.missed
    }

    fn killed(&self) -> usize {
        self.caught + self.endless
    }

    fn permille(&self) -> usize {
        (self.killed() * 1000).checked_div(self.viable()).unwrap_or(1000)
    }

    fn row(&self, name: &str) -> String {
        let Self {
            unviable,
            caught,
            endless,
            missed,
        } = self;
        let (all, viable) = (self.viable() + unviable, self.viable());
        format!("| {name} | {all} | {unviable} | {viable} | {caught} | {endless} | {missed} |\n")
    }
}

/// Writes the result.
///
/// # Errors
/// When fewer than 95 % are killed, or reasons and survivors are not the same.
pub(super) fn write(root: &Path, mutants: &[Mutant], outcomes: &Outcomes) -> anyhow::Result<()> {
    let mut files: BTreeMap<&Path, Count> = BTreeMap::new();
    let (mut all, mut missed) = (Count::default(), Vec::new());
    for mutant in mutants {
        let outcome = outcomes.of(mutant).context("every mutant has an outcome")?;
        files.entry(&mutant.file).or_default().add(outcome);
        all.add(outcome);
        if *outcome == Outcome::Missed {
            missed.push(mutant);
        }
    }
    let reasons = fs::read_to_string(root.join(REASONS)).context("read why survivors live")?;
    let Reasons {
        survivor: mut reasons,
    } = toml::from_str(&reasons).context("read why survivors live")?;
    let (mut survivors, mut unexplained) = (String::new(), Vec::new());
    for mutant in missed {
        let text = fs::read_to_string(root.join(&mutant.file))?;
        let line = mutant.line(&text)?;
        let reason = reasons.iter().position(|reason| {
            reason.file == mutant.file && reason.change == mutant.change() && reason.line == line
        });
        match reason {
            Some(at) => {
                let why = reasons.swap_remove(at).why;
                writeln!(survivors, "- `{}`\n  `{line}`\n  {why}", mutant.name)?;
            }
            None => unexplained.push(format!("{}\n    {line}", mutant.name)),
        }
    }
    let mut table = String::from(HEAD);
    writeln!(table, "{}\n", origin(root)?)?;
    table.push_str(COLUMNS);
    for (file, count) in &files {
        let name = file.strip_prefix(CRATE).unwrap_or(file).display();
        table.push_str(&count.row(&format!("`{name}`")));
    }
    table.push_str(&all.row("**all**"));
    let rate = format!("{}.{} %", all.permille() / 10, all.permille() % 10);
    let sum = format!(
        "{} of {} mutants that compile are killed: {rate}",
        all.killed(),
        all.viable()
    );
    writeln!(table, "\n**{sum}.**\n\n## Survivors\n\n{survivors}")?;
    fs::write(root.join(RESULT), table.trim_end().to_owned() + "\n").context("write the result")?;
    println!("{sum}; {RESULT}");
    ensure!(
        unexplained.is_empty(),
        "{} mutants live, and {REASONS} does not say why:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    let stale: Vec<_> = reasons
        .iter()
        .map(|reason| format!("{}: {}", reason.file.display(), reason.change))
        .collect();
    ensure!(
        stale.is_empty(),
        "{REASONS} explains what does not live:\n{}",
        stale.join("\n")
    );
    ensure!(all.permille() >= LEAST_KILLED, "that is too few");
    Ok(())
}

/// What the result is of. A tree keeps its name when the commit gets another one.
fn origin(root: &Path) -> anyhow::Result<String> {
    let tree = git(root, &["rev-parse", "--short=12", "HEAD:protocol/pair"])?;
    let changed = git(root, &["status", "--porcelain", "--", CRATE])?;
    let changed = if changed.is_empty() {
        ""
    } else {
        ", with changes that are not committed"
    };
    Ok(format!(
        "Made of the tree `{tree}`{changed}: `git rev-parse HEAD:{CRATE}` names that of a commit."
    ))
}

fn git(root: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(root)
        .output()
        .context("start git")?;
    ensure!(output.status.success(), "git {} failed", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

const HEAD: &str = "# Mutants of `protocol/pair`

`cargo xtask mutants` changes one place after the other as `cargo-mutants` proposes: an operator, a match arm, what a
function returns. A mutant is killed when a test of the crate fails, or does not end. Written by that command.

";

const COLUMNS: &str = "| File | Mutants | Not compiling | Viable | Caught | Endless | Survived |
|---|---|---|---|---|---|---|
";
