//! The audit log: appended in the transaction of the act, numbered without gaps.

use rusqlite::{OptionalExtension as _, params};
use unhidra_audit::{HEADER_BYTES, Record, SALT_BYTES};
use unhidra_types::Timestamp;

use crate::{Snapshot, StoreError, Tx, column};

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number, from 1.
    pub number: u64,
    /// When the act happened.
    pub at: Timestamp,
    /// The number of the act.
    pub act: u16,
    /// Canonical bytes.
    pub header: [u8; HEADER_BYTES],
    /// Hash of salt and payload.
    pub commitment: [u8; 32],
    /// The details as JSON, unless they were deleted.
    pub payload: Option<Vec<u8>>,
}

impl Tx<'_> {
    /// Appends a record with a fresh random `salt`; it becomes durable with the act, or neither does.
    ///
    /// # Errors
    /// [`StoreError`]; the act must fail then.
    pub fn append_audit(&mut self, record: &Record, salt: [u8; SALT_BYTES]) -> Result<u64, StoreError> {
        let sealed = record.seal(salt);
        let org = record.org.map_or([0; 16], |org| *org.as_bytes());
        let number: i64 = self
            .connection
            .prepare_cached(
                "INSERT INTO audit_record (org_id, at, act, header, commitment) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING number",
            )?
            .query_row(
                params![org, column::millis(record.at), record.act.number(), sealed.header, sealed.commitment],
                |row| row.get(0),
            )?;
        self.connection
            .prepare_cached("INSERT INTO audit_payload (number, salt, payload) VALUES (?1, ?2, ?3)")?
            .execute(params![number, sealed.salt, sealed.payload])?;
        u64::try_from(number).map_err(|_| StoreError::Corrupt("number"))
    }
}

impl Snapshot<'_> {
    /// At most `limit` records after the number `after`, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn audit_records(&self, after: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT r.number, r.at, r.act, r.header, r.commitment, p.payload
                 FROM audit_record r LEFT JOIN audit_payload p ON p.number = r.number
                 WHERE r.number > ?1 ORDER BY r.number LIMIT ?2",
            )?
            .query_map(params![column::integer(after), limit], |row| {
                Ok(audit_record(row))
            })?
            .map(|row| row?)
            .collect()
    }

    /// The number of the last record; 0 when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn last_audit_number(&self) -> Result<u64, StoreError> {
        let number: Option<i64> = self
            .connection
            .prepare_cached("SELECT number FROM audit_record ORDER BY number DESC LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        u64::try_from(number.unwrap_or(0)).map_err(|_| StoreError::Corrupt("number"))
    }
}

fn audit_record(row: &rusqlite::Row<'_>) -> Result<AuditRecord, StoreError> {
    Ok(AuditRecord {
        number: column::number(row, "number")?,
        at: column::time(row, "at")?,
        act: column::number(row, "act")?,
        header: column::array(row, "header")?,
        commitment: column::array(row, "commitment")?,
        payload: column::value(row, "payload")?,
    })
}
