//! Which envelopes the logs hold already, so that a retry finds the first (`docs/adr/0015`).
//!
//! An entry is found by a fingerprint of what makes it that envelope and no other. Fingerprints of the newest entries are
//! in memory only; [`BATCH`] of them at a time join the table `accepted`, a part with each commit, in the order of the
//! table. What is in memory follows from the entries behind the mark in `accepted_through`, and is read from there when
//! the database is opened. The entry itself is always compared: a fingerprint only says where to look.
//!
//! Entries of control logs have none: those logs are short, and their entries go. The other kinds' entries never do, so
//! numbers behind the mark are never given again.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use unhidra_crypto::hash::sha256;

use crate::{
    StoreError, column,
    conversation::LogNumber,
    entry::{EntryKey, Place, dest_column},
};

/// Fingerprints that join the table together. At most twice as many are in memory, 16 bytes each.
const BATCH: usize = if cfg!(test) { 8 } else { 65_536 };
/// Rows that join with each commit, and more with each of its acts: a batch is in the table before half of the next one
/// has come.
const ROWS_PER_COMMIT: usize = if cfg!(test) { 3 } else { 64 };
const ROWS_PER_ACT: usize = 2;

/// A fingerprint, and the number of the entry.
type Found = (i64, i64);

/// What is known of the newest entries.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// In no batch yet.
    young: BTreeSet<Found>,
    /// On its way into the table.
    batch: Option<Batch>,
    /// What the present transaction has put into `young`.
    added: Vec<Found>,
}

#[derive(Debug)]
struct Batch {
    /// In order.
    found: Vec<Found>,
    /// The last of their entries.
    through: i64,
    /// How many are in the table, and how many of these for good.
    joined: usize,
    durable: usize,
}

impl Accepted {
    /// What the table lacks.
    pub(crate) fn load(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let through: i64 =
            connection.query_row("SELECT number FROM accepted_through", [], |row| row.get(0))?;
        let mut query = connection.prepare(&fingerprinted("e.number > ?1", ""))?;
        let young = query.query_map([through], found)?.collect::<Result<_, _>>()?;
        Ok(Self {
            young,
            ..Self::default()
        })
    }

    /// Before the first act of a transaction: everything in memory is durable.
    pub(crate) fn begin(&mut self) {
        if self.batch.is_none() && self.young.len() >= BATCH {
            let found: Vec<_> = std::mem::take(&mut self.young).into_iter().collect();
            self.batch = Some(Batch {
                through: found.iter().map(|(_, number)| *number).max().unwrap_or(0),
                found,
                joined: 0,
                durable: 0,
            });
        }
    }

    /// Lets a part of the batch join the table, in a transaction of so many acts.
    pub(crate) fn join(&mut self, connection: &Connection, acts: usize) -> Result<(), rusqlite::Error> {
        let Some(batch) = &mut self.batch else {
            return Ok(());
        };
        let mut insert = connection.prepare_cached(INSERT)?;
        let rows = ROWS_PER_COMMIT + ROWS_PER_ACT * acts;
        for (fingerprint, number) in batch.found.iter().skip(batch.joined).take(rows) {
            insert.execute([fingerprint, number])?;
        }
        batch.joined = batch.found.len().min(batch.joined + rows);
        if batch.joined == batch.found.len() {
            connection.prepare_cached(MARK)?.execute([batch.through])?;
        }
        Ok(())
    }

    /// The transaction is durable.
    pub(crate) fn committed(&mut self) {
        self.added.clear();
        match &mut self.batch {
            Some(batch) if batch.joined < batch.found.len() => batch.durable = batch.joined,
            _ => self.batch = None,
        }
    }

    /// Nothing of the transaction was stored.
    pub(crate) fn rolled_back(&mut self) {
        self.undo_to(0);
        if let Some(batch) = &mut self.batch {
            batch.joined = batch.durable;
        }
    }

    /// An entry was inserted.
    pub(crate) fn add(&mut self, fingerprint: i64, number: i64) {
        self.young.insert((fingerprint, number));
        self.added.push((fingerprint, number));
    }

    /// Where an act begins, for [`Accepted::undo_to`].
    pub(crate) fn mark(&self) -> usize {
        self.added.len()
    }

    /// Forgets what was added since `mark`.
    pub(crate) fn undo_to(&mut self, mark: usize) {
        for found in self.added.drain(mark..) {
            self.young.remove(&found);
        }
    }

