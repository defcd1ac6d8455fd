//! A server that was set back: what it had taken from this device and does not know any more is sent once more.
//!
//! Every answer gets a running number. On connect the server names the last message that it took; what this device knows
//! to have been taken after that one goes into the outbox again, as it was sealed, for those who were its recipients
//! then and still are. A server that had it all along answers with the first place, and nobody notices.

use unhidra_chain::codec::{Malformed, Reader};
use unhidra_types::{ConversationId, MsgId, Timestamp};
use unhidra_wire::frame::Welcome;

use crate::{
    dedupe,
    outbox::{Entry, EntryNumber, Queued, State},
    record::{Record, last_number},
    step::Step,
    store::{KeyRange, Order, StoreError, Table, Transaction},
};

/// The running number of answers.
const TAKEN: &str = "taken";
/// Where the last message that the server took is kept.
const LAST: &[u8] = b"last taken";
/// Rows that one sweep looks at.
const SWEPT: usize = 256;
/// How far the sweep of old entries has come.
const SWEPT_THROUGH: &str = "outbox swept";

/// The last message of this device that the server took.
#[derive(Clone, Copy)]
pub(crate) struct LastTaken {
    msg_id: MsgId,
    /// Whether the same id had been taken before, for another device or as another attempt.
    is_repeated: bool,
}

/// What the server's word of its last message comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has all that is known to have been taken.
    Level,
    /// It has lost what was taken after this number.
    SetBack(u64),
    /// It has taken what this device knows nothing of: this device was set back.
    Ahead,
}

impl Step<'_> {
    /// Takes note that the server took an entry.
    pub(crate) fn note_taken(&mut self, number: EntryNumber, entry: &Entry) -> Result<(), StoreError> {
        let taken = self.next_number(TAKEN)?;
        self.tx
            .put(Table::Taken, &taken.to_be_bytes(), &number.to_key())?;
        self.last_taken = Some(LastTaken {
            msg_id: entry.msg_id,
            is_repeated: entry.attempt > 0
                || (entry.dest.is_some() && entry.conversation != ConversationId::CONTROL),
        });
        Ok(())
    }

    /// Compares what the server says it took last with what is known here.
    pub(crate) fn standing_of(&mut self, welcome: &Welcome) -> Result<Standing, StoreError> {
        let last = match self.last_taken {
            Some(last) => Some(last),
            None => LastTaken::load(self.tx, LAST)?,
        };
        match (welcome.last_accepted, last) {
            (None, None) => Ok(Standing::Level),
            (None, Some(_)) => Ok(Standing::SetBack(0)),
            (Some(stated), Some(last)) if stated == last.msg_id && !last.is_repeated => Ok(Standing::Level),
            (Some(stated), last) => self.standing_at(stated, last),
        }
    }

    fn standing_at(&mut self, stated: MsgId, last: Option<LastTaken>) -> Result<Standing, StoreError> {
        let entries = self.tx.scan(
            Table::OutboxIndex,
            &KeyRange::prefix(stated.as_bytes()),
            Order::Ascending,
            usize::MAX,
        )?;
        let mut numbers = Vec::with_capacity(entries.len());
        for row in &entries {
            let number = EntryNumber(last_number(Table::OutboxIndex, &row.value)?);
            if Queued::is_unsent(self.tx, number)? {
                // Taken, and the answer was lost: the server is ahead by what it will be asked about.
                return Ok(Standing::Level);
            }
            numbers.push(number.to_key());
        }
        let rows = self
            .tx
            .scan(Table::Taken, &KeyRange::all(), Order::Ascending, usize::MAX)?;
        if let Some(row) = rows
            .iter()
            .find(|row| numbers.iter().any(|number| *number == *row.value))
        {
            return last_number(Table::Taken, &row.key).map(Standing::SetBack);
        }
        let is_known = !entries.is_empty() || last.is_some_and(|last| last.msg_id == stated);
        if is_known {
            return Ok(Standing::Level);
        }
        Ok(if self.was_sent(stated)? {
            Standing::SetBack(0)
        } else {
            Standing::Ahead
        })
    }

    /// Whether this device has sent a message at some time, in whichever conversation.
    fn was_sent(&mut self, msg_id: MsgId) -> Result<bool, StoreError> {
        let rows = self.tx.scan(
            Table::Conversations,
            &KeyRange::all(),
            Order::Ascending,
            usize::MAX,
        )?;
        let ids = rows
            .iter()
            .filter_map(|row| ConversationId::try_from(row.key.as_slice()).ok());
        for id in ids.chain([ConversationId::CONTROL]) {
            if dedupe::find(self.tx, id, msg_id, self.me.device)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Queues what was taken after number `taken`. What another process has sent meanwhile may be among it: then the
    /// server answers with the first place.
    pub(crate) fn send_again(&mut self, taken: u64) -> Result<(), StoreError> {
        let range = KeyRange::all().after(&taken.to_be_bytes());
        let rows = self.tx.scan(Table::Taken, &range, Order::Ascending, usize::MAX)?;
        for row in rows {
            let number = EntryNumber(last_number(Table::Taken, &row.value)?);
            // What was forgotten since is not there any more.
            if let Some(entry) = Entry::load(self.tx, &number.to_key())?
                && self.requeue(number, &entry)?
            {
                // Its next answer gets a number of its own.
                self.tx.delete(Table::Taken, &row.key)?;
            }
        }
        Ok(())
    }

    fn requeue(&mut self, number: EntryNumber, entry: &Entry) -> Result<bool, StoreError> {
        let is_message = entry.sealed.as_ref().is_some_and(|sealed| sealed.body.is_some());
        if !is_message || Queued::is_unsent(self.tx, number)? {
            return Ok(false);
        }
        let owed = Queued::dequeue(self.tx, State::Owed, number)?;
        let queued = Queued {
            again: true,
            owed: owed.map(|queued| queued.owed).unwrap_or_default(),
            ..Queued::new(entry.conversation, entry.msg_id)
        };
        queued.enqueue(self.tx, State::Stale, number)?;
        if let Some(peer) = self.conversation(entry.conversation)?.map(|found| found.peer) {
            // The server may have lost the conversation as well; opening it again is the same one.
            self.conversation_with(entry.conversation, peer)?.on_server = false;
        }
        self.effects.more = true;
        Ok(true)
    }

    /// Forgets accepted entries that are past their time, and which number they had.
    pub(crate) fn expire_outbox(&mut self) -> Result<(), StoreError> {
        let cutoff = self.now.saturating_sub(crate::outbox::LIFETIME);
        if cutoff == Timestamp::EPOCH {
            return Ok(());
        }
        let after = EntryNumber(self.number(SWEPT_THROUGH)?);
        let last = Entry::forget_old(self.tx, after, cutoff, SWEPT)?;
        self.set_number(SWEPT_THROUGH, last.0);
        for row in self
            .tx
            .scan(Table::Taken, &KeyRange::all(), Order::Ascending, SWEPT)?
        {
            if self.tx.get(Table::Outbox, &row.value)?.is_some() {
                break;
            }
            self.tx.delete(Table::Taken, &row.key)?;
        }
        Ok(())
    }
}

impl LastTaken {
    pub(crate) fn keep(&self, tx: &mut dyn Transaction) -> Result<(), StoreError> {
        self.save(tx, LAST)
    }
}

impl Record for LastTaken {
    const TABLE: Table = Table::Identity;

    /// `msg_id(16) repeated(1)`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.msg_id.as_bytes());
        out.push(u8::from(self.is_repeated));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            msg_id: MsgId::from_bytes(reader.array()?),
            is_repeated: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed),
            },
        })
    }
}
