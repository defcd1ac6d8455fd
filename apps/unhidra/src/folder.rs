//! The data folder: who may use it, and that it is whole.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::backup::STAGING;

/// How often, and after which pauses, the lock of the data folder is tried.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// Locked by whoever uses the folder, while it does.
pub(crate) const LOCK: &str = "lock";

/// Creates the data folder and makes sure that no other server uses it. A server that is just ending gets a moment.
pub(crate) async fn open(folder: &Path) -> anyhow::Result<File> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| {
            format!(
                "create the data folder {}: choose a writable one with --data",
                folder.display()
            )
        })?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(folder.join(LOCK))
        .with_context(|| format!("write to the data folder {}", folder.display()))?;
    for _ in 0..LOCK_ATTEMPTS {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(Errno::WOULDBLOCK) => tokio::time::sleep(LOCK_PAUSE).await,
            Err(error) => return Err(error).context("lock the data folder"),
        }
    }
    bail!(
        "another server uses {}: stop it, or choose another folder with --data",
        folder.display()
    )
}

/// Makes sure that no restore into the folder was cut off.
///
/// # Errors
/// What to do about one.
pub(crate) fn is_whole(folder: &Path) -> anyhow::Result<()> {
    ensure!(
        !folder.join(STAGING).exists(),
        "a restore into {} was cut off: empty the folder and restore again",
        folder.display()
    );
    Ok(())
}
