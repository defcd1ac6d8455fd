//! Breaks each invariant of the protocol once, and sees that its test fails.
//!
//! `docs/protocol/mutants.toml` lists for each invariant one change to the code that breaks it and the tests that must
//! notice. The changes are made in a copy of the tree, one at a time; the tests must pass before and fail after. A
//! change whose place is no longer found, or that does not compile, is an error: the list follows the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::layers::target_folder;

const LIST: &str = "docs/protocol/mutants.toml";
const TABLE: &str = "docs/protocol/invariants.md";

#[derive(Args)]
pub(crate) struct Invariants {
    /// Only the mutants of these invariants
    #[arg(value_name = "NUMBER")]
    only: Vec<u32>,
}

#[derive(Deserialize)]
struct List {
    mutant: Vec<Mutant>,
}

/// One change that breaks one invariant.
#[derive(Deserialize)]
struct Mutant {
    /// The number in `docs/protocol/invariants.md`.
    invariant: u32,
    /// What the change is, in a few words.
    says: String,
    /// The file, from the root of the workspace.
    file: PathBuf,
    /// Text that stands there once.
    find: String,
    /// What stands there instead.
    replace: String,
    /// The package whose tests notice.
    package: String,
    /// Names of tests, or parts of them: one of them at least must fail.
    tests: Vec<String>,
}

/// Runs all of them, or those of the invariants that are named.
///
/// # Errors
/// The mutants that no test noticed, or what could not be run.
pub(crate) fn check(root: &Path, options: &Invariants) -> anyhow::Result<()> {
    let list = fs::read_to_string(root.join(LIST)).context("read the list of mutants")?;
    let List { mutant: mutants } = toml::from_str(&list).context("read the list of mutants")?;
    let table = fs::read_to_string(root.join(TABLE)).context("read the table of invariants")?;
    agree(&mutants, &table)?;
    let wanted: Vec<_> = mutants
        .into_iter()
        .filter(|mutant| options.only.is_empty() || options.only.contains(&mutant.invariant))
        .collect();
    ensure!(!wanted.is_empty(), "no such mutant in {LIST}");
    let folder = target_folder(root)?.join("invariants");
    let copy = Copy {
        tree: folder.join("tree"),
        target: folder.join("target"),
    };
    copy.follow(root, &BTreeMap::new())?;
    for mutant in &wanted {
        copy.place(mutant)?;
    }
    copy.pass(&wanted)?;
    println!("| # | Mutant | Noticed by |\n|---|---|---|");
    let mut unnoticed = Vec::new();
    for mutant in &wanted {
        let begin = Instant::now();
        let noticed = copy.try_out(mutant)?;
        let verdict = if noticed { "" } else { "NOT " };
        println!(
            "| {} | {} (`{}`) | {verdict}`{}` |",
            mutant.invariant,
            mutant.says,
            mutant.file.display(),
            mutant.tests.join("`, `")
        );
        eprintln!("  {:.0?}", begin.elapsed());
        if !noticed {
            unnoticed.push(format!("{}: {}", mutant.invariant, mutant.says));
        }
    }
    ensure!(
        unnoticed.is_empty(),
        "no test notices these mutants:\n{}",
        unnoticed.join("\n")
    );
    println!("{} mutants, each noticed", wanted.len());
    Ok(())
}

/// Every mutant stands in the row of its invariant, and every row has one.
fn agree(mutants: &[Mutant], table: &str) -> anyhow::Result<()> {
    for Mutant { invariant, says, .. } in mutants {
        let row = table
            .lines()
            .find(|line| line.starts_with(&format!("| {invariant} |")));
        ensure!(
            row.is_some_and(|row| row.contains(says.as_str())),
            "{TABLE}: the row of invariant {invariant} does not name the mutant `{says}`"
        );
    }
    // Rows of later stages have no fourth column.
    for row in table.lines().filter(|line| line.matches(" | ").count() >= 3) {
        let number = row.strip_prefix("| ").and_then(|row| row.split_once(' '));
        let Some(number) = number.and_then(|(number, _)| number.parse::<u32>().ok()) else {
            continue;
        };
        ensure!(
            mutants.iter().any(|mutant| mutant.invariant == number),
            "{LIST}: nothing breaks invariant {number}"
        );
    }
    Ok(())
}

/// A copy of the tree that may be broken.
pub(crate) struct Copy {
    pub(crate) tree: PathBuf,
    pub(crate) target: PathBuf,
}

