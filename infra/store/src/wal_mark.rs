//! A mark beside the write-ahead log: how far it went when the last commit was acknowledged.
//!
//! It is written after each commit and before anyone is told, and never synchronised: it speaks only about a process that
//! ended while the system went on, where whatever was written is there. So it holds the identifier of the system's start,
//! and is worth nothing after another one. A log that goes as far as the mark lacks nothing that was acknowledged,
//! whatever follows; one that ends before it was cut.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::wal;

const BOOT_BYTES: usize = 36;
const MARK_BYTES: usize = BOOT_BYTES + 12;

/// What distinguishes a log from those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salts(pub(crate) [u8; 8]);

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) salts: Salts,
    /// Frames before it.
    pub(crate) frames: u32,
}

/// The mark of a database that is open.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    log: File,
    boot: [u8; BOOT_BYTES],
}

impl Salts {
    /// Whether the log with `next` is the one that followed. SQLite counts the first salt up when all of a log is in the
    /// database and the next begins.
    pub(crate) fn is_before(self, next: Self) -> bool {
        let first = |salts: Self| salts.0.first_chunk::<4>().map(|four| u32::from_be_bytes(*four));
        first(self).map(|salt| salt.wrapping_add(1)) == first(next)
    }
}

impl Mark {
    /// Of the database at `path`, the log of which exists. `None` where the system has no identifier of its start.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        let Some(boot) = boot() else {
            return Ok(None);
        };
        let options = || {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            options
        };
        Ok(Some(Self {
            file: options().open(file(path))?,
            log: File::open(wal::file(path))?,
            boot,
        }))
    }

    /// After a commit that left so many frames in the log.
    pub(crate) fn set(&self, frames: u32) -> io::Result<()> {
        let place = wal::place(&self.log, frames)?;
        let mut mark = [0; MARK_BYTES];
        for (to, from) in mark.iter_mut().zip(
            self.boot
                .iter()
                .chain(&place.salts.0)
                .chain(&frames.to_be_bytes()),
        ) {
            *to = *from;
        }
        self.file.write_all_at(&mark, 0)
    }
}

/// The mark of the database at `path`, if it was set since the system started.
pub(crate) fn read(path: &Path) -> Option<Place> {
    let bytes = std::fs::read(file(path)).ok()?;
    let (boot_then, place) = bytes.split_first_chunk::<BOOT_BYTES>()?;
    let (salts, frames) = place.split_first_chunk::<8>()?;
    (*boot_then == boot()?).then_some(Place {
        salts: Salts(*salts),
        frames: u32::from_be_bytes(frames.try_into().ok()?),
    })
}

fn file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-mark");
    name.into()
}

fn boot() -> Option<[u8; BOOT_BYTES]> {
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    id.first_chunk::<BOOT_BYTES>().copied()
}
