//! A store that lasts as long as the process: for tests, and for devices that are meant to forget.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{KeyRange, Order, Row, Store, StoreError, Table, Transaction};

/// A table's number and a key in it.
type Place = (u8, Vec<u8>);
type Records = BTreeMap<Place, Vec<u8>>;

/// A store in memory. A clone is another handle on the same records, as a second process would have.
#[derive(Clone, Default)]
pub struct MemoryStore {
    records: Arc<Mutex<Records>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy that shares nothing with this store: what a backup of the medium would hold.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let records = self
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Self {
            records: Arc::new(Mutex::new(records)),
        }
    }
}

impl Store for MemoryStore {
    fn transaction<T, E: From<StoreError>>(
        &mut self,
        step: impl FnOnce(&mut dyn Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        // A poisoned lock guards whole records: the transaction that panicked was undone as it was dropped.
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = Open {
            records: &mut records,
            undo: Vec::new(),
        };
        let result = step(&mut open);
        if result.is_ok() {
            open.undo.clear();
        }
        result
    }
}

/// Undoes its changes when it is dropped, unless they were committed by clearing `undo`.
struct Open<'a> {
    records: &'a mut Records,
    undo: Vec<(Place, Option<Vec<u8>>)>,
}

impl Transaction for Open<'_> {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.records.get(&(table.number(), key.to_vec())).cloned())
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let key = (table.number(), key.to_vec());
        let before = self.records.insert(key.clone(), value.to_vec());
        self.undo.push((key, before));
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        let key = (table.number(), key.to_vec());
        let before = self.records.remove(&key);
        let existed = before.is_some();
        self.undo.push((key, before));
        Ok(existed)
    }

    fn scan(
        &mut self,
        table: Table,
        range: &KeyRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let start = (table.number(), range.start().to_vec());
        let end = match range.end() {
            Some(end) => (table.number(), end.to_vec()),
            None => (table.number() + 1, Vec::new()),
        };
        let row = |((_, key), value): (&Place, &Vec<u8>)| Row {
            key: key.clone(),
            value: value.clone(),
        };
        let rows = self.records.range(start..end);
        Ok(match order {
            Order::Ascending => rows.take(limit).map(row).collect(),
            Order::Descending => rows.rev().take(limit).map(row).collect(),
        })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        for (key, before) in self.undo.drain(..).rev() {
            match before {
                Some(value) => self.records.insert(key, value),
                None => self.records.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shared(MemoryStore);

    impl Shared {
        fn new() -> Self {
            Self(MemoryStore::new())
        }

        fn open(&self) -> MemoryStore {
            self.0.clone()
        }
    }

    crate::store_contract!(Shared);

    #[test]
    fn a_step_that_panics_changes_nothing() {
        let mut store = MemoryStore::new();
        let mut handle = store.clone();
        let panicked = std::thread::spawn(move || {
            handle.transaction(|tx| -> Result<(), StoreError> {
                tx.put(Table::Profile, b"key", b"value")?;
                panic!("in the middle of a step")
            })
        })
        .join();
        assert!(panicked.is_err());
        let value = store.transaction(|tx| tx.get(Table::Profile, b"key"));
        assert_eq!(value.unwrap(), None);
    }
}
