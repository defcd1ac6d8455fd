//! Room that is set aside, so that a full disk does not lock administrators out.
//!
//! Every act writes an audit record and fails if it can't, logins too. While the disk is full, `doctor --recover` gives
//! the reserve back to the server, which then takes logins and administration and no messages until there is room for a
//! reserve again.

use std::{
    convert::Infallible,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use tokio::time::MissedTickBehavior;
use unhidra_runtime::Stop;
use unhidra_store::{Health, Room, Store};

use crate::backup::{MIB, free_bytes};

/// The file's name in the data folder.
pub(crate) const RESERVE: &str = "reserve";
/// Its size.
pub(crate) const RESERVE_BYTES: u64 = 64 * MIB;
/// What has to be free beyond it before it is made.
const MARGIN: u64 = 16 * MIB;
/// With less than this free no message is taken.
const LITTLE: u64 = 8 * MIB;
/// How often a running server looks.
const PERIOD: Duration = Duration::from_secs(2);

/// Whether room is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserve {
    Kept,
    /// It would take the last room there is.
    NoRoom,
}

/// Sets room aside below `data`, unless that was done before.
///
/// # Errors
/// When the folder can't be written, for another reason than missing room.
pub(crate) fn reserve(data: &Path) -> anyhow::Result<Reserve> {
    let path = data.join(RESERVE);
    if fs::metadata(&path).is_ok_and(|found| found.len() >= RESERVE_BYTES) {
        return Ok(Reserve::Kept);
    }
    if free_bytes(data)? < RESERVE_BYTES + MARGIN {
        return Ok(Reserve::NoRoom);
    }
    match allocate(&path) {
        Ok(()) => Ok(Reserve::Kept),
        Err(error) => {
            fs::remove_file(&path)?;
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    Ok(Reserve::NoRoom)
                }
                _ => Err(error.into()),
            }
        }
    }
}

/// Gives the room back. `false` when there was none.
///
/// # Errors
/// When the file can't be removed.
pub(crate) fn release(data: &Path) -> io::Result<bool> {
    match fs::remove_file(data.join(RESERVE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Looks after the room of a running server until asked to stop: without a reserve it takes no messages, and after a
/// commit that failed it tries again.
///
/// # Errors
/// None.
///
/// # Cancellation safety
/// What was set stays set; the next look corrects it.
pub(crate) async fn watch(data: PathBuf, store: Store, stop: Stop) -> Result<(), Infallible> {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Room::Ample;
    while stop.race(ticks.tick()).await.is_some() {
        let has_room = free_bytes(&data).is_ok_and(|free| free >= LITTLE);
        let room = match has_room && is_writable(&store).await {
            // What room is left is for administrators.
            false => Room::Short,
            true => match reserve(&data) {
                Ok(Reserve::Kept) => Room::Ample,
                Ok(Reserve::NoRoom) => Room::Short,
                Err(error) => {
                    tracing::warn!(error = %error, "no room could be set aside");
                    before
                }
            },
        };
        if room != before {
            match room {
                Room::Short => tracing::error!("the disk is almost full: only administrators are served"),
                Room::Ample => tracing::info!("the disk has room again"),
            }
            store.set_room(room);
            before = room;
        }
    }
    Ok(())
}

/// Tries again after a commit that failed.
async fn is_writable(store: &Store) -> bool {
    if store.health() != Health::Failing {
        return true;
    }
    let probed = store.probe().await;
    if let Err(error) = &probed {
        tracing::error!(error = %error, "the database can't be written: make room, or run `unhidra doctor --recover`");
    }
    probed.is_ok()
}

fn allocate(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
        // A file system that can't promise room gets it by writing.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let zeros = vec![0; 1 << 20];
            for _ in 0..RESERVE_BYTES / MIB {
                file.write_all(&zeros)?;
            }
        }
        allocated => allocated?,
    }
    file.sync_all()
}
