//! The server's database: SQLite, one writer, several readers, durable before anyone is told.
//!
//! It knows tables and transactions, no product rules: who may write what is decided before a [`Tx`] method is called.
//! Queries are methods on [`Snapshot`] (reading) and [`Tx`] (writing), one file for each aggregate.
//!
//! - [`writer`]: the queue of acts and the group commit    - [`reader`]: the pool that reads snapshots
//! - [`migration`]: the numbered schema                     - [`event`], [`feed`]: what commits tell the rest of the server
//! - [`conversation`], [`control`], [`entry`], [`cursor`]: logs, their content, and how far each device has read
//! - [`log_tx`]: transactions, the hot path first, and what it keeps in memory: [`facts`], `accepted`, `pending`
//! - [`account`], [`invitation`], [`session`], [`recovery`]: who there is
//! - [`audit`], [`audit_tree`], [`audit_check`]: what was written down, what commits to it, whether it is intact
//! - [`chain`], [`device`], [`prekey`], [`link`]: which devices speak for them, and how to reach those
//! - [`standing`], [`roster`]: who may be used, and what administration lists   - [`idempotency`]: requests that come again
//! - [`backup`]: copies as of one moment, and going on from one   - [`examine`](mod@examine), [`wal`]: is it whole?
//!
//! Invariant: when [`Store::write`] returns `Ok`, the act is on disk; when it returns an error, none of it is.
#![warn(missing_docs)]

pub mod account;
pub mod audit;
pub mod audit_check;
pub mod audit_tree;
pub mod backup;
pub mod chain;
pub mod control;
pub mod conversation;
pub mod cursor;
pub mod device;
pub mod entry;
pub mod event;
pub mod examine;
pub mod facts;
pub mod feed;
pub mod former_chain;
pub mod idempotency;
pub mod invitation;
pub mod link;
pub mod log_tx;
pub mod migration;
pub mod prekey;
pub mod reader;
pub mod recovery;
pub mod roster;
pub mod session;
pub mod standing;
pub mod wal;
pub mod writer;

mod accepted;
mod checkpoint;
mod column;
mod pending;
mod wal_mark;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig, ffi};

pub use event::Event;
pub use examine::{Depth, Examined, examine};
pub use feed::CommitFeed;
pub use log_tx::{LogTx, Tx};
pub use reader::Snapshot;

/// Prepared statements that each connection keeps.
const STATEMENTS: usize = 128;
/// KiB of pages that the writer keeps: what one commit touches, so that none of it is written twice.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
/// KiB of pages that each reader keeps: those of one look. Whatever is committed makes it read all of them again.
const READER_CACHE_KIB: i64 = 512;
/// How long a connection waits for another's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused or failed; the cause says why.
    #[error("database failed")]
    Sqlite(#[source] rusqlite::Error),
    /// The disk is full, or refuses to be written to: nothing was stored.
    #[error("disk is full or can't be written")]
    DiskFull,
    /// A stored value does not have the form that its column promises.
    #[error("column {0} holds an impossible value")]
    Corrupt(&'static str),
    /// The commit that the act was part of failed; nothing of it was stored.
    #[error("commit failed")]
    CommitFailed,
    /// More acts, or more bytes of them, wait than the queue holds: try again later.
    #[error("too many writes are waiting")]
    Overloaded,
    /// The store is closed.
    #[error("store is closed")]
    Closed,
}

impl StoreError {
    /// Whether it passes by itself, without anyone doing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Overloaded | Self::Closed)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull,
            // What SQLite says when a quota or a limit on files is reached.
            _ if error.sqlite_error().map(|error| error.extended_code) == Some(ffi::SQLITE_IOERR_WRITE) => {
                Self::DiskFull
            }
            _ => Self::Sqlite(error),
        }
    }
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file can't be opened or is not a database.
    #[error("open database {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The schema could not be brought up to date.
    #[error("migrate database {path}")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: migration::MigrationError,
    },
    /// The file's pages contradict each other.
    #[error("database {path} is damaged: {report}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found first.
        report: String,
    },
    /// The mark beside the write-ahead log can't be opened.
    #[error("open the mark beside the database's log")]
    Mark(#[source] std::io::Error),
    /// One of the database's threads could not be started.
    #[error("start the database writer")]
    Thread(#[source] std::io::Error),
}

/// The open database. Clones share one writer and one pool of readers.
#[derive(Clone)]
pub struct Store {
    writer: writer::Writer,
    readers: Arc<reader::Readers>,
}

/// What there is room for on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Everything.
    Ample,
    /// Acts that hold no bytes.
    Short,
}

/// How writing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The last commit went well.
    Good,
    /// Acts that hold bytes are refused: [`Store::set_room`].
    Short,
    /// The last commit that had something to write failed.
    Failing,
}

