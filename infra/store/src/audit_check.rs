//! Checks the audit tables of a database that need not be served, against the key that signs its tree heads alone.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use unhidra_audit::{
    Checker, Header, Report, Stored,
    check::{Fault, Place},
};
use unhidra_tree::SignedHead;

use crate::{OpenError, StoreError, audit_tree::signed_head, migration};

/// How many records lie between two calls of the caller's progress.
const TELL_EVERY: u64 = 10_000;

/// Why there was no check.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The database can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database was written before there was a tree; the next start of the server builds it.
    #[error("the database has no audit tree yet: start the server once, which builds it")]
    NoTree,
}

/// How many rows each table has and says that it has.
struct Extent {
    /// The largest number of a record.
    records: u64,
    /// The largest number of a row of the tree.
    nodes: u64,
    /// What the count of records says.
    counted: Option<u64>,
    /// What the count of heads says.
    counted_heads: Option<u64>,
}

/// Reads every record, payload, tree row and head, without changing anything. `earlier` is a head that is known from
/// elsewhere; `progress` hears how many records are done, and how many there are.
///
/// # Errors
/// [`CheckError`]. What does not fit is in the report, not an error.
pub fn check_audit(
    path: &Path,
    key: [u8; 32],
    earlier: Option<SignedHead>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, CheckError> {
    let open = |source| OpenError::Open {
        path: path.to_owned(),
        source,
    };
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(open)?;
    migration::version(&connection).map_err(|source| OpenError::Migrate {
        path: path.to_owned(),
        source,
    })?;
    // One consistent state, while a server may append.
    let connection = connection.unchecked_transaction().map_err(open)?;
    if !connection
        .table_exists(None, "audit_node")
        .map_err(StoreError::from)?
    {
        return Err(CheckError::NoTree);
    }
    let extent = Extent::of(&connection)?;
    let (size, notes) = extent.size();
    let (heads, head_notes) = heads(&connection, extent.counted_heads)?;
    let earlier = earlier.map(|head| (Place::EarlierHead, head));
    let mut checker = Checker::new(key, size, heads.into_iter().chain(earlier));
    for (place, fault) in notes.into_iter().chain(head_notes) {
        checker.find(place, fault);
    }
    check_records(&connection, &mut checker, size, &mut progress)?;
    check_strays(&connection, &mut checker, size)?;
    Ok(checker.finish())
}

impl Extent {
    fn of(connection: &Connection) -> Result<Self, StoreError> {
        let last = |table: &str| -> Result<u64, StoreError> {
            let sql = format!("SELECT max(number) FROM {table}");
            let last: Option<i64> = connection.query_row(&sql, [], |row| row.get(0))?;
            Ok(last.and_then(|last| u64::try_from(last).ok()).unwrap_or(0))
        };
        let counts: Option<(i64, i64)> = connection
            .query_row("SELECT records, heads FROM audit_count WHERE id = 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        Ok(Self {
            records: last("audit_record")?,
            nodes: last("audit_node")?,
            counted: counts.and_then(|(records, _)| u64::try_from(records).ok()),
            counted_heads: counts.and_then(|(_, heads)| u64::try_from(heads).ok()),
        })
    }

    /// How many records there should be: what two of the three places agree on.
    fn size(&self) -> (u64, Vec<(Place, Fault)>) {
        let counted = self.counted.unwrap_or(0);
        let size = if self.records == self.nodes {
            self.records
        } else {
            counted
        };
        let what = "records";
        let fault = Fault::Count {
            what,
            says: counted,
            found: size,
        };
        let notes = (self.counted != Some(size)).then_some((Place::Log, fault));
        (size, notes.into_iter().collect())
    }
}

type Heads = (Vec<(Place, SignedHead)>, Vec<(Place, Fault)>);

