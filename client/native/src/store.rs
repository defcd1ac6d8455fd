//! The device's store on SQLite, every record sealed.
//!
//! One file; keys stand in the clear (they are ids and running numbers), values never do. Commits are durable
//! (`synchronous=FULL`), deleted pages are overwritten (`secure_delete`), and two processes that share the file take
//! turns. What the medium's owner can still do is bring back an old copy of the whole file or of one record; the
//! protocol detects the former (invariant 20).

mod lock;
mod open;
mod recent;
mod seal;

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, TransactionBehavior, config::DbConfig};
use unhidra_client::store::{Store, StoreError, Transaction};

use crate::keyring::KeyringError;

use self::{lock::Header, open::Open, recent::Recent, seal::StoreKey};
pub use self::{
    lock::{KeptBy, PassphraseCost, Unlock},
    seal::SEALING_BYTES,
};

/// Version of the layout: tables, records and sealing.
pub const STORE_VERSION: u32 = 1;
/// How long a step waits for the steps of other processes.
const TURN_TIMEOUT: Duration = Duration::from_secs(20);
/// Marks the file as ours ("UNHD"), for `file` and for a clear error.
const APPLICATION_ID: i32 = 0x554e_4844;
/// SQL statements that a connection keeps prepared: all of this module.
const PREPARED_STATEMENTS: usize = 16;
/// Pages kept in memory. Rows by message lie everywhere in their tables, so a step of many messages touches as many
/// pages: what has no room is written to the log before its time, and read back from it.
const PAGE_CACHE_KIB: i32 = 16 * 1024;
/// Pages in the write-ahead log, 16 MiB, before they are brought into the file: the more there are, the more of them are
/// later versions of one page, of which only the last is brought in.
const LOG_PAGES: u32 = 4_096;

/// A sealed store in one SQLite file.
pub struct SqliteStore {
    connection: Connection,
    key: StoreKey,
    recent: Recent,
}

