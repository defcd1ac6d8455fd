//! One file that holds a server: its database as of one moment, its keys, and what else lies in its data folder.
//!
//! - [`archive`]: the file, a tar archive with checksums   - [`contents`]: which files of a data folder belong in it
//! - [`make`]: from a data folder to a file                - [`restore`]: from a file to a data folder
//!
//! Invariant: a backup stands under its name only after every byte of it was read back; a data folder serves only after
//! every file of it was.

pub(crate) mod archive;
mod contents;
pub(crate) mod make;
pub(crate) mod restore;

use std::{fs, io, path::Path, time::Duration};

use anyhow::{Context as _, ensure};

/// How often long work says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// The database's name in a data folder and in a backup.
pub(crate) const DATABASE: &str = "unhidra.db";
/// A folder inside a data folder in which a restore puts files until all are there.
pub(crate) const STAGING: &str = ".restoring";

/// Makes sure that `folder` has room for `bytes` and some more.
fn room_for(folder: &Path, bytes: u64, option: &str) -> anyhow::Result<()> {
    const MARGIN: u64 = 16 * 1024 * 1024;
    let free = free_bytes(folder)?;
    ensure!(
        free >= bytes.saturating_add(MARGIN),
        "{} has {} MiB free and {} MiB are needed: make room, or choose another place with {option}",
        folder.display(),
        free / MIB,
        bytes.saturating_add(MARGIN) / MIB,
    );
    Ok(())
}

/// Bytes that this user can still write below `folder`.
pub(crate) fn free_bytes(folder: &Path) -> anyhow::Result<u64> {
    let volume = rustix::fs::statvfs(folder)
        .with_context(|| format!("ask for the free space of {}", folder.display()))?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}

pub(crate) const MIB: u64 = 1024 * 1024;

/// Makes the entries of a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// The folder that a file lies in.
fn folder_of(file: &Path) -> &Path {
    file.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