impl Store {
    /// Opens the database at `path`, creating or migrating it.
    ///
    /// # Errors
    /// [`OpenError`] when the file can't be opened, is newer than this program, or is not a database.
    pub fn open(path: &Path, readers: usize) -> Result<(Self, CommitFeed), OpenError> {
        let open = |source| OpenError::Open {
            path: path.to_owned(),
            source,
        };
        // Before SQLite takes in what is whole of it.
        let is_torn = wal::tail(path) == wal::Tail::Torn;
        let mut connection = connect(path).map_err(open)?;
        migration::migrate(&mut connection).map_err(|source| OpenError::Migrate {
            path: path.to_owned(),
            source,
        })?;
        if is_torn {
            tracing::warn!(
                "the database's log was cut, or its end lost: every conversation goes on behind a gap"
            );
            backup::leave_gap(&connection).map_err(open)?;
        }
        let reader = || {
            let reader = connect(path)?;
            reader.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
            Ok(reader)
        };
        let readers = (0..readers.max(1))
            .map(|_| reader())
            .collect::<Result<Vec<_>, _>>()
            .map_err(open)?;
        let (feed, events) = feed::feed();
        connection
            .pragma_update(None, "cache_size", -WRITER_CACHE_KIB)
            .map_err(open)?;
        let checkpoints = connect(path).map_err(open)?;
        let mark = wal_mark::Mark::open(path).map_err(OpenError::Mark)?;
        let checkpoints = checkpoint::Checkpoints::start(checkpoints, mark).map_err(OpenError::Thread)?;
        let hot = log_tx::Hot::of(&connection).map_err(open)?;
        let writer = writer::Writer::start(connection, hot, checkpoints, feed).map_err(OpenError::Thread)?;
        Ok((
            Self {
                writer,
                readers: Arc::new(reader::Readers::new(readers)),
            },
            events,
        ))
    }

    /// Queues `act` for the writer at once, in the order of the calls; the future answers when it is durable.
    /// An error of `act` undoes it alone.
    ///
    /// # Errors
    /// What `act` returns; or, converted from [`StoreError`], why it could not be made durable.
    ///
    /// # Cancellation safety
    /// The act runs and commits whether or not the future is still awaited.
    pub fn write<T, E, A>(&self, act: A) -> impl Future<Output = Result<T, E>> + Send + use<T, E, A> + 'static
    where
        A: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.submit(0, |tx| tx.any(act), || {})
    }

    /// As [`Store::write`], for an act that holds `bytes` of what it is to store. When all that wait hold too many, it is
    /// refused as [`StoreError::Overloaded`], while acts that hold nothing still find room. When it did not run, or what it
    /// did was not stored, `unsaved` is called before any act that was queued later runs.
    ///
    /// # Errors
    /// As [`Store::write`].
    ///
    /// # Cancellation safety
    /// As [`Store::write`].
    pub fn write_holding<T, E, A, U>(
        &self,
        bytes: usize,
        act: A,
        unsaved: U,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, A, U> + 'static
    where
        U: Fn() + Clone + Send + 'static,
        A: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.submit(bytes, |tx| tx.any(act), unsaved)
    }

    /// As [`Store::write_holding`], for an act that only appends to logs of conversations and moves cursors.
    ///
    /// # Errors
    /// As [`Store::write`].
    ///
    /// # Cancellation safety
    /// As [`Store::write`].
    pub fn write_log<T, E, A, U>(
        &self,
        bytes: usize,
        act: A,
        unsaved: U,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, A, U> + 'static
    where
        U: Fn() + Clone + Send + 'static,
        A: FnOnce(&mut LogTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.submit(bytes, act, unsaved)
    }

    /// Commits since the store was opened, each counted when readers see it and before the feed tells of it. So what is
    /// read after this is the same until the number changes, for whoever hears what the feed tells by then.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Runs `query` on a reader, which sees one consistent state of the database.
    ///
    /// # Errors
    /// What `query` returns, or [`StoreError::Closed`].
    pub async fn read<T, E>(
        &self,
        query: impl FnOnce(&Snapshot<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.readers.run(query).await
    }

    /// Refuses acts that hold bytes as [`StoreError::DiskFull`] from now on, or takes them again: a disk that is almost
    /// full is left to administrators.
    pub fn set_room(&self, room: Room) {
        self.writer.set_short(room == Room::Short);
    }

    /// Whether acts can be stored, as far as is known without trying.
    #[must_use]
    pub fn health(&self) -> Health {
        match (self.writer.is_failing(), self.writer.is_short()) {
            (true, _) => Health::Failing,
            (false, true) => Health::Short,
            (false, false) => Health::Good,
        }
    }

    /// Writes something that changes nothing, which tells whether the disk can be written again.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] when it can't.
    ///
    /// # Cancellation safety
    /// As [`Store::write`].
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.write(|tx| {
            tx.connection
                .execute("UPDATE organisation SET created_at = created_at", [])?;
            Ok(())
        })
        .await
    }

    /// Lets acts that wait finish, refuses new ones, and waits until the writer has closed the database.
    ///
    /// # Cancellation safety
    /// The writer closes in any case; a dropped call only stops waiting for it.
    pub async fn close(&self) {
        self.writer.close().await;
    }
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Otherwise statements are planned anew whenever they are bound to other values, which costs more than they do.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}
