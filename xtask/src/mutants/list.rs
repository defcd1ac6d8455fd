//! The mutants, as `cargo-mutants` lists them.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// What fuzzers call: `testing/fuzz` has the tests that do.
const NOT_OF_THE_PROTOCOL: &str = "replace .* in fuzz_|replace fuzz_";

/// One change of one place.
#[derive(Deserialize)]
pub(super) struct Mutant {
    /// Its place in the whole list.
    #[serde(skip)]
    pub(super) number: usize,
    /// By what its outcome is kept: the hash of its file, and its name.
    #[serde(skip)]
    pub(super) key: String,
    /// `file:line:column: what is replaced`.
    pub(super) name: String,
    /// From the root of the workspace.
    pub(super) file: PathBuf,
    /// Where it stands, when that is a function.
    pub(super) function: Option<Function>,
    genre: String,
    pub(super) span: Span,
    replacement: String,
}

#[derive(Deserialize)]
pub(super) struct Function {
    return_type: String,
    pub(super) span: Span,
}

/// From the first character to behind the last one.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) start: Position,
    end: Position,
}

/// Both are counted from one, columns in characters.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: usize,
    column: usize,
}

impl Mutant {
    /// Whether it has to be built alone: a constant is computed by the compiler, and all ways through a function have to
    /// return the same type, which an `impl Trait` hides.
    pub(super) fn is_alone(&self) -> bool {
        self.function
            .as_ref()
            .is_none_or(|function| function.return_type.contains("impl "))
    }

    /// Whether it is instead of all that a function does.
    pub(super) fn is_of_whole_body(&self) -> bool {
        self.genre == "FnValue"
    }

    /// What is replaced by what, without the place.
    pub(super) fn change(&self) -> &str {
        self.name.splitn(4, ':').last().unwrap_or(&self.name).trim()
    }

    /// The line where it stands.
    ///
    /// # Errors
    /// When the source is not the one that was listed.
    pub(super) fn line<'a>(&self, text: &'a str) -> anyhow::Result<&'a str> {
        let line = text.lines().nth(self.span.start.line - 1);
        Ok(line.context("the line of a mutant is in its file")?.trim())
    }

    /// The source with the change.
    ///
    /// # Errors
    /// When the source is not the one that was listed.
    pub(super) fn apply(&self, text: &str) -> anyhow::Result<String> {
        let (before, _, after) = self.span.split(text)?;
        Ok(format!("{before}{}{after}", self.replacement))
    }
}

impl Span {
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// What is before, in and after it.
    ///
    /// # Errors
    /// When it is not inside of the text.
    pub(super) fn split<'a>(&self, text: &'a str) -> anyhow::Result<(&'a str, &'a str, &'a str)> {
        let (start, end) = (self.start.offset(text)?, self.end.offset(text)?);
        let parts = text.get(..start).zip(text.get(start..end)).zip(text.get(end..));
        let ((before, inside), after) = parts.context("a mutant is inside of its file")?;
        Ok((before, inside, after))
    }
}

impl Position {
    fn offset(self, text: &str) -> anyhow::Result<usize> {
        let mut lines = text.split_inclusive('\n');
        let before: usize = lines.by_ref().take(self.line - 1).map(str::len).sum();
        let line = lines.next().unwrap_or_default();
        let inside: usize = line.chars().take(self.column - 1).map(char::len_utf8).sum();
        Ok(before + inside)
    }
}

/// All of them, in a stable order.
///
/// # Errors
/// When the list can't be made.
pub(super) fn of(root: &Path, cargo_mutants: &Path) -> anyhow::Result<Vec<Mutant>> {
    let output = Command::new(cargo_mutants)
        .args(["mutants", "--list", "--json", "--package", super::PACKAGE])
        .args(["--exclude-re", NOT_OF_THE_PROTOCOL])
        .current_dir(root)
        .output()
        .context("start cargo-mutants")?;
    ensure!(
        output.status.success(),
        "cargo-mutants: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut mutants: Vec<Mutant> =
        serde_json::from_slice(&output.stdout).context("read the list of mutants")?;
    for (number, mutant) in mutants.iter_mut().enumerate() {
        mutant.number = number;
        let mut hash = DefaultHasher::new();
        fs::read(root.join(&mutant.file))?.hash(&mut hash);
        mutant.key = format!("{:016x} {}", hash.finish(), mutant.name);
    }
    ensure!(!mutants.is_empty(), "there are no mutants");
    Ok(mutants)
}
