//! The end of SQLite's write-ahead log, which SQLite passes over in silence: whether a commit was cut off there.
//!
//! A crash in the middle of a commit leaves the same trace as a file that was cut afterwards. A busy server that is killed
//! leaves it now and then, and nothing that was acknowledged is missing; with a file that was cut it is. The two can't be
//! told apart, so either way every log goes on behind a gap, and no number is given twice.
//! Format: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With a commit, or there is no log.
    Whole,
    /// Within a commit.
    Torn,
}

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const PAGE_SIZE: usize = 8;
/// The two salts, of the log and of each of its frames; a frame with others is of an earlier log.
const SALTS: (usize, usize) = (16, 8);
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
    File::open(file(path))
        .and_then(|log| tail_of(&log))
        .unwrap_or(Tail::Whole)
}

fn tail_of(mut log: &File) -> io::Result<Tail> {
    let length = log.metadata()?.len();
    let mut header = [0; HEADER_BYTES];
    match log.read_exact(&mut header) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return Ok(if length == 0 { Tail::Whole } else { Tail::Torn });
        }
        read => read?,
    }
    let frame_bytes = u64::from(number(&header, PAGE_SIZE)).saturating_add(24);
    let (from, salt_bytes) = SALTS;
    let salts = header.get(from..from + salt_bytes);
    let mut at = 32;
    let mut tail = Tail::Whole;
    while at < length {
        let mut frame = [0; FRAME_HEADER_BYTES];
        match log.read_exact_at(&mut frame, at) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Tail::Torn),
            read => read?,
        }
        if frame.get(FRAME_SALTS..FRAME_SALTS + salt_bytes) != salts {
            return Ok(tail);
        }
        if length - at < frame_bytes {
            return Ok(Tail::Torn);
        }
        tail = if number(&frame, COMMIT_MARK) == 0 {
            Tail::Torn
        } else {
            Tail::Whole
        };
        at += frame_bytes;
    }
    Ok(tail)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    four.map_or(0, |four| u32::from_be_bytes(*four))
}
