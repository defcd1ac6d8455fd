//! Transactions of acts. [`LogTx`] is what every act gets: it appends to logs of conversations and moves cursors, the hot
//! path. [`Tx`] is what it hands to acts that read and write as they like.
//!
//! A [`LogTx`] has no savepoint. An append that fails takes back what it wrote itself; what can't be taken back fails the
//! whole commit. What it asks comes from memory ([`crate::facts`]), and what many acts of one commit would write again is
//! written once ([`crate::pending`]). `docs/adr/0015` has the figures.

use std::{ops::Deref, sync::Arc};

use rusqlite::Connection;
use unhidra_types::{ConversationId, DeviceId, UserId};

use crate::{
    Event, Snapshot, StoreError,
    accepted::{self, Accepted},
    conversation::{Kind, LogNumber},
    cursor,
    entry::{self, EntryKey, NewEntry, Place, Recipients},
    facts::{Facts, LogFacts, UserFacts},
    pending::Pending,
    writer::execute,
};

/// What the writer keeps in memory from one act to the next. It is exact: never ahead of the transaction, never behind.
#[derive(Debug, Default)]
pub(crate) struct Hot {
    pub(crate) accepted: Accepted,
    facts: Facts,
    pending: Pending,
}

impl Hot {
    pub(crate) fn of(connection: &Connection) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            accepted: Accepted::load(connection)?,
            facts: Facts::watch(connection)?,
            pending: Pending::default(),
        })
    }

    /// Before an act that reads or writes as it likes.
    pub(crate) fn settle(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.pending.write(connection)
    }

    /// After such an act.
    pub(crate) fn unsettled(&mut self) {
        self.pending.forget();
        self.facts.refresh();
    }

    /// At the end of a transaction of so many acts.
    pub(crate) fn finish(&mut self, connection: &Connection, acts: usize) -> Result<(), StoreError> {
        self.settle(connection)?;
        Ok(self.accepted.join(connection, acts)?)
    }

    /// Nothing of the transaction was stored.
    pub(crate) fn rolled_back(&mut self) {
        self.accepted.rolled_back();
        self.pending.forget();
        self.facts.refresh();
        self.facts.forget();
    }
}

/// A transaction that may write anything: reads see what it has written.
pub struct Tx<'c> {
    snapshot: Snapshot<'c>,
    events: &'c mut Vec<Event>,
    pub(crate) hot: &'c mut Hot,
}

impl<'c> Deref for Tx<'c> {
    type Target = Snapshot<'c>;

    fn deref(&self) -> &Snapshot<'c> {
        &self.snapshot
    }
}

impl Tx<'_> {
    /// Tells the rest of the server after the commit, in order; forgotten when the act fails.
    pub fn emit(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// A transaction that appends and acknowledges.
pub struct LogTx<'c> {
    connection: &'c Connection,
    hot: &'c mut Hot,
    events: &'c mut Vec<Event>,
    is_spoiled: bool,
}

impl<'c> LogTx<'c> {
    pub(crate) fn new(connection: &'c Connection, hot: &'c mut Hot, events: &'c mut Vec<Event>) -> Self {
        Self {
            connection,
            hot,
            events,
            is_spoiled: false,
        }
    }

    /// Something was written and could not be taken back.
    pub(crate) const fn is_spoiled(&self) -> bool {
        self.is_spoiled
    }

    /// Runs an act that may write anything; when it fails, that alone is undone.
    ///
    /// # Errors
    /// What `act` returns, or, converted from [`StoreError`], why it could not run or be undone.
    pub fn any<T, E: From<StoreError>>(
        &mut self,
        act: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (before, mark) = (self.events.len(), self.hot.accepted.mark());
        let begun = self.hot.settle(self.connection);
        let begun = begun.and_then(|()| execute(self.connection, "SAVEPOINT act"));
        begun.inspect_err(|_| self.is_spoiled = true)?;
        let result = act(&mut Tx {
            snapshot: Snapshot::new(self.connection),
            events: &mut *self.events,
            hot: &mut *self.hot,
        });
        self.hot.unsettled();
        let undone = if result.is_ok() {
            Ok(())
        } else {
            self.events.truncate(before);
            self.hot.accepted.undo_to(mark);
            execute(self.connection, "ROLLBACK TO act")
        };
        let ended = undone.and_then(|()| execute(self.connection, "RELEASE act"));
        self.is_spoiled |= ended.is_err();
        result.and_then(|value| Ok(ended.map(|()| value)?))
    }

    /// Tells the rest of the server after the commit, in order; forgotten when the act fails.
    pub fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The conversation with this identifier, and who is in it. A device's control log is none.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn log(&mut self, id: ConversationId) -> Result<Option<Arc<LogFacts>>, StoreError> {
        self.hot.facts.log(self.connection, id)
    }

    /// A user's chain and devices; of nobody there are none.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn user(&mut self, id: UserId) -> Result<Arc<UserFacts>, StoreError> {
        self.hot.facts.user(self.connection, id)
    }

    /// The place of an envelope that a log of a conversation holds already.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn place_of(&self, log: LogNumber, key: &EntryKey) -> Result<Option<Place>, StoreError> {
        self.hot.accepted.place_of(self.connection, log, key)
    }

    /// Appends an entry at the head of the log of its conversation. The caller has looked for an earlier one by
    /// [`LogTx::place_of`].
    ///
    /// # Errors
    /// [`StoreError`] when the database fails; the entry was not appended.
    pub fn append_entry(&mut self, log: LogNumber, entry: &NewEntry) -> Result<u64, StoreError> {
        let head = self.hot.pending.head(self.connection, log)?;
        let seq = head.checked_add(1).ok_or(StoreError::Corrupt("head"))?;
        // One statement does all of it or nothing.
        let number = entry::insert(self.connection, log, seq, entry)?;
        if let Recipients::Capsules(capsules) = &entry.recipients {
            if let Err(error) = entry::keep_capsules(self.connection, log, seq, capsules) {
                self.is_spoiled = self.take_back(log, seq).is_err();
                return Err(error);
            }
            self.hot.pending.accept(entry.sender_device, entry.msg_id);
        }
        self.hot.pending.raise(log, seq);
        let fingerprint = accepted::of_key(log, &entry.key());
        self.hot.accepted.add(fingerprint, number);
        u64::try_from(seq).map_err(|_| StoreError::Corrupt("head"))
    }

    /// As [`Tx::acknowledge`].
    ///
    /// # Errors
    /// [`StoreError`] when the database fails; the whole commit fails with it.
    pub fn acknowledge(
        &mut self,
        device: DeviceId,
        log: LogNumber,
        kind: Kind,
        seq: u64,
    ) -> Result<(), StoreError> {
        let moved = cursor::acknowledge(self.connection, device, log, kind, seq);
        self.is_spoiled |= moved.is_err();
        moved
    }

    fn take_back(&self, log: LogNumber, seq: i64) -> Result<(), StoreError> {
        for table in ["capsule", "entry"] {
            self.connection
                .prepare_cached(&format!("DELETE FROM {table} WHERE log = ?1 AND seq = ?2"))?
                .execute([log.0, seq])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
