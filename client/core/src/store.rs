//! Where a device keeps what it must not lose: ordered records in named tables, changed all-or-nothing.
//!
//! [`Store`] is implemented once for each kind of machine. One call of [`Store::transaction`] is one step of the
//! device: it loads, changes and persists, and two processes that share a profile take turns. Every implementation
//! runs the suite of [`store_contract!`](crate::store_contract).

mod contract;
mod memory;

use std::error::Error;

pub use self::memory::MemoryStore;

/// An atomic, ordered store of records.
pub trait Store {
    /// Runs `step` alone: no other transaction on the same store, in this process or another, is open meanwhile.
    ///
    /// When `step` returns `Ok`, all its changes are durable before this returns; when it returns an error or
    /// panics, none of them ever happened.
    ///
    /// # Errors
    /// What `step` returned, or a [`StoreError`] of beginning or committing.
    fn transaction<T, E: From<StoreError>>(
        &mut self,
        step: impl FnOnce(&mut dyn Transaction) -> Result<T, E>,
    ) -> Result<T, E>;
}

/// One open step on a store. Reads see the step's own writes.
pub trait Transaction {
    /// The record under `key`.
    ///
    /// # Errors
    /// [`StoreError`] when the store can't answer.
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes the record under `key`, in place of any earlier one.
    ///
    /// # Errors
    /// [`StoreError`] when the store can't take it.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes the record under `key`; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] when the store can't do it.
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError>;

    /// The first `limit` records of `range`, from the end that `order` names. Keys compare byte by byte.
    ///
    /// # Errors
    /// [`StoreError`] when the store can't answer.
    fn scan(
        &mut self,
        table: Table,
        range: &KeyRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;
}

/// A record with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands in its table.
    pub key: Vec<u8>,
    /// The record.
    pub value: Vec<u8>,
}

/// Which end of a range a scan begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// Keys from a first one, included, to an end, excluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            start: Vec::new(),
            end: None,
        }
    }

    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        // The end is the next prefix of the same or a smaller length: trailing 0xff bytes have no successor.
        while end.pop_if(|last| *last == u8::MAX).is_some() {}
        let end = match end.last_mut() {
            Some(last) => {
                *last += 1;
                Some(end)
            }
            None => None,
        };
        Self {
            start: prefix.to_vec(),
            end,
        }
    }

    /// The same keys without those up to `key`, which is left out itself.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        let next = [key, &[0]].concat();
        self.start = self.start.max(next);
        self
    }

    /// The same keys without those before `key`.
    #[must_use]
    pub fn starting_at(mut self, key: &[u8]) -> Self {
        self.start = self.start.max(key.to_vec());
        self
    }

    /// The same keys without those from `key` on.
    #[must_use]
    pub fn before(mut self, key: &[u8]) -> Self {
        self.end = Some(self.end.map_or_else(|| key.to_vec(), |end| end.min(key.to_vec())));
        self
    }

    /// The first key that is in.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// The first key after the start that is out; `None` when every later key is in.
    #[must_use]
    pub fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// Whether no key can be in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// Why a step did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has kept the store for longer than this one waits.
    #[error("the store is in use by another process")]
    Busy,
    /// The medium has no room.
    #[error("no space is left for the store")]
    Full,
    /// A record is not what was written under its key.
    #[error("a record of table `{}` is damaged", .0.name())]
    Damaged(Table),
    /// The implementation failed in a way of its own.
    #[error("the store failed")]
    Backend(#[source] Box<dyn Error + Send + Sync>),
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// The tables of a device. Numbers and names stand in stores: they are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Table {
            $($(#[$doc])* $name,)*
        }

        impl Table {
            /// Every table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its number in stores.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self {
                    $(Self::$name => $number,)*
                }
            }

            /// Its name in error messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

tables! {
    /// Who this device is: single records by name.
    Identity = 1, "identity";
    /// The driver's own: server address, tokens, names. The engine never reads it.
    Profile = 2, "profile";
    /// What is known of a user: pinned key, list version. By user.
    Peers = 3, "peers";
    /// Verified chains, as the records' bytes. By user.
    Chains = 4, "chains";
    /// Private halves of prekeys. By type and id.
    Prekeys = 5, "prekeys";
    /// Ratchet sessions. By user and device: only within one user's list is a device's id unique.
    Sessions = 6, "sessions";
    /// Ephemeral keys of first messages that were accepted. By their hash.
    SeenKeys = 7, "seen keys";
    /// Conversations: who is in them, and counters. By conversation.
    Conversations = 8, "conversations";
    /// The last `cseq` of each sending device. By conversation and device.
    Counters = 9, "counters";
    /// Messages in display order. By conversation and seq.
    Messages = 10, "messages";
    /// What was received or sent already. By conversation, message and sending device.
    Dedupe = 11, "dedupe";
    /// Messages in the order in which this device learnt of them. By a running number.
    Journal = 12, "journal";
    /// Entries that can't be opened or understood yet. By a running number.
    Waiting = 13, "waiting";
    /// Messages of others that no receipt names yet. By conversation and seq.
    Unreceipted = 14, "unreceipted";
    /// Own messages that a device of the other user holds. By conversation and message.
    Delivered = 15, "delivered";
    /// Own messages with the exact bytes that leave. By a running number.
    Outbox = 16, "outbox";
    /// What is still to be done for entries of the outbox. By state and the same number.
    Queue = 17, "queue";
    /// Entries of the outbox. By message, conversation and attempt.
    OutboxIndex = 18, "outbox index";
    /// What is known of other devices besides their sessions. By user and device.
    PeerDevices = 19, "peer devices";
    /// Security events, the newest 1,000. By a running number.
    SecurityEvents = 20, "security events";
    /// Running numbers and counts. By name.
    Numbers = 21, "numbers";
    /// How far each log is processed. By conversation.
    Cursors = 22, "cursors";
    /// Hashes of own messages that were thrown away. By conversation and seq.
    Pruned = 44, "pruned";
    /// What the user wants of other users: blocked, accepted, asking. By user.
    Contacts = 40, "contacts";
    /// Receipts of users whose request is not accepted. By conversation and seq.
    WithheldReceipts = 41, "withheld receipts";
    /// Changes of identities, the newest 1,000. By a running number.
    IdentityChanges = 42, "identity changes";
    /// Identities that their users have replaced. By user.
    RetiredIdentities = 43, "retired identities";
    /// When a waiting entry is to be asked for. By sender, sending device, conversation and message.
    Requests = 30, "requests";
    /// How it stands with what a device sends. By user and device.
    Repairs = 31, "repairs";
    /// Entries of the outbox in the order in which the server took them. By a running number.
    Taken = 32, "taken";
    /// List versions that a device has named and that are not held. By user and device.
    Claims = 33, "claims";
    /// Since when a session is known to be the one that sends. By user and device.
    SendingSince = 34, "sending since";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_numbers_are_unique() {
        let mut numbers: Vec<u8> = Table::ALL.iter().map(|table| table.number()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), Table::ALL.len());
    }

    #[test]
    fn a_prefix_of_largest_bytes_has_no_end() {
        assert_eq!(KeyRange::prefix(&[0xff, 0xff]).end(), None);
        assert_eq!(KeyRange::prefix(&[1, 0xff]).end(), Some([2].as_slice()));
    }
}
