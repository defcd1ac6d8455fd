//! From one file to a data folder on which a server goes on (ADR 0012).
//!
//! Everything is unpacked and checked in a folder inside the data folder, so that a volume can be one; then moved, the
//! database last. While that inner folder is there, no server starts.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, ensure};
use unhidra_audit::{Act, Actor, Details, Record, Subject};
use unhidra_runtime::Context;
use unhidra_store::{
    Depth, Store, StoreError,
    backup::{Restoration, Resumed},
    examine,
};

use super::{
    DATABASE, MIB, STAGING,
    archive::{self, Manifest},
    folder_of, room_for, sync_folder,
};
use crate::{configuration::Configuration, disk, folder};

/// Reads a backup to its end and checks it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(file: &Path) -> anyhow::Result<Manifest> {
    let opened = File::open(file).with_context(|| format!("open {}", file.display()))?;
    archive::read(opened, |_| Ok(io::sink()), |_, _| Ok(()))
        .with_context(|| format!("{} can't be restored", file.display()))
}

/// Restores a backup that was checked into the empty or missing data folder.
///
/// # Errors
/// What the operator has to correct; the folder is as it was then.
pub(crate) async fn restore(
    configuration: &Configuration,
    file: &Path,
    manifest: &Manifest,
    context: &Context,
    tell: impl Fn(&str),
) -> anyhow::Result<Resumed> {
    let data = &configuration.server.data;
    is_empty(data)?;
    let _lock = folder::open(data).await?;
    // Once more, as nobody else can have it now.
    is_empty(data)?;
    room_for(data, manifest.bytes(), "--data")?;
    let staging = data.join(STAGING);
    let staged = async {
        unpack(file, &staging, &tell)?;
        tell("checking the database");
        resume(&staging, manifest, context).await
    };
    match staged.await {
        Ok(resumed) => {
            move_all(&staging, data, manifest)?;
            disk::reserve(data).context("set space aside")?;
            Ok(resumed)
        }
        Err(error) => {
            fs::remove_dir_all(&staging).with_context(|| format!("remove {}", staging.display()))?;
            Err(error)
        }
    }
}

fn is_empty(data: &Path) -> anyhow::Result<()> {
    let entries = match fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("read the folder {}", data.display()))?,
    };
    for entry in entries {
        let name = entry
            .with_context(|| format!("read the folder {}", data.display()))?
            .file_name();
        ensure!(
            name == "lock" || name == "lost+found",
            "{} is not empty: a backup is restored into an empty folder; move what is there elsewhere, or choose another \
             with --data",
            data.display()
        );
    }
    Ok(())
}

fn unpack(file: &Path, staging: &Path, tell: &impl Fn(&str)) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(staging)
        .with_context(|| format!("make {}", staging.display()))?;
    let opened = File::open(file).with_context(|| format!("open {}", file.display()))?;
    archive::read(
        opened,
        |part| {
            tell(&format!("unpacking {} ({} MiB)", part.name, part.bytes / MIB));
            let path = staging.join(&part.name);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder_of(&path))
                .with_context(|| format!("make the folder of {}", path.display()))?;
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .with_context(|| format!("write {}", path.display()))
        },
        |part, file| {
            file.sync_all()
                .with_context(|| format!("write {} to disk", part.name))
        },
    )?;
    Ok(())
}

/// Brings the database up to date and makes it fit to go on, and checks it before and after.
async fn resume(staging: &Path, manifest: &Manifest, context: &Context) -> anyhow::Result<Resumed> {
    let path = staging.join(DATABASE);
    examine(&path, Depth::Full)?;
    let restoration = Restoration {
        backup_at: manifest.made_at,
        restored_at: context.now,
    };
    let record = Record {
        at: context.now,
        org: None,
        actor: Actor::Server,
        act: Act::ServerRestored,
        subject: Subject::Server,
        request: *context.request_id.as_bytes(),
        details: Details {
            count: Some(manifest.audit_records),
            ..Details::default()
        },
    };
    let salt = context.random();
    let (store, commits) = Store::open(&path, 1)?;
    let resumed = store
        .write(move |tx| {
            let resumed = tx.resume_from_backup(restoration)?;
            tx.append_audit(&record, salt)?;
            Ok::<_, StoreError>(resumed)
        })
        .await
        .context("make the database fit to go on")?;
    store.close().await;
    drop((store, commits));
    // It would stay behind: the last one to close the database has put it in its place.
    ensure!(
        !staging.join(format!("{DATABASE}-wal")).exists(),
        "the restored database was not closed"
    );
    examine(&path, Depth::Full)?;
    Ok(resumed)
}

/// Moves every part to its place, the database last, and removes the staging folder, which ends the restore.
fn move_all(staging: &Path, data: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let (database, others): (Vec<_>, Vec<_>) = manifest.parts.iter().partition(|part| part.name == DATABASE);
    for part in others.into_iter().chain(database) {
        let to = data.join(&part.name);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder_of(&to))
            .with_context(|| format!("make the folder of {}", to.display()))?;
        fs::rename(staging.join(&part.name), &to)
            .with_context(|| format!("put {} in its place", part.name))?;
        sync_folder(folder_of(&to)).context("write the data folder to disk")?;
    }
    fs::remove_dir_all(staging).with_context(|| format!("remove {}", staging.display()))?;
    sync_folder(data).context("write the data folder to disk")
}