/// Why a store can't be opened or created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no file.
    #[error("there is no store at {}", .0.display())]
    NotFound(PathBuf),
    /// There is a file already.
    #[error("there is a store at {} already", .0.display())]
    Exists(PathBuf),
    /// The file is something else.
    #[error("{} is not a store of this program", .0.display())]
    Foreign(PathBuf),
    /// A newer program wrote it.
    #[error(
        "the store has version {found}, and this program reads up to {STORE_VERSION}: use a newer program"
    )]
    Newer {
        /// The version of the file.
        found: u32,
    },
    /// The passphrase does not open it.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The key file is that of another store.
    #[error("the key file does not fit this store")]
    WrongKeyFile,
    /// It is protected the other way.
    #[error("the store is protected by a {0}")]
    OtherProtection(&'static str),
    /// The key file can't be read, or does not hold a key.
    #[error("key file {}", .path.display())]
    KeyFile {
        /// Where it was looked for.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The keyring does not give the key.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The file can't be created.
    #[error("file {}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The operating system gives no random bytes.
    #[error("no randomness from the operating system")]
    Random(#[from] getrandom::Error),
    /// SQLite failed.
    #[error(
        "the profile's store can't be read: {0}; if it is damaged, log in with a new profile (`--profile NAME`)"
    )]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl SqliteStore {
    /// Makes a store, with a new key that `unlock` opens from now on.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when there is a file, and what creating can fail with.
    pub fn create(path: &Path, unlock: &Unlock<'_>) -> Result<Self, OpenError> {
        if path.exists() {
            return Err(OpenError::Exists(path.to_owned()));
        }
        // First: a keyring that refuses must not leave a file that is no store yet.
        let (header, key) = Header::make(unlock)?;
        let created = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match created {
            Ok(_empty) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(OpenError::Exists(path.to_owned()));
            }
            Err(source) => {
                let path = path.to_owned();
                return Err(OpenError::File { path, source });
            }
        }
        let mut connection = connect(path)?;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(
            "CREATE TABLE header (lock INTEGER NOT NULL, salt BLOB NOT NULL, memory_kib INTEGER NOT NULL,
                passes INTEGER NOT NULL, wrapped_key BLOB NOT NULL) STRICT;
             CREATE TABLE records (tbl INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
                PRIMARY KEY (tbl, key)) STRICT;",
        )?;
        header.insert(&tx)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", STORE_VERSION)?;
        tx.commit()?;
        Ok(Self::with(connection, key))
    }

    /// Opens a store.
    ///
    /// # Errors
    /// See [`OpenError`]; a wrong passphrase or key file is told apart from a damaged file.
    pub fn open(path: &Path, unlock: &Unlock<'_>) -> Result<Self, OpenError> {
        if !path.exists() {
            return Err(OpenError::NotFound(path.to_owned()));
        }
        let foreign = || OpenError::Foreign(path.to_owned());
        let connection = connect(path).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => foreign(),
            _ => error.into(),
        })?;
        let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        if application != APPLICATION_ID {
            return Err(foreign());
        }
        let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > STORE_VERSION {
            return Err(OpenError::Newer { found });
        }
        let key = Header::select(&connection)?.ok_or_else(foreign)?.open(unlock)?;
        Ok(Self::with(connection, key))
    }

    fn with(connection: Connection, key: StoreKey) -> Self {
        let recent = Recent::default();
        Self {
            connection,
            key,
            recent,
        }
    }

    /// Where the secret lies that opens the store at `path`.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], [`OpenError::Foreign`], and what reading can fail with.
    pub fn kept_by(path: &Path) -> Result<KeptBy, OpenError> {
        if !path.exists() {
            return Err(OpenError::NotFound(path.to_owned()));
        }
        let foreign = || OpenError::Foreign(path.to_owned());
        let header = connect(path).and_then(|connection| Header::select(&connection));
        let header = header.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => foreign(),
            _ => error.into(),
        })?;
        header.map(|header| header.kept_by()).ok_or_else(foreign)
    }

    /// Lets `unlock` open the store from now on, and what opened it before no longer. The records stay as they are.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn protect(&mut self, unlock: &Unlock<'_>) -> Result<(), OpenError> {
        let header = Header::wrap(&self.key, unlock)?;
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let former = Header::select(&tx)?;
        tx.execute("DELETE FROM header", ())?;
        header.insert(&tx)?;
        tx.commit()?;
        // Only now: a crash before leaves the former key where it opens the store.
        if let Some(former) = former {
            former.forget();
        }
        Ok(())
    }
}

