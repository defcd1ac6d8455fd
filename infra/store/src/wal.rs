//! The end of SQLite's write-ahead log, which SQLite passes over in silence: whether something that was acknowledged is
//! missing there.
//!
//! A server that is killed in the middle of a commit leaves the same trace as a file that was cut afterwards. What tells
//! them apart is the mark beside the log ([`crate::wal_mark`]). Where it can't, every log goes on behind a gap, and no number
//! is given twice. Format: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::wal_mark::{self, Place, Salts};

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With a commit, or with one that nobody was told of; or there is no log.
    Whole,
    /// Something that was acknowledged may be missing.
    Torn,
}

/// What a log holds.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    salts: Option<Salts>,
    /// Frames through the end of the last commit.
    frames: u32,
    /// There is more after it, or part of a header.
    has_more: bool,
}

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const PAGE_SIZE: usize = 8;
/// The two salts, of the log and of each of its frames; a frame with others is of an earlier log.
const SALTS: u64 = 16;
const FRAME_SALTS: usize = 8;
/// Pages of the database after the commit; zero in all frames of a commit but the last.
const COMMIT_MARK: usize = 4;

/// The log of the database at `path`.
#[must_use]
pub fn file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// How the log of the database at `path` ends. Of a database in use it may be in the middle of a commit.
#[must_use]
pub fn tail(path: &Path) -> Tail {
    // What can't be read is for SQLite to complain about.
    let held = File::open(file(path))
        .and_then(|log| held(&log))
        .unwrap_or_default();
    let known = held.salts.and_then(|salts| Some((salts, wal_mark::read(path)?)));
    let is_whole = match known {
        // All of the last log is in the database: this one begins with a commit that was not completed.
        Some((salts, mark)) if mark.salts.is_before(salts) => !held.has_more || held.frames == 0,
        Some((salts, mark)) if mark.salts == salts && held.has_more => mark.frames == held.frames,
        Some((salts, mark)) if mark.salts == salts => mark.frames <= held.frames,
        _ => !held.has_more,
    };
    if is_whole { Tail::Whole } else { Tail::Torn }
}

/// Where the log of the database in use ends after a commit that left `frames` in it.
pub(crate) fn place(log: &File, frames: u32) -> io::Result<Place> {
    let mut salts = [0; 8];
    log.read_exact_at(&mut salts, SALTS)?;
    Ok(Place {
        salts: Salts(salts),
        frames,
    })
}

fn held(mut log: &File) -> io::Result<Held> {
    let length = log.metadata()?.len();
    let mut header = [0; HEADER_BYTES];
    match log.read_exact(&mut header) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return Ok(Held {
                has_more: length > 0,
                ..Held::default()
            });
        }
        read => read?,
    }
    let frame_bytes = u64::from(number(&header, PAGE_SIZE)).saturating_add(24);
    let salts = place(log, 0)?.salts;
    let mut held = Held {
        salts: Some(salts),
        ..Held::default()
    };
    let (mut at, mut frames) = (32, 0);
    while at < length {
        let mut frame = [0; FRAME_HEADER_BYTES];
        let read = log.read_exact_at(&mut frame, at);
        let is_short = matches!(&read, Err(error) if error.kind() == ErrorKind::UnexpectedEof);
        if is_short || length - at < frame_bytes {
            held.has_more |= is_short
                || frame
                    .get(FRAME_SALTS..)
                    .is_some_and(|rest| rest.starts_with(&salts.0));
            return Ok(held);
        }
        read?;
        if !frame
            .get(FRAME_SALTS..)
            .is_some_and(|rest| rest.starts_with(&salts.0))
        {
            return Ok(held);
        }
        frames += 1;
        held.has_more = number(&frame, COMMIT_MARK) == 0;
        if !held.has_more {
            held.frames = frames;
        }
        at += frame_bytes;
    }
    Ok(held)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    four.map_or(0, |four| u32::from_be_bytes(*four))
}
