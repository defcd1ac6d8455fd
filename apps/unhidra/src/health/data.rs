//! The data folder, the keys in it and its database.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use unhidra_keys::{KeysConfig, OnDisk};
use unhidra_store::{
    Depth, Examined, OpenError,
    migration::MigrationError,
    wal::{self, Tail},
};

use super::Finding;
use crate::{
    backup::{DATABASE, MIB},
    folder,
};

const FROM_BACKUP: &str = "restore the data folder from a backup (`unhidra restore`)";

/// Whether it is there, whole, this user's alone and can be written.
pub(super) fn folder(path: &Path) -> Finding {
    const CHECK: &str = "data folder";
    let shown = path.display();
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Finding::ok(CHECK, format!("{shown} will be created"));
        }
        Err(error) => {
            return Finding::fail(CHECK, format!("{shown}: {error}"), "choose another with --data");
        }
        Ok(found) => found,
    };
    if !found.is_dir() {
        return Finding::fail(
            CHECK,
            format!("{shown} is not a folder"),
            "choose another with --data",
        );
    }
    if let Err(error) = folder::is_whole(path) {
        return Finding::fail(CHECK, "a restore was cut off", error.to_string());
    }
    if let Err(error) = writable(path) {
        return Finding::fail(
            CHECK,
            format!("{shown} can't be written: {error}"),
            "make it writable for this user, or choose another with --data",
        );
    }
    if found.mode() & 0o077 != 0 {
        return Finding::warn(
            CHECK,
            format!(
                "{shown} is open to other users (mode {:03o})",
                found.mode() & 0o777
            ),
            format!("chmod 700 {shown}"),
        );
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Finding::warn(
            CHECK,
            format!("{shown} belongs to user {}", found.uid()),
            "run the server as that user",
        );
    }
    Finding::ok(CHECK, format!("{shown} is writable"))
}

fn writable(folder: &Path) -> io::Result<()> {
    let probe = folder.join(PROBE);
    fs::write(&probe, b"")?;
    fs::remove_file(probe)
}

/// Written and removed to see whether a folder can be written.
pub(crate) const PROBE: &str = ".doctor";

/// The key files, and that they are there if the database needs them.
pub(super) fn keys(config: &KeysConfig, data: &Path, database: &Database) -> Finding {
    const CHECK: &str = "keys";
    let has_accounts = database.examined().is_some_and(|found| found.has_accounts);
    let missing = |file: &Path| {
        Finding::fail(
            CHECK,
            format!(
                "{} is missing beside a database with accounts",
                data.join(file).display()
            ),
            format!("put it back, or {FROM_BACKUP}; without it every session ends"),
        )
    };
    let on_disk = match unhidra_keys::examine(config, data) {
        Ok(on_disk) => on_disk,
        Err(error) => {
            return Finding::fail(
                CHECK,
                format!("{:#}", anyhow::Error::from(error)),
                "correct the file's mode or owner, or put it back from a backup",
            );
        }
    };
    match on_disk {
        OnDisk::Whole => Finding::ok(CHECK, "sealed, readable by this user alone"),
        OnDisk::Nothing | OnDisk::SealingKeyAlone if !has_accounts => Finding::ok(CHECK, "will be made"),
        OnDisk::Nothing | OnDisk::SealedAlone => missing(&config.sealing_key),
        OnDisk::SealingKeyAlone => missing(&config.file),
    }
}

/// The database, as far as it can be read.
pub(super) struct Database {
    path: PathBuf,
    state: Result<Content, OpenError>,
}

enum Content {
    Missing,
    /// A file without a byte.
    Empty,
    Examined(Examined, Depth),
}

impl Database {
    pub(super) fn look(data: &Path, depth: Depth) -> Self {
        let path = data.join(DATABASE);
        let state = match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Content::Missing),
            // Its log may hold everything.
            Ok(found) if found.len() == 0 && !wal::file(&path).exists() => Ok(Content::Empty),
            // What can't be read is told by whoever opens it.
            Ok(_) | Err(_) => {
                unhidra_store::examine(&path, depth).map(|found| Content::Examined(found, depth))
            }
        };
        Self { path, state }
    }

    /// What it holds, if it could be read.
    pub(super) fn examined(&self) -> Option<&Examined> {
        match &self.state {
            Ok(Content::Examined(found, _)) => Some(found),
            _ => None,
        }
    }

    pub(super) fn finding(&self, keys: &KeysConfig) -> Finding {
        const CHECK: &str = "database";
        let shown = self.path.display();
        let lost = |what| {
            Finding::fail(
                CHECK,
                format!("{shown} {what}, and the keys of a server are there"),
                format!("{FROM_BACKUP}; if there never was one, remove the key files"),
            )
        };
        let has_keys = || {
            let data = self.path.parent().unwrap_or(Path::new("."));
            [&keys.file, &keys.sealing_key]
                .iter()
                .any(|file| data.join(file).exists())
        };
        match &self.state {
            Ok(Content::Missing) if has_keys() => lost("is missing"),
            Ok(Content::Empty) if has_keys() => lost("is empty"),
            Ok(Content::Missing | Content::Empty) => Finding::ok(CHECK, "will be created"),
            Ok(Content::Examined(found, depth)) => self.whole(CHECK, found, *depth),
            Err(OpenError::Migrate {
                source: error @ MigrationError::Newer { .. },
                ..
            }) => Finding::fail(
                CHECK,
                format!("{shown} has {error}"),
                "or restore a backup that this version made",
            ),
            Err(error) => Finding::fail(CHECK, described(error), FROM_BACKUP),
        }
    }

    fn whole(&self, check: &'static str, found: &Examined, depth: Depth) -> Finding {
        let log = fs::metadata(wal::file(&self.path)).map_or(0, |log| log.len());
        let looked = match depth {
            Depth::Header => "not read",
            Depth::Pages => "pages intact",
            Depth::Full => "pages, indexes and references intact",
        };
        let upgrade = if found.schema < found.known {
            format!(" (becomes {} at the next start)", found.known)
        } else {
            String::new()
        };
        let text = format!(
            "schema {}{upgrade}, {} MiB and {} MiB of log, {looked}",
            found.schema,
            found.bytes / MIB,
            log / MIB
        );
        if wal::tail(&self.path) == Tail::Torn {
            return Finding::warn(
                check,
                format!("{text}; the log ends within a commit"),
                "after a crash that is normal; if files were copied or cut, restore a backup: what is cut is lost here, \
                 and devices send their own messages again",
            );
        }
        Finding::ok(check, text)
    }
}

/// An error of the store without SQLite's habit of several lines.
fn described(error: &OpenError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.lines().collect::<Vec<_>>().join(" ")
}