impl Store for SqliteStore {
    fn transaction<T, E: From<StoreError>>(
        &mut self,
        step: impl FnOnce(&mut dyn Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failure)?;
        // It changes when another connection has written, and not by what this one writes.
        let version = tx
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut pragma| pragma.query_row((), |row| row.get(0)))
            .map_err(failure)?;
        self.recent.begin(version);
        // Dropping the transaction, by an error or a panic, rolls it back.
        let mut open = Open::begin(&tx, &self.key, &mut self.recent).map_err(failure)?;
        let result = step(&mut open)?;
        open.write()?;
        drop(open);
        tx.commit().map_err(failure)?;
        self.recent.commit(version);
        Ok(result)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(TURN_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "cache_size", -PAGE_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // Else every scan is compiled anew for the ends of its range.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

fn failure(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Backend(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use unhidra_client::store::Table;

    use super::*;

    struct File(tempfile::TempDir);

    impl File {
        fn new() -> Self {
            let file = Self(tempfile::tempdir().unwrap());
            SqliteStore::create(&file.path(), &Unlock::KeyFile(&file.key())).unwrap();
            file
        }

        fn open(&self) -> SqliteStore {
            SqliteStore::open(&self.path(), &Unlock::KeyFile(&self.key())).unwrap()
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("store.db")
        }

        fn key(&self) -> PathBuf {
            self.0.path().join("store.key")
        }

        fn passphrase(text: &str) -> Unlock<'_> {
            Unlock::Passphrase {
                passphrase: text,
                cost: PassphraseCost::WEAK_FOR_TESTS,
            }
        }
    }

    unhidra_client::store_contract!(File);

    #[test]
    fn a_wrong_passphrase_is_told_and_the_right_one_opens() {
        let file = File::new();
        file.open().protect(&File::passphrase("correct horse")).unwrap();
        let wrong = SqliteStore::open(&file.path(), &File::passphrase("battery staple"));
        assert!(matches!(wrong, Err(OpenError::WrongPassphrase)));
        assert!(SqliteStore::open(&file.path(), &File::passphrase("correct horse")).is_ok());
        let by_key_file = SqliteStore::open(&file.path(), &Unlock::KeyFile(&file.key()));
        assert!(matches!(
            by_key_file,
            Err(OpenError::OtherProtection("passphrase"))
        ));
    }

    #[test]
    fn where_the_secret_lies_is_known_without_it() {
        let file = File::new();
        assert_eq!(SqliteStore::kept_by(&file.path()).unwrap(), KeptBy::KeyFile);
        file.open().protect(&File::passphrase("correct horse")).unwrap();
        assert_eq!(SqliteStore::kept_by(&file.path()).unwrap(), KeptBy::Passphrase);
        std::fs::write(file.key(), [b'x'; 4096]).unwrap();
        assert!(matches!(
            SqliteStore::kept_by(&file.key()),
            Err(OpenError::Foreign(_))
        ));
    }

    #[test]
    fn the_key_file_of_another_store_is_told() {
        let (file, other) = (File::new(), File::new());
        let wrong = SqliteStore::open(&file.path(), &Unlock::KeyFile(&other.key()));
        assert!(matches!(wrong, Err(OpenError::WrongKeyFile)));
    }

    #[test]
    fn a_newer_store_is_refused() {
        let file = File::new();
        let connection = Connection::open(file.path()).unwrap();
        connection
            .pragma_update(None, "user_version", STORE_VERSION + 1)
            .unwrap();
        let newer = SqliteStore::open(&file.path(), &Unlock::KeyFile(&file.key()));
        assert!(matches!(newer, Err(OpenError::Newer { found }) if found == STORE_VERSION + 1));
    }

    #[test]
    fn another_file_is_not_taken_for_a_store() {
        let file = File::new();
        for content in [&b""[..], &[b'x'; 4096]] {
            let path = file.0.path().join("other");
            std::fs::write(&path, content).unwrap();
            let opened = SqliteStore::open(&path, &Unlock::KeyFile(&file.key()));
            assert!(matches!(opened, Err(OpenError::Foreign(_))));
        }
        let missing = SqliteStore::open(&file.0.path().join("none"), &Unlock::KeyFile(&file.key()));
        assert!(matches!(missing, Err(OpenError::NotFound(_))));
    }

    #[test]
    fn the_file_holds_no_plaintext_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = File::new();
        let mut store = file.open();
        let put: Result<(), StoreError> =
            store.transaction(|tx| tx.put(Table::Messages, b"k", b"attack at dawn"));
        put.unwrap();
        for entry in std::fs::read_dir(file.0.path()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(14).any(|window| window == b"attack at dawn"));
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
    }

    #[test]
    fn a_record_moved_to_another_key_or_table_is_damaged() {
        let file = File::new();
        let mut store = file.open();
        let put: Result<(), StoreError> = store.transaction(|tx| tx.put(Table::Messages, b"a", b"value"));
        put.unwrap();
        for (sql, table, key) in [
            ("UPDATE records SET key = x'62'", Table::Messages, b"b"),
            ("UPDATE records SET tbl = 17", Table::Queue, b"b"),
        ] {
            store.connection.execute(sql, ()).unwrap();
            let read: Result<_, StoreError> = store.transaction(|tx| tx.get(table, key));
            assert!(matches!(read, Err(StoreError::Damaged(damaged)) if damaged == table));
        }
    }
}
