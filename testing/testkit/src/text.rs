//! Real text of this machine: licences, copyright notices, manual pages. Nothing is made up.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

/// Longest line taken: a message holds 64 KiB.
const MAX_LINE_BYTES: usize = 60 * 1024;
/// Lines taken of one file, so that many have their turn.
const MAX_LINES_OF_A_FILE: usize = 250;
/// Files looked at in one folder.
const MAX_FILES: usize = 2_000;

/// Exactly `count` lines of text, without their line feeds but with their carriage returns, blank ones included. What
/// there is, is repeated when it is not enough.
///
/// # Errors
/// When this machine has no text at all.
pub fn lines(count: usize) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::with_capacity(count);
    for file in files() {
        if lines.len() >= count {
            break;
        }
        if let Some(text) = read(&file) {
            lines.extend(
                text.lines_kept()
                    .take(MAX_LINES_OF_A_FILE)
                    .filter(|line| line.len() <= MAX_LINE_BYTES)
                    .map(str::to_owned),
            );
        }
    }
    ensure!(!lines.is_empty(), "no text was found on this machine");
    let found = lines.len();
    while lines.len() < count {
        let again = (count - lines.len()).min(found);
        lines.extend_from_within(..again);
    }
    lines.truncate(count);
    Ok(lines)
}

/// Files that should hold text, the best first and always in the same order.
fn files() -> Vec<PathBuf> {
    let folder = |path: &str| entries(Path::new("/usr/share").join(path).as_path());
    let notices = folder("doc").into_iter().map(|package| package.join("copyright"));
    let mut shelves: Vec<_> = [
        "man/man1",
        "common-licenses",
        "man/ja/man1",
        "man/de/man1",
        "man/ru/man1",
        "man/man7",
    ]
    .map(|shelf| folder(shelf).into_iter())
    .into();
    shelves.push(notices.collect::<Vec<_>>().into_iter());
    // One file of each in turn, so that a short run has several scripts and languages.
    let mut files = Vec::new();
    loop {
        let before = files.len();
        files.extend(shelves.iter_mut().filter_map(Iterator::next));
        if files.len() == before {
            break;
        }
    }
    files.extend(registry());
    files.extend(repository());
    files
}

/// Licence files of the packages that this program is built from.
fn registry() -> Vec<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the package cache is nobody's configuration"
    )]
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let Some(home) = home else { return Vec::new() };
    let sources = entries(&home.join("registry/src"));
    let packages = sources.iter().flat_map(|source| entries(source));
    packages
        .flat_map(|package| entries(&package))
        .filter(|file| {
            file.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("LICENSE"))
        })
        .collect()
}

/// This repository's own licences and documents.
fn repository() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = |file: &PathBuf| {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.starts_with("LICENSE") || name.ends_with(".md")
    };
    let mut files: Vec<_> = entries(&root).into_iter().filter(named).collect();
    files.extend(entries(&root.join("docs")).into_iter().filter(named));
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.truncate(MAX_FILES);
    paths
}

/// The text of a file, unpacked; `None` for what is not text.
fn read(file: &Path) -> Option<String> {
    let bytes = if file.extension().is_some_and(|extension| extension == "gz") {
        unpack(file).ok()?
    } else {
        fs::read(file).ok()?
    };
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn unpack(file: &Path) -> anyhow::Result<Vec<u8>> {
    let output = Command::new("gzip")
        .arg("-dc")
        .arg(file)
        .output()
        .context("run gzip")?;
    ensure!(output.status.success(), "gzip can't unpack {}", file.display());
    Ok(output.stdout)
}

/// Lines as a file has them.
trait LinesKept {
    /// What stands between line feeds. Unlike [`str::lines`] it keeps carriage returns.
    fn lines_kept(&self) -> impl Iterator<Item = &str>;
}

impl LinesKept for str {
    fn lines_kept(&self) -> impl Iterator<Item = &str> {
        self.strip_suffix('\n').unwrap_or(self).split('\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_text_and_it_is_the_same_every_time() {
        let text = lines(300).unwrap();
        assert_eq!(text.len(), 300);
        assert_eq!(text, lines(300).unwrap());
        assert!(text.iter().all(|line| !line.contains('\n')));
        let words = text.iter().flat_map(|line| line.split_whitespace()).count();
        assert!(words > 300, "{words} words are no text");
    }

    #[test]
    fn a_fresh_clone_alone_has_text() {
        assert!(repository().iter().any(|file| read(file).is_some()));
    }

    #[test]
    fn lines_keep_their_carriage_returns_and_blanks() {
        let kept: Vec<_> = "a\r\n\nb\n".lines_kept().collect();
        assert_eq!(kept, ["a\r", "", "b"]);
    }
}