impl Copy {
    /// Makes the copy equal to the tree, but for the files that are given `instead`, touching nothing that is equal
    /// already: what was built stays built.
    pub(crate) fn follow(&self, root: &Path, instead: &BTreeMap<PathBuf, String>) -> anyhow::Result<()> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("list the files of the tree")?;
        ensure!(
            listed.status.success(),
            "git could not list the files of the tree"
        );
        let listed = String::from_utf8(listed.stdout).context("files have names in UTF-8")?;
        for name in listed.split_terminator('\0') {
            let content = match instead.get(Path::new(name)) {
                Some(content) => content.clone().into_bytes(),
                None => match fs::read(root.join(name)) {
                    Ok(content) => content,
                    // Deleted, but still in the index.
                    Err(_) => continue,
                },
            };
            let to = self.tree.join(name);
            if fs::read(&to).is_ok_and(|old| old == content) {
                continue;
            }
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).context("make a folder of the copy")?;
            }
            fs::write(&to, content).with_context(|| format!("copy {name}"))?;
        }
        sweep(root, &self.tree, Path::new(""))
    }

    /// The text around the one place where the mutant goes.
    fn place(&self, mutant: &Mutant) -> anyhow::Result<(String, String)> {
        let file = self.tree.join(&mutant.file);
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", mutant.file.display()))?;
        let mut parts = text.split(&mutant.find);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(before), Some(after), None) => Ok((before.to_owned(), after.to_owned())),
            (_, None, _) => bail!(
                "{}: `{}` is not there: the mutant of invariant {} must follow the code",
                mutant.file.display(),
                mutant.find,
                mutant.invariant
            ),
            _ => bail!(
                "{}: `{}` stands there more than once",
                mutant.file.display(),
                mutant.find
            ),
        }
    }

    /// Runs the tests of all mutants in the whole copy: once, because mending it for each mutant would compile it anew.
    fn pass(&self, mutants: &[Mutant]) -> anyhow::Result<()> {
        let packages: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.package.as_str()).collect();
        for package in packages {
            let tests: Vec<&String> = mutants
                .iter()
                .filter(|mutant| mutant.package == package)
                .flat_map(|mutant| &mutant.tests)
                .collect();
            let whole = self.test(package, tests.iter().copied())?;
            ensure!(
                whole.status.success(),
                "tests of {package} fail without a mutant:\n{}",
                String::from_utf8_lossy(&whole.stderr)
            );
            let listed = self
                .cargo(package, "list", &["--message-format", "oneline"])
                .output()
                .context("list the tests of the copy")?;
            let listed = String::from_utf8_lossy(&listed.stdout);
            // A name that no test has is lost among the others, and would never fail.
            for test in tests {
                ensure!(listed.contains(test.as_str()), "{package} has no test `{test}`");
            }
        }
        Ok(())
    }

    /// Whether a test, all of which pass without the mutant, fails with it.
    fn try_out(&self, mutant: &Mutant) -> anyhow::Result<bool> {
        let (before, after) = self.place(mutant)?;
        let file = self.tree.join(&mutant.file);
        let whole = |middle: &str| format!("{before}{middle}{after}");
        fs::write(&file, whole(&mutant.replace)).context("break the copy")?;
        let built = self
            .cargo(&mutant.package, "run", &["--no-run"])
            .output()
            .context("build the copy");
        let noticed = match built {
            Ok(output) if output.status.success() => self
                .test(&mutant.package, &mutant.tests)
                .map(|tested| !tested.status.success()),
            Ok(output) => Err(anyhow::anyhow!(
                "the mutant of invariant {} does not compile:\n{}",
                mutant.invariant,
                String::from_utf8_lossy(&output.stderr)
            )),
            Err(error) => Err(error),
        };
        fs::write(&file, whole(&mutant.find)).context("mend the copy")?;
        noticed
    }

    /// Runs the tests of these names, or parts of them.
    fn test<'a>(&self, package: &str, tests: impl IntoIterator<Item = &'a String>) -> anyhow::Result<Output> {
        let mut arguments = vec!["--"];
        arguments.extend(tests.into_iter().map(String::as_str));
        self.cargo(package, "run", &arguments)
            .stdin(Stdio::null())
            .output()
            .context("run the tests of the copy")
    }

    fn cargo(&self, package: &str, act: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command
            .args(["nextest", act, "--package", package])
            // Compiled dozens of times and run for seconds: optimising costs more than it gains.
            .args(["--config", "profile.dev.package.unhidra-pair.opt-level=0"])
            .args(arguments)
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            // That it fails is enough; how little it takes is not asked.
            .env("PROPTEST_MAX_SHRINK_ITERS", "0");
        command
    }
}

/// Removes from the folder `inner` of the copy what the tree does not have any more.
fn sweep(root: &Path, copy: &Path, inner: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(copy.join(inner)).context("list the copy")? {
        let entry = entry.context("list the copy")?;
        let inner = inner.join(entry.file_name());
        let (is_folder, was) = (entry.path().is_dir(), root.join(&inner));
        if is_folder && was.is_dir() {
            sweep(root, copy, &inner)?;
        } else if is_folder {
            fs::remove_dir_all(entry.path()).context("remove a folder of the copy")?;
        } else if !was.is_file() {
            fs::remove_file(entry.path()).context("remove a file of the copy")?;
        }
    }
    Ok(())
}
