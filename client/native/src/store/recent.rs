//! Records of the outbox that the last steps have written or read.
//!
//! A message is read twice after it was written: when it leaves, and when it is answered. This keeps what was written
//! so that it need not be looked up and opened again. It is true while nobody else has written to the file, which SQLite
//! tells at the begin of a transaction; a step that did not commit takes everything with it.

use std::{collections::HashMap, mem, sync::Arc};

use unhidra_client::store::Table;
use zeroize::Zeroizing;

/// Bytes of records in each of two generations; when the younger one has more, it becomes the older, and the older goes.
const GENERATION_BYTES: usize = 1024 * 1024;

/// A record, opened: here, and on its way into the file.
pub(super) type Opened = Arc<Zeroizing<Vec<u8>>>;

/// Records by table and key.
#[derive(Default)]
pub(super) struct Recent {
    young: HashMap<Vec<u8>, Opened>,
    young_bytes: usize,
    old: HashMap<Vec<u8>, Opened>,
    /// The version of the file that they are of; `None` while a step is open.
    version: Option<i64>,
}

impl Recent {
    /// Whether records of a table are kept: those that are read soon after. Keys of sessions never are.
    pub(super) const fn keeps(table: Table) -> bool {
        matches!(table, Table::Outbox | Table::OutboxIndex | Table::Queue)
    }

    /// A step begins on this version of the file.
    pub(super) fn begin(&mut self, version: i64) {
        if self.version.take() != Some(version) {
            *self = Self::default();
        }
    }

    /// The step that began on `version` is durable.
    pub(super) const fn commit(&mut self, version: i64) {
        self.version = Some(version);
    }

    /// The record at `place`, if it is kept.
    pub(super) fn get(&self, place: &[u8]) -> Option<&[u8]> {
        let record = self.young.get(place).or_else(|| self.old.get(place))?;
        Some(record.as_slice())
    }

    /// Keeps what was written or read at `place`.
    pub(super) fn put(&mut self, place: &[u8], record: Opened) {
        if self.young_bytes > GENERATION_BYTES {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += size(place, &record);
        match self.young.insert(place.to_vec(), record) {
            Some(former) => self.young_bytes -= size(place, &former),
            None => drop(self.old.remove(place)),
        }
    }

    /// Forgets what was at `place`.
    pub(super) fn forget(&mut self, place: &[u8]) {
        match self.young.remove(place) {
            Some(record) => self.young_bytes -= size(place, &record),
            None => drop(self.old.remove(place)),
        }
    }
}

const fn size(place: &[u8], record: &[u8]) -> usize {
    place.len() + record.len()
}

#[cfg(test)]
mod tests {
    use unhidra_client::store::{KeyRange, Order, Store, StoreError, Transaction};

    use super::*;
    use crate::store::{SqliteStore, Unlock};

    struct Stopped;

    impl From<StoreError> for Stopped {
        fn from(_error: StoreError) -> Self {
            Self
        }
    }

    /// Two handles on one file, as two processes have.
    fn two() -> (tempfile::TempDir, SqliteStore, SqliteStore) {
        let folder = tempfile::tempdir().unwrap();
        let (path, key) = (folder.path().join("store.db"), folder.path().join("store.key"));
        let first = SqliteStore::create(&path, &Unlock::KeyFile(&key)).unwrap();
        let second = SqliteStore::open(&path, &Unlock::KeyFile(&key)).unwrap();
        (folder, first, second)
    }

    fn put(store: &mut SqliteStore, value: &[u8]) {
        let done: Result<(), StoreError> = store.transaction(|tx| tx.put(Table::Outbox, b"k", value));
        done.unwrap();
    }

    /// The record by its key and as the one row of a scan.
    fn seen(store: &mut SqliteStore) -> Option<Vec<u8>> {
        let read = |tx: &mut dyn Transaction| {
            let rows = tx.scan(Table::Outbox, &KeyRange::all(), Order::Ascending, 2)?;
            let got = tx.get(Table::Outbox, b"k")?;
            assert_eq!(rows.first().map(|row| &row.value), got.as_ref());
            Ok::<_, StoreError>(got)
        };
        store.transaction(read).unwrap()
    }

    #[test]
    fn what_another_process_writes_or_deletes_is_seen() {
        let (_folder, mut first, mut second) = two();
        put(&mut first, b"one");
        assert_eq!(seen(&mut first).as_deref(), Some(&b"one"[..]));
        put(&mut second, b"two");
        assert_eq!(seen(&mut first).as_deref(), Some(&b"two"[..]));
        assert_eq!(seen(&mut second).as_deref(), Some(&b"two"[..]));
        let gone: Result<bool, StoreError> = first.transaction(|tx| tx.delete(Table::Outbox, b"k"));
        assert!(gone.unwrap());
        assert_eq!(seen(&mut first), None);
        assert_eq!(seen(&mut second), None);
    }

    #[test]
    fn what_was_not_committed_is_not_kept() {
        let (_folder, mut first, _second) = two();
        put(&mut first, b"one");
        let stopped: Result<(), Stopped> = first.transaction(|tx| {
            tx.put(Table::Outbox, b"k", b"never")?;
            Err(Stopped)
        });
        assert!(stopped.is_err());
        assert_eq!(seen(&mut first).as_deref(), Some(&b"one"[..]));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let panicked: Result<(), StoreError> = first.transaction(|tx| {
                tx.delete(Table::Outbox, b"k")?;
                tx.put(Table::Outbox, b"other", b"never")?;
                panic!("in the middle of a step")
            });
            panicked
        }));
        assert!(caught.is_err());
        assert_eq!(seen(&mut first).as_deref(), Some(&b"one"[..]));
        let other: Result<_, StoreError> = first.transaction(|tx| tx.get(Table::Outbox, b"other"));
        assert_eq!(other.unwrap(), None);
    }

    #[test]
    fn it_keeps_what_is_recent_within_its_bound() {
        let mut recent = Recent::default();
        let record = Arc::new(Zeroizing::new(vec![7; 1_000]));
        for number in 0_u64..10_000 {
            recent.put(&number.to_be_bytes(), Arc::clone(&record));
            recent.put(&number.to_be_bytes(), Arc::clone(&record));
            let kept = recent.young.len() + recent.old.len();
            assert!(kept * record.len() <= 2 * GENERATION_BYTES + 2 * record.len());
        }
        assert_eq!(recent.get(&9_999_u64.to_be_bytes()), Some(record.as_slice()));
        assert_eq!(recent.get(&0_u64.to_be_bytes()), None);
    }
}