    /// The place of an envelope that a log of a conversation holds.
    pub(crate) fn place_of(
        &self,
        connection: &Connection,
        log: LogNumber,
        key: &EntryKey,
    ) -> Result<Option<Place>, StoreError> {
        let fingerprint = of_key(log, key);
        for number in self.numbers(fingerprint) {
            if let Some(place) = compared(connection, BY_NUMBER, number, log, key)? {
                return Ok(Some(place));
            }
        }
        compared(connection, BY_FINGERPRINT, fingerprint, log, key)
    }

    fn numbers(&self, fingerprint: i64) -> impl Iterator<Item = i64> {
        let (first, last) = ((fingerprint, i64::MIN), (fingerprint, i64::MAX));
        let young = self.young.range(first..=last);
        let batch = self.batch.iter().flat_map(move |batch| {
            let start = batch.found.partition_point(|found| *found < first);
            batch
                .found
                .iter()
                .skip(start)
                .take_while(move |found| **found <= last)
        });
        young.chain(batch).map(|(_, number)| *number)
    }
}

const BY_NUMBER: &str = "SELECT e.seq, e.server_time FROM entry e WHERE e.number = ?1
     AND e.log = ?2 AND e.sender_device = ?3 AND e.msg_id = ?4 AND e.dest = ?5 AND e.attempt = ?6";
const BY_FINGERPRINT: &str =
    "SELECT e.seq, e.server_time FROM accepted a CROSS JOIN entry e ON e.number = a.number WHERE a.fingerprint = ?1
     AND e.log = ?2 AND e.sender_device = ?3 AND e.msg_id = ?4 AND e.dest = ?5 AND e.attempt = ?6";
const INSERT: &str = "INSERT INTO accepted (fingerprint, number) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const MARK: &str = "UPDATE accepted_through SET number = ?1";

fn compared(
    connection: &Connection,
    sql: &'static str,
    at: i64,
    log: LogNumber,
    key: &EntryKey,
) -> Result<Option<Place>, StoreError> {
    connection
        .prepare_cached(sql)?
        .query_row(
            params![
                at,
                log.0,
                key.sender_device.as_bytes(),
                key.msg_id.as_bytes(),
                dest_column(key.dest),
                key.attempt
            ],
            |row| Ok(crate::entry::place(row)),
        )
        .optional()?
        .transpose()
}

pub(crate) fn of_key(log: LogNumber, key: &EntryKey) -> i64 {
    let EntryKey {
        sender_device,
        msg_id,
        dest,
        attempt,
    } = key;
    let dest = dest.map(|device| *device.as_bytes());
    fingerprint(
        log.0,
        sender_device.as_bytes(),
        msg_id.as_bytes(),
        dest.as_ref().map_or(&[], |dest| dest.as_slice()),
        i64::from(*attempt),
    )
}

/// Nobody can make many envelopes with the same one: whoever finds two has computed 2^32 hashes.
fn fingerprint(log: i64, device: &[u8], msg_id: &[u8], dest: &[u8], attempt: i64) -> i64 {
    let hash = sha256(&[&log.to_be_bytes(), &attempt.to_be_bytes(), device, msg_id, dest]);
    hash.first_chunk::<8>()
        .map_or(0, |first| i64::from_be_bytes(*first))
}

fn fingerprinted(of: &str, order: &str) -> String {
    format!(
        "SELECT e.number, e.log, e.sender_device, e.msg_id, e.dest, e.attempt FROM entry e
         JOIN conversation c ON c.log = e.log WHERE {of} AND c.kind <> 3 {order}"
    )
}

fn found(row: &Row<'_>) -> Result<Found, rusqlite::Error> {
    let blob = |index| row.get_ref(index)?.as_blob().map_err(rusqlite::Error::from);
    let dest: &[u8] = blob(4)?;
    let dest = if dest.iter().all(|byte| *byte == 0) {
        &[]
    } else {
        dest
    };
    let fingerprint = fingerprint(row.get(1)?, blob(2)?, blob(3)?, dest, row.get(5)?);
    Ok((fingerprint, row.get(0)?))
}

/// Puts every entry into the table that has just been created.
pub(crate) fn build(connection: &Connection) -> Result<(), rusqlite::Error> {
    let mut query = connection.prepare(&fingerprinted("e.number > ?1", "ORDER BY e.number LIMIT ?2"))?;
    let mut insert = connection.prepare(INSERT)?;
    let mut through = 0;
    loop {
        let mut batch = query
            .query_map([through, column::integer(BATCH as u64)], found)?
            .collect::<Result<Vec<_>, _>>()?;
        let Some(last) = batch.iter().map(|(_, number)| *number).max() else {
            break;
        };
        through = last;
        batch.sort_unstable();
        for (fingerprint, number) in batch {
            insert.execute([fingerprint, number])?;
        }
    }
    connection.execute(MARK, [through])?;
    Ok(())
}
