//! The audit log: appended in the transaction of the act, numbered without gaps, with its Merkle tree.

use rusqlite::{OptionalExtension as _, params};
use unhidra_audit::{Header, Record, SALT_BYTES};
use unhidra_types::Timestamp;

use crate::{Snapshot, StoreError, Tx, column};

/// The most records that one search looks at, so that a rare match does not hold a reader up.
pub const MAX_SEARCHED: u64 = 20_000;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number, from 1.
    pub number: u64,
    /// When the act happened.
    pub at: Timestamp,
    /// The number of the act.
    pub act: u16,
    /// Canonical bytes, as they are stored.
    pub header: Vec<u8>,
    /// Hash of salt and payload.
    pub commitment: Vec<u8>,
    /// The salt of the payload, unless it was erased.
    pub salt: Option<Vec<u8>>,
    /// The details as JSON, unless they were erased.
    pub payload: Option<Vec<u8>>,
    /// The hashes of the tree that it completed.
    pub hashes: Vec<u8>,
}

/// Which records are looked for; an absent field fits every record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The number of the act.
    pub act: Option<u16>,
    /// The user or device that did it.
    pub actor: Option<[u8; 16]>,
    /// To whom it was done.
    pub subject: Option<[u8; 16]>,
    /// Not before this.
    pub from: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
    /// Letters of the details.
    pub text: Option<String>,
}

/// One page of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// In order of their numbers.
    pub records: Vec<AuditRecord>,
    /// The number after which there may be more.
    pub next: Option<u64>,
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
            .prepare_cached("UPDATE audit_count SET records = records + 1 WHERE id = 1 RETURNING records")?
            .query_row([], |row| row.get(0))?;
        self.connection
            .prepare_cached(
                "INSERT INTO audit_record (number, org_id, at, act, header, commitment) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                number,
                org,
                column::millis(record.at),
                record.act.number(),
                sealed.header,
                sealed.commitment
            ])?;
        self.connection
            .prepare_cached("INSERT INTO audit_payload (number, salt, payload) VALUES (?1, ?2, ?3)")?
            .execute(params![number, sealed.salt, sealed.payload])?;
        let number = u64::try_from(number).map_err(|_| StoreError::Corrupt("records"))?;
        self.grow_tree(number, sealed.leaf().0)?;
        Ok(number)
    }

    /// Deletes the payload of a record; says whether there was one. The caller appends the record that says so.
    ///
    /// Its bytes are overwritten first: a deleted row stays readable in the free space of its page.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn erase_audit_payload(&mut self, number: u64) -> Result<bool, StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE audit_payload SET salt = zeroblob(length(salt)), payload = zeroblob(length(payload)) WHERE number = ?1",
            )?
            .execute([column::integer(number)])?;
        let deleted = self
            .connection
            .prepare_cached("DELETE FROM audit_payload WHERE number = ?1")?
            .execute([column::integer(number)])?;
        Ok(deleted > 0)
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
                "SELECT r.number, r.at, r.act, r.header, r.commitment, p.salt, p.payload, n.hashes
                 FROM audit_record r
                 LEFT JOIN audit_payload p ON p.number = r.number
                 LEFT JOIN audit_node n ON n.number = r.number
                 WHERE r.number > ?1 ORDER BY r.number LIMIT ?2",
            )?
            .query_map(params![column::integer(after), limit], |row| {
                Ok(audit_record(row))
            })?
            .map(|row| row?)
            .collect()
    }

    /// One record.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn audit_record(&self, number: u64) -> Result<Option<AuditRecord>, StoreError> {
        let Some(before) = number.checked_sub(1) else {
            return Ok(None);
        };
        let found = self.audit_records(before, 1)?;
        Ok(found.into_iter().find(|record| record.number == number))
    }

    /// At most `limit` records after the number `after` that fit `filter`, among the next [`MAX_SEARCHED`].
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn search_audit(
        &self,
        filter: &AuditFilter,
        after: u64,
        limit: u32,
    ) -> Result<AuditPage, StoreError> {
        let through = after.saturating_add(MAX_SEARCHED).min(self.audit_size()?);
        // Where actor and subject stand in the header: `audit/header`.
        let records = self
            .connection
            .prepare_cached(
                "SELECT r.number, r.at, r.act, r.header, r.commitment, p.salt, p.payload, n.hashes
                 FROM audit_record r
                 LEFT JOIN audit_payload p ON p.number = r.number
                 LEFT JOIN audit_node n ON n.number = r.number
                 WHERE r.number > ?1 AND r.number <= ?2
                   AND (?3 IS NULL OR r.act = ?3)
                   AND (?4 IS NULL OR substr(r.header, 45, 16) = ?4 OR substr(r.header, 61, 16) = ?4)
                   AND (?5 IS NULL OR substr(r.header, 78, 16) = ?5)
                   AND (?6 IS NULL OR r.at >= ?6)
                   AND (?7 IS NULL OR r.at < ?7)
                   AND (?8 IS NULL OR instr(CAST(p.payload AS TEXT), ?8) > 0)
                 ORDER BY r.number LIMIT ?9",
            )?
            .query_map(
                params![
                    column::integer(after),
                    column::integer(through),
                    filter.act,
                    filter.actor,
                    filter.subject,
                    filter.from.map(column::millis),
                    filter.until.map(column::millis),
                    filter.text,
                    limit
                ],
                |row| Ok(audit_record(row)),
            )?
            .map(|row| row?)
            .collect::<Result<Vec<_>, StoreError>>()?;
        let is_full = u32::try_from(records.len()).is_ok_and(|count| count >= limit);
        let seen = records
            .last()
            .filter(|_| is_full)
            .map_or(through, |last| last.number);
        let next = (seen < self.audit_size()?).then_some(seen);
        Ok(AuditPage { records, next })
    }

    /// How many records there are.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn audit_size(&self) -> Result<u64, StoreError> {
        let size: Option<i64> = self
            .connection
            .prepare_cached("SELECT records FROM audit_count WHERE id = 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        size.and_then(|size| u64::try_from(size).ok())
            .ok_or(StoreError::Corrupt("records"))
    }
}

impl AuditRecord {
    /// What the header says, when it can be read.
    #[must_use]
    pub fn read_header(&self) -> Option<Header> {
        Header::read(&self.header)
    }
}

fn audit_record(row: &rusqlite::Row<'_>) -> Result<AuditRecord, StoreError> {
    Ok(AuditRecord {
        number: column::number(row, "number")?,
        at: column::time(row, "at")?,
        act: column::number(row, "act")?,
        header: column::value(row, "header")?,
        commitment: column::value(row, "commitment")?,
        salt: column::value(row, "salt")?,
        payload: column::value(row, "payload")?,
        hashes: column::value::<Option<Vec<u8>>>(row, "hashes")?.unwrap_or_default(),
    })
}
