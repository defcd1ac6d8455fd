//! Copies of the database as of one moment, and what has to change in one before a server goes on from it.
//!
//! A copy is made beside a running server by a read transaction of its own: it delays no commit, and the write-ahead log
//! grows by what is committed meanwhile. `VACUUM INTO` leaves out freed pages, so what was deleted is not in the copy.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use unhidra_types::Timestamp;

use crate::{Depth, OpenError, Snapshot, StoreError, Tx, column, migration};

/// Numbers of every log that a restore leaves void: more than any server gives between a backup and its restore, so that
/// none that was given after the backup is ever given again.
pub const VOID_NUMBERS: u64 = 1 << 32;

/// A copy that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Its schema.
    pub schema: u32,
    /// Audit records in it.
    pub audit_records: u64,
}

/// What a restored database left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restoration {
    /// When the backup was made.
    pub backup_at: Timestamp,
    /// When it was restored.
    pub restored_at: Timestamp,
}

/// What was changed for a restored database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Logs that go on behind [`VOID_NUMBERS`].
    pub logs: usize,
    /// Live sessions, which may present a refresh token that the database does not know.
    pub sessions: usize,
}

/// Copies the database at `path` as it is at one moment into the new file `to`, and checks every page and reference of
/// the copy.
///
/// # Errors
/// [`OpenError`]; what was written to `to` is worth nothing then.
pub fn copy(path: &Path, to: &Path) -> Result<Copied, OpenError> {
    let failed = |source| open_failed(path, source);
    // A reader of a write-ahead log writes to its index.
    let source = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    source.busy_timeout(crate::BUSY_TIMEOUT).map_err(failed)?;
    migration::version(&source).map_err(|source| OpenError::Migrate {
        path: path.to_owned(),
        source,
    })?;
    let target = to.to_str().ok_or_else(|| OpenError::Open {
        path: to.to_owned(),
        source: rusqlite::Error::InvalidPath(to.to_owned()),
    })?;
    source.execute("VACUUM INTO ?1", [target]).map_err(failed)?;
    drop(source);
    let found = crate::examine(to, Depth::Full)?;
    Ok(Copied {
        schema: found.schema,
        audit_records: found.audit_records,
    })
}

/// Leaves [`VOID_NUMBERS`] of every log void: some that were given may be unknown to the database.
pub(crate) fn leave_gap(connection: &Connection) -> Result<usize, rusqlite::Error> {
    connection.execute(
        "UPDATE conversation SET head = head + ?1",
        [column::integer(VOID_NUMBERS)],
    )
}

fn open_failed(path: &Path, source: rusqlite::Error) -> OpenError {
    OpenError::Open {
        path: path.to_owned(),
        source,
    }
}

impl Snapshot<'_> {
    /// The last time that this database was restored from a backup.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn last_restoration(&self) -> Result<Option<Restoration>, StoreError> {
        self.connection
            .prepare_cached("SELECT backup_at, restored_at FROM restoration ORDER BY number DESC LIMIT 1")?
            .query_row([], |row| {
                let read = || {
                    Ok::<_, StoreError>(Restoration {
                        backup_at: column::time(row, "backup_at")?,
                        restored_at: column::time(row, "restored_at")?,
                    })
                };
                Ok(read())
            })
            .optional()?
            .transpose()
    }
}

impl Tx<'_> {
    /// Makes a database that was restored from a backup fit to go on: no number of a log is given twice, no one-time
    /// prekey that may be spent is handed out, and every live session may present a later refresh token once.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn resume_from_backup(&mut self, restoration: Restoration) -> Result<Resumed, StoreError> {
        let now = column::millis(restoration.restored_at);
        let db = self.connection;
        db.execute(
            "INSERT INTO restoration (backup_at, restored_at) VALUES (?1, ?2)",
            params![column::millis(restoration.backup_at), now],
        )?;
        let logs = leave_gap(db)?;
        // Which of them were handed out since the backup is not known; their devices upload others.
        db.execute("DELETE FROM one_time_prekey", [])?;
        let sessions = db.execute(
            "UPDATE session SET restored_at = ?1, refreshed_at = ?1 WHERE ended_at IS NULL",
            [now],
        )?;
        Ok(Resumed { logs, sessions })
    }
}
