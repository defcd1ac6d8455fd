//! What the user wants of other users: whose first messages are a request, and who is blocked.
//!
//! Whoever writes first to a user who never wrote to them makes a request: it is shown as such and gets no receipts until
//! it is accepted, by name or by an answer. Messages of blocked users are opened, so that ratchets stay in step, and
//! dropped; nothing tells the sender.

use unhidra_chain::{
    codec::{Malformed, Reader},
    direct::direct_conversation,
};
use unhidra_types::{Timestamp, UserId};

use crate::{
    record::Record,
    step::Step,
    store::{KeyRange, Order, StoreError, Table, Transaction},
};

/// Requests that wait for an answer. When one more comes the oldest goes, with its messages.
pub const MAX_REQUESTS: u64 = 256;
/// Counts them.
const REQUESTS: &str = "requests";

/// One other user, by the wish of this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Their messages are dropped, and nothing is sent to them.
    pub blocked: bool,
    /// Receipts go to them: this user has written to them, or accepted their request.
    pub accepted: bool,
    /// When their request came, while it waits.
    pub requested_at: Option<Timestamp>,
}

impl Contact {
    pub(crate) fn of(tx: &mut dyn Transaction, user: UserId) -> Result<Self, StoreError> {
        Self::load(tx, user.as_bytes()).map(Option::unwrap_or_default)
    }

    /// Whether messages are waiting for this user's decision.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        self.requested_at.is_some() && !self.blocked
    }
}

impl Step<'_> {
    /// Takes a user as someone to talk to: a request of theirs is answered by the receipts that were withheld.
    pub(crate) fn accept_contact(&mut self, user: UserId) -> Result<bool, StoreError> {
        let mut contact = Contact::of(self.tx, user)?;
        if contact.accepted {
            return Ok(false);
        }
        if contact.requested_at.take().is_some() {
            let requests = self.number(REQUESTS)?.saturating_sub(1);
            self.set_number(REQUESTS, requests);
        }
        contact.accepted = true;
        contact.save(self.tx, user.as_bytes())?;
        for row in self.withheld_receipts(user)? {
            self.tx.delete(Table::WithheldReceipts, &row.key)?;
            self.tx.put(Table::Unreceipted, &row.key, &row.value)?;
            self.effects.more = true;
        }
        Ok(true)
    }

    /// Blocks a user or lets them in again; says whether that changed anything. Receipts that were withheld are never
    /// sent then.
    pub(crate) fn set_blocked(&mut self, user: UserId, blocked: Blocking) -> Result<bool, StoreError> {
        let mut contact = Contact::of(self.tx, user)?;
        let wanted = blocked == Blocking::Blocked;
        if contact.blocked == wanted {
            return Ok(false);
        }
        contact.blocked = wanted;
        if wanted {
            for row in self.withheld_receipts(user)? {
                self.tx.delete(Table::WithheldReceipts, &row.key)?;
            }
            let conversation = direct_conversation(self.me.user, user);
            let unreceipted = KeyRange::prefix(conversation.as_bytes());
            let rows = self
                .tx
                .scan(Table::Unreceipted, &unreceipted, Order::Ascending, usize::MAX)?;
            for row in rows {
                self.tx.delete(Table::Unreceipted, &row.key)?;
            }
        }
        contact.save(self.tx, user.as_bytes())?;
        Ok(true)
    }

    /// Where the receipt of a message from `user` waits: with the others, or until the user's request is accepted.
    pub(crate) fn receipt_table(&mut self, user: UserId) -> Result<Table, StoreError> {
        let mut contact = Contact::of(self.tx, user)?;
        if contact.accepted {
            return Ok(Table::Unreceipted);
        }
        let conversation = direct_conversation(self.me.user, user);
        // A conversation from before requests were told apart, in which this device has written.
        if contact.requested_at.is_none()
            && self
                .conversation(conversation)?
                .is_some_and(|found| found.sealed > 0)
        {
            self.accept_contact(user)?;
            return Ok(Table::Unreceipted);
        }
        if contact.requested_at.is_none() {
            contact.requested_at = Some(self.now);
            contact.save(self.tx, user.as_bytes())?;
            let requests = self.number(REQUESTS)?.saturating_add(1);
            self.set_number(REQUESTS, requests);
            if requests > MAX_REQUESTS {
                self.drop_oldest_request()?;
            }
        }
        Ok(Table::WithheldReceipts)
    }

    fn drop_oldest_request(&mut self) -> Result<(), StoreError> {
        let rows = self
            .tx
            .scan(Table::Contacts, &KeyRange::all(), Order::Ascending, usize::MAX)?;
        let mut oldest: Option<(Timestamp, UserId)> = None;
        for row in rows {
            let user =
                UserId::try_from(row.key.as_slice()).map_err(|_| StoreError::Damaged(Table::Contacts))?;
            if let Some(at) = Contact::decode(&row.value)?.requested_at {
                oldest = Some(oldest.map_or((at, user), |known| known.min((at, user))));
            }
        }
        let Some((_, user)) = oldest else { return Ok(()) };
        let mut contact = Contact::of(self.tx, user)?;
        contact.requested_at = None;
        contact.save(self.tx, user.as_bytes())?;
        let requests = self.number(REQUESTS)?.saturating_sub(1);
        self.set_number(REQUESTS, requests);
        let conversation = direct_conversation(self.me.user, user);
        for table in [Table::Messages, Table::WithheldReceipts] {
            let range = KeyRange::prefix(conversation.as_bytes());
            for row in self.tx.scan(table, &range, Order::Ascending, usize::MAX)? {
                self.tx.delete(table, &row.key)?;
            }
        }
        Ok(())
    }

    fn withheld_receipts(&mut self, user: UserId) -> Result<Vec<crate::store::Row>, StoreError> {
        let conversation = direct_conversation(self.me.user, user);
        let range = KeyRange::prefix(conversation.as_bytes());
        self.tx
            .scan(Table::WithheldReceipts, &range, Order::Ascending, usize::MAX)
    }
}

/// What is wanted of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// Nothing from or to them.
    Blocked,
    /// Messages again.
    Allowed,
}

impl Record for Contact {
    const TABLE: Table = Table::Contacts;

    /// `flags(1: 1 blocked, 2 accepted, 4 asking) requested_at(8)`.
    fn write(&self, out: &mut Vec<u8>) {
        let asking = self.requested_at.is_some();
        out.push(u8::from(self.blocked) | u8::from(self.accepted) << 1 | u8::from(asking) << 2);
        let at = self.requested_at.unwrap_or(Timestamp::EPOCH);
        out.extend(at.as_millis().to_be_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let flags = reader.u8()?;
        let at = Timestamp::from_millis(reader.u64()?);
        if flags > 7 {
            return Err(Malformed);
        }
        Ok(Self {
            blocked: flags & 1 != 0,
            accepted: flags & 2 != 0,
            requested_at: (flags & 4 != 0).then_some(at),
        })
    }
}
