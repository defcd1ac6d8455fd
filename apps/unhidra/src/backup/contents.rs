//! Which files of a data folder belong in a backup: all, but those that mean nothing elsewhere.
//!
//! The list is of what stays out, so that a file that a later version adds is not forgotten.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use super::{DATABASE, STAGING, archive::MAX_NAME_BYTES};

/// Folders within folders.
const MAX_DEPTH: usize = 4;
/// Files beside the database; a data folder has a dozen.
const MAX_FILES: usize = 1_000;
/// A file beside the database: certificates and keys have kilobytes.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// The database is copied on its own; the others are of the running server.
const LEFT_OUT: [&str; 3] = ["lock", crate::disk::RESERVE, STAGING];
/// Half-written files.
const UNFINISHED: [&str; 2] = [".new", ".partial"];

/// Every file of `data` that belongs in a backup beside the database, by its path relative to `data`, in order.
///
/// # Errors
/// When a folder can't be read, or holds what does not belong in a data folder.
pub(super) fn files(data: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![(PathBuf::new(), 0)];
    while let Some((folder, depth)) = open.pop() {
        let path = data.join(&folder);
        let entries = fs::read_dir(&path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        let entries = entries.with_context(|| format!("read the folder {}", path.display()))?;
        for entry in entries {
            let name = folder.join(entry.file_name());
            if is_left_out(&name) {
                continue;
            }
            // What a link leads to is what the server uses.
            let Ok(metadata) = fs::metadata(entry.path()) else {
                continue;
            };
            if metadata.is_dir() && depth < MAX_DEPTH {
                open.push((name, depth + 1));
            } else if metadata.is_file() {
                ensure!(
                    metadata.len() <= MAX_FILE_BYTES
                        && found.len() < MAX_FILES
                        && name.to_str().is_some_and(|name| name.len() <= MAX_NAME_BYTES),
                    "{} does not belong in a data folder: move it elsewhere",
                    entry.path().display()
                );
                found.push(name);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn is_left_out(name: &Path) -> bool {
    let Some(text) = name.to_str() else {
        return false;
    };
    text.starts_with(DATABASE)
        || LEFT_OUT.contains(&text)
        || UNFINISHED.iter().any(|ending| text.ends_with(ending))
}