fn heads(connection: &Connection, counted: Option<u64>) -> Result<Heads, StoreError> {
    let (mut heads, mut notes) = (Vec::new(), Vec::new());
    let mut statement = connection.prepare("SELECT * FROM audit_head ORDER BY number")?;
    let mut rows = statement.query([])?;
    let mut expected = 1;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        let number: i64 = row.get("number")?;
        let number = u64::try_from(number).unwrap_or(0);
        let place = Place::Head(number);
        if number != expected {
            // Deleted, or moved to another number: the numbers say which are not there.
            notes.push((Place::Head(expected), Fault::Missing));
        }
        expected = number.saturating_add(1);
        match signed_head(row) {
            Ok(head) => heads.push((place, head)),
            Err(_unreadable) => notes.push((place, Fault::Unreadable)),
        }
    }
    if counted != Some(count) {
        let says = counted.unwrap_or(0);
        let what = "tree heads";
        notes.push((
            Place::Log,
            Fault::Count {
                what,
                says,
                found: count,
            },
        ));
    }
    Ok((heads, notes))
}

fn check_records(
    connection: &Connection,
    checker: &mut Checker,
    size: u64,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), StoreError> {
    let mut node = connection.prepare("SELECT hashes FROM audit_node WHERE number = ?1")?;
    let mut statement = connection.prepare(
        "SELECT r.number, r.org_id, r.at, r.act, r.header, r.commitment, p.salt, p.payload, n.hashes
         FROM audit_record r
         LEFT JOIN audit_payload p ON p.number = r.number
         LEFT JOIN audit_node n ON n.number = r.number
         ORDER BY r.number",
    )?;
    let mut fill = |checker: &mut Checker, through: u64| -> Result<(), StoreError> {
        while checker.done() < through.min(size) {
            let next = i64::try_from(checker.done() + 1).unwrap_or(i64::MAX);
            let hashes: Option<Vec<u8>> = node.query_row([next], |row| row.get(0)).optional()?;
            checker.missing(hashes.as_deref());
        }
        Ok(())
    };
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get("number")?;
        let number = u64::try_from(number).unwrap_or(0);
        fill(checker, number.saturating_sub(1))?;
        let salt = row.get_ref("salt")?.as_blob_or_null().unwrap_or_default();
        let details = row.get_ref("payload")?.as_blob_or_null().unwrap_or_default();
        let stored = Stored {
            number,
            header: row.get_ref("header")?.as_blob().unwrap_or_default(),
            commitment: row.get_ref("commitment")?.as_blob().unwrap_or_default(),
            payload: salt.zip(details),
            hashes: row.get_ref("hashes")?.as_blob_or_null().unwrap_or_default(),
        };
        checker.record(&stored);
        check_columns(row, &stored, checker)?;
        if number.is_multiple_of(TELL_EVERY) {
            progress(number, size);
        }
    }
    fill(checker, size)
}

/// The columns that queries use repeat what the header says.
fn check_columns(
    row: &rusqlite::Row<'_>,
    stored: &Stored<'_>,
    checker: &mut Checker,
) -> Result<(), StoreError> {
    let Some(header) = Header::read(stored.header) else {
        return Ok(());
    };
    let at = i64::try_from(header.at.as_millis()).unwrap_or(i64::MAX);
    let fits = [
        (
            "org_id",
            row.get_ref("org_id")?.as_blob().ok() == Some(&header.org),
        ),
        ("at", row.get_ref("at")?.as_i64().ok() == Some(at)),
        (
            "act",
            row.get_ref("act")?.as_i64().ok() == Some(header.act.into()),
        ),
    ];
    for (column, _) in fits.into_iter().filter(|(_, fits)| !fits) {
        checker.find(Place::Record(stored.number), Fault::Column(column));
    }
    Ok(())
}

/// Payloads and tree rows beyond the log; those of a deleted record are part of its finding.
fn check_strays(connection: &Connection, checker: &mut Checker, size: u64) -> Result<(), StoreError> {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let place = [
        ("audit_payload", Place::Payload as fn(u64) -> Place),
        ("audit_node", Place::Node),
    ];
    for (table, place) in place {
        let sql = format!("SELECT number FROM {table} WHERE number < 1 OR number > ?1");
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([size])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            checker.find(place(u64::try_from(number).unwrap_or(0)), Fault::Stray);
        }
    }
    Ok(())
}
