//! One step on the file: the statements, and a seal around every value.
//!
//! What a step writes goes into the file at its end, in the order of the keys. Rows of a table lie together then, and not
//! between the others of their message: the queue's rows, which go one by one, would else be on as many pages as messages.

use std::{collections::BTreeMap, mem, sync::Arc};

use rusqlite::{CachedStatement, OptionalExtension as _, params};
use unhidra_client::store::{KeyRange, Order, Row, StoreError, Table, Transaction};
use zeroize::Zeroizing;

use super::{
    failure,
    recent::{Opened, Recent},
    seal::{StoreKey, place},
};
use crate::edge::Drawn;

/// Rows that wait for the end of a step; when there are more, they go into the file before it.
const MAX_PENDING: usize = 4_096;

/// A transaction, and what sealing and opening its records needs.
pub(super) struct Open<'a> {
    tx: &'a rusqlite::Transaction<'a>,
    key: &'a StoreKey,
    salts: Drawn,
    recent: &'a mut Recent,
    /// By place.
    pending: BTreeMap<Vec<u8>, (Table, Opened)>,
    // A step of many messages runs each a thousand times.
    select: CachedStatement<'a>,
    upsert: CachedStatement<'a>,
    delete: CachedStatement<'a>,
}

impl<'a> Open<'a> {
    pub(super) fn begin(
        tx: &'a rusqlite::Transaction<'a>,
        key: &'a StoreKey,
        recent: &'a mut Recent,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            tx,
            key,
            salts: Drawn::new(),
            recent,
            pending: BTreeMap::new(),
            select: tx.prepare_cached("SELECT value FROM records WHERE tbl = ?1 AND key = ?2")?,
            upsert: tx.prepare_cached(
                "INSERT INTO records (tbl, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (tbl, key) DO UPDATE SET value = excluded.value",
            )?,
            delete: tx.prepare_cached("DELETE FROM records WHERE tbl = ?1 AND key = ?2")?,
        })
    }

    /// Brings what is pending into the file.
    pub(super) fn write(&mut self) -> Result<(), StoreError> {
        for (place, (table, value)) in mem::take(&mut self.pending) {
            let sealed = self.key.seal(&mut self.salts, &place, &value)?;
            self.upsert
                .execute(params![table.number(), key_of(&place), sealed])
                .map_err(failure)?;
        }
        Ok(())
    }
}

impl Transaction for Open<'_> {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let place = place(table, key);
        if let Some(value) = self.recent.get(&place) {
            return Ok(Some(value.to_vec()));
        }
        if let Some((_, value)) = self.pending.get(&place) {
            return Ok(Some(value.to_vec()));
        }
        let opener = self.key;
        let value = self
            .select
            .query_row(params![table.number(), key], |row| {
                let sealed = row.get_ref(0)?.as_blob()?;
                Ok(opener.open(table, &place, sealed))
            })
            .optional()
            .map_err(failure)?
            .transpose()?;
        if let Some(value) = &value
            && Recent::keeps(table)
        {
            self.recent.put(&place, Arc::new(Zeroizing::new(value.clone())));
        }
        Ok(value)
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let place = place(table, key);
        let value = Arc::new(Zeroizing::new(value.to_vec()));
        if Recent::keeps(table) {
            self.recent.put(&place, Arc::clone(&value));
        }
        self.pending.insert(place, (table, value));
        if self.pending.len() > MAX_PENDING {
            self.write()?;
        }
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        let place = place(table, key);
        let was_pending = self.pending.remove(&place).is_some();
        self.recent.forget(&place);
        let deleted = self
            .delete
            .execute(params![table.number(), key])
            .map_err(failure)?;
        Ok(was_pending || deleted > 0)
    }

    fn scan(
        &mut self,
        table: Table,
        range: &KeyRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.write()?;
        // An open end becomes the first key of the next table: row values compare by table, then by key.
        let (end_table, end) = match range.end() {
            Some(end) => (table.number(), end),
            None => (table.number() + 1, [].as_slice()),
        };
        let sql = match order {
            Order::Ascending => {
                "SELECT key, value FROM records WHERE (tbl, key) >= (?1, ?2) AND (tbl, key) < (?3, ?4)
                 ORDER BY tbl, key LIMIT ?5"
            }
            Order::Descending => {
                "SELECT key, value FROM records WHERE (tbl, key) >= (?1, ?2) AND (tbl, key) < (?3, ?4)
                 ORDER BY tbl DESC, key DESC LIMIT ?5"
            }
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut select = self.tx.prepare_cached(sql).map_err(failure)?;
        let mut rows = select
            .query(params![table.number(), range.start(), end_table, end, limit])
            .map_err(failure)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(failure)? {
            let key: Vec<u8> = row.get(0).map_err(failure)?;
            let sealed = row
                .get_ref(1)
                .and_then(|value| Ok(value.as_blob()?))
                .map_err(failure)?;
            let place = place(table, &key);
            let value = match self.recent.get(&place) {
                Some(value) => value.to_vec(),
                None => self.key.open(table, &place, sealed)?,
            };
            found.push(Row { key, value });
        }
        Ok(found)
    }
}

/// The key in a place, behind its table.
fn key_of(place: &[u8]) -> &[u8] {
    place.split_first().map_or(&[], |(_table, key)| key)
}
