//! From a data folder to one file, beside a running server.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
};

use anyhow::{Context as _, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use unhidra_store::{Depth, backup::copy, examine};
use unhidra_types::Timestamp;

use super::{
    DATABASE, MIB, TELL_EVERY,
    archive::{self, Manifest, Part, sum_of},
    contents, folder_of, room_for, sync_folder,
};
use crate::configuration::Configuration;

/// A backup that was made.
pub(crate) struct Made {
    pub(crate) file: PathBuf,
    pub(crate) manifest: Manifest,
    /// SHA-256 of the whole file.
    pub(crate) sha256: String,
}

/// Files that are worth nothing until the backup is whole.
struct Unfinished {
    archive: PathBuf,
    database: PathBuf,
    /// Held, so that nobody else writes to them.
    file: File,
}

/// Backs the data folder up into the new file `out`, and reads all of it back before it gets that name.
///
/// # Errors
/// What the operator has to correct; there is no file then.
pub(crate) fn make(
    configuration: &Configuration,
    out: &Path,
    now: Timestamp,
    tell: impl Fn(&str) + Sync,
) -> anyhow::Result<Made> {
    let data = &configuration.server.data;
    let database = data.join(DATABASE);
    ensure!(
        database.is_file(),
        "{} has no database: name the data folder with --data",
        data.display()
    );
    is_outside(data, out)?;
    let bytes = examine(&database, Depth::Header)?.bytes;
    // The copy of the database and the archive with it.
    room_for(folder_of(out), bytes.saturating_mul(2), "--out")?;
    let unfinished = Unfinished::begin(out)?;
    let copied = telling(&unfinished.database, bytes, &tell, || {
        copy(&database, &unfinished.database)
    })?;
    let mut manifest = Manifest {
        schema: copied.schema,
        audit_records: copied.audit_records,
        outside: outside(configuration),
        ..Manifest::new(now)
    };
    manifest.parts.push(part(DATABASE, &unfinished.database)?);
    for file in contents::files(data)? {
        let name = file.to_str().context("a file's name is not UTF-8")?;
        manifest.parts.push(part(name, &data.join(&file))?);
    }
    tell("writing the archive");
    archive::write(&unfinished.file, &manifest, |part| match part.name.as_str() {
        DATABASE => File::open(&unfinished.database),
        name => File::open(data.join(name)),
    })?;
    unfinished.file.sync_all().context("write the backup to disk")?;
    tell("reading it back");
    let sha256 = verify(&unfinished.file, &manifest)?;
    unfinished.finish(out)?;
    Ok(Made {
        file: out.to_owned(),
        manifest,
        sha256,
    })
}

/// Reads the whole file and compares it with what should be in it.
fn verify(mut file: &File, manifest: &Manifest) -> anyhow::Result<String> {
    file.rewind().context("read the backup back")?;
    let read = archive::read(file, |_| Ok(std::io::sink()), |_, _| Ok(()))
        .context("the backup did not come back as it was written")?;
    ensure!(
        read == *manifest,
        "the backup did not come back as it was written"
    );
    file.rewind().context("read the backup back")?;
    Ok(sum_of(file.by_ref()).context("read the backup back")?.0)
}

/// A backup inside the data folder would be part of the next one, and lost with it.
fn is_outside(data: &Path, out: &Path) -> anyhow::Result<()> {
    let folder = folder_of(out);
    let resolved =
        |path: &Path| fs::canonicalize(path).with_context(|| format!("find the folder {}", path.display()));
    ensure!(
        !resolved(folder)?.starts_with(resolved(data)?),
        "{} lies in the data folder: choose another place with --out",
        out.display()
    );
    Ok(())
}

/// Files that the server is configured to keep elsewhere.
fn outside(configuration: &Configuration) -> Vec<String> {
    let data = &configuration.server.data;
    let keys = &configuration.keys;
    let named = [&keys.file, &keys.sealing_key];
    let outside = named
        .into_iter()
        .filter(|file| !data.join(file).starts_with(data));
    outside.map(|file| file.display().to_string()).collect()
}

fn part(name: &str, path: &Path) -> anyhow::Result<Part> {
    let (sha256, bytes) = File::open(path)
        .and_then(sum_of)
        .with_context(|| format!("read {}", path.display()))?;
    Ok(Part {
        name: name.to_owned(),
        bytes,
        sha256,
    })
}

/// Does `work`, which fills `file` with about `bytes`, and says how far it is.
fn telling<T>(file: &Path, bytes: u64, tell: &(impl Fn(&str) + Sync), work: impl FnOnce() -> T) -> T {
    let (done, is_done) = sync_channel::<()>(1);
    thread::scope(|scope| {
        scope.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(TELL_EVERY) {
                let so_far = fs::metadata(file).map_or(0, |found| found.len());
                tell(&format!(
                    "copied {} of about {} MiB of the database",
                    so_far / MIB,
                    bytes / MIB
                ));
            }
        });
        let result = work();
        drop(done);
        result
    })
}

impl Unfinished {
    fn begin(out: &Path) -> anyhow::Result<Self> {
        let mut name = out.file_name().context("--out names no file")?.to_owned();
        name.push(".partial");
        let archive = out.with_file_name(&name);
        name.push(".db");
        let database = out.with_file_name(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&archive)
            .with_context(|| format!("write {}: choose a writable place with --out", archive.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "another backup is being written to {}: wait for it",
                out.display()
            );
        }
        // What a backup that was cut off has left.
        file.set_len(0).context("begin the backup")?;
        match fs::remove_file(&database) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", database.display()));
            }
            _ => {}
        }
        Ok(Self {
            archive,
            database,
            file,
        })
    }

    fn finish(&self, out: &Path) -> anyhow::Result<()> {
        fs::rename(&self.archive, out).with_context(|| format!("name the backup {}", out.display()))?;
        sync_folder(folder_of(out)).context("write the backup's name to disk")
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Under its final name the archive is not found here any more.
        for file in [&self.archive, &self.database] {
            if let Err(error) = fs::remove_file(file)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(file = %file.display(), error = %error, "unfinished file is left");
            }
        }
    }
}
