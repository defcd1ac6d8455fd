//! Looks at a database without changing it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use unhidra_types::Timestamp;

use crate::{BUSY_TIMEOUT, OpenError, Snapshot, StoreError, column, migration};

/// The first schema with accounts and audit records.
const FIRST_WITH_ACCOUNTS: u32 = 2;

/// How closely a database is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// That it opens and which schema it has: a moment.
    Header,
    /// Also that its pages do not contradict each other: seconds for each GiB.
    Pages,
    /// Also its indexes and the references between its tables: minutes for each GiB.
    Full,
}

/// What a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Number of the last step of its schema; 0 before the first.
    pub schema: u32,
    /// That of this program, to which opening would bring it.
    pub known: u32,
    /// Whether anyone has an account.
    pub has_accounts: bool,
    /// When the last audit record was written.
    pub last_record_at: Option<Timestamp>,
    /// Audit records in it.
    pub audit_records: u64,
    /// Bytes of its pages, without those that are free.
    pub bytes: u64,
}

/// Looks at a database without changing it.
///
/// # Errors
/// [`OpenError`] when it can't be read, is damaged, or is newer than this program.
pub fn examine(path: &Path, depth: Depth) -> Result<Examined, OpenError> {
    let open = |source| OpenError::Open {
        path: path.to_owned(),
        source,
    };
    let damaged = |report| OpenError::Damaged {
        path: path.to_owned(),
        report,
    };
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(open)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(open)?;
    let schema = migration::version(&connection).map_err(|source| OpenError::Migrate {
        path: path.to_owned(),
        source,
    })?;
    let check = match depth {
        Depth::Header => None,
        Depth::Pages => Some("PRAGMA quick_check(1)"),
        Depth::Full => Some("PRAGMA integrity_check(1)"),
    };
    if let Some(check) = check {
        let report: String = connection.query_row(check, [], |row| row.get(0)).map_err(open)?;
        if report != "ok" {
            return Err(damaged(report));
        }
    }
    if depth == Depth::Full {
        let orphan = connection
            .query_row("PRAGMA foreign_key_check", [], |row| row.get::<_, String>(0))
            .optional()
            .map_err(open)?;
        if let Some(table) = orphan {
            return Err(damaged(format!("a row of {table} refers to nothing")));
        }
    }
    contents(&connection, schema).map_err(|error| match error {
        StoreError::Sqlite(source) => open(source),
        other => damaged(other.to_string()),
    })
}

fn contents(connection: &Connection, schema: u32) -> Result<Examined, StoreError> {
    let snapshot = Snapshot::new(connection);
    let has_tables = schema >= FIRST_WITH_ACCOUNTS;
    let last_record_at = if has_tables {
        connection
            .query_row(
                "SELECT at FROM audit_record ORDER BY number DESC LIMIT 1",
                [],
                |row| Ok(column::time(row, "at")),
            )
            .optional()?
            .transpose()?
    } else {
        None
    };
    let audit_records = if has_tables {
        connection.query_row(
            "SELECT coalesce(max(number), 0) AS number FROM audit_record",
            [],
            |row| Ok(column::number(row, "number")),
        )??
    } else {
        0
    };
    Ok(Examined {
        schema,
        audit_records,
        known: migration::known(),
        has_accounts: has_tables && snapshot.has_accounts()?,
        last_record_at,
        bytes: connection.query_row(
            "SELECT (c.page_count - f.freelist_count) * s.page_size AS bytes
             FROM pragma_page_count() c, pragma_freelist_count() f, pragma_page_size() s",
            [],
            |row| Ok(column::number(row, "bytes")),
        )??,
    })
}
