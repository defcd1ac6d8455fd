//! Reading what the device holds: messages, progress of own ones, what waits, what was suspicious.

use unhidra_types::{ConversationId, MsgId, Timestamp, UserId};
use unhidra_wire::content::Content;

use super::Device;
use crate::{
    conversation::Conversation,
    dedupe,
    effects::Failure,
    message::{Message, StoredMessage},
    outbox::{Entry, Queued, State},
    record::{Record as _, key, last_number},
    security::{SecurityEvent, Suspicion},
    store::{KeyRange, Order, Store, StoreError, Table, Transaction},
    waiting::Waiting,
};

/// A direct conversation that this device knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredConversation {
    /// Its id.
    pub id: ConversationId,
    /// The other user.
    pub peer: UserId,
}

/// How far one of this device's own messages has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progression {
    /// The last thing that is certain.
    pub progress: Progress,
    /// Devices that have not been given it yet, because they have no usable prekeys.
    pub owed: Vec<unhidra_types::DeviceId>,
}

/// What is certain about an own message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing: this device has no such message.
    Unknown,
    /// It waits for something: a device list, prekeys, a connection.
    Draft,
    /// It is sealed and leaves as soon as there is a connection.
    Queued,
    /// The server has it.
    Accepted {
        /// Its place.
        seq: u64,
    },
    /// A device of the other user has opened and stored it.
    Delivered {
        /// Its place, once this device knows it.
        seq: Option<u64>,
        /// When this device learnt of it.
        at: Timestamp,
    },
    /// It was given up.
    Failed(Failure),
}

impl<S: Store> Device<S> {
    /// The direct conversations, by id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn conversations(&mut self) -> Result<Vec<StoredConversation>, StoreError> {
        self.store.transaction(|tx| {
            let rows = tx.scan(
                Table::Conversations,
                &KeyRange::all(),
                Order::Ascending,
                usize::MAX,
            )?;
            rows.into_iter()
                .map(|row| {
                    let id = ConversationId::try_from(row.key.as_slice())
                        .map_err(|_| StoreError::Damaged(Table::Conversations))?;
                    let peer = Conversation::decode(&row.value)?.peer;
                    Ok(StoredConversation { id, peer })
                })
                .collect()
        })
    }

    /// The first `limit` messages of a conversation after entry `after`, in display order.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn messages_after(
        &mut self,
        conversation: ConversationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let Some(next) = after.checked_add(1) else {
            return Ok(Vec::new());
        };
        let first = key(&[conversation.as_bytes(), &next.to_be_bytes()]);
        let range = KeyRange::prefix(conversation.as_bytes()).starting_at(&first);
        self.messages(&range, Order::Ascending, limit)
    }

    /// The last `limit` messages of a conversation before entry `before`, the newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn messages_before(
        &mut self,
        conversation: ConversationId,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let first = key(&[conversation.as_bytes(), &before.to_be_bytes()]);
        let range = KeyRange::prefix(conversation.as_bytes()).before(&first);
        self.messages(&range, Order::Descending, limit)
    }

    fn messages(&mut self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Message>, StoreError> {
        self.store.transaction(|tx| {
            let rows = tx.scan(Table::Messages, range, order, limit)?;
            rows.iter().map(|row| message(&row.key, &row.value)).collect()
        })
    }

    /// The first `limit` messages after number `after`, in the order in which this device learnt of them, whichever
    /// process it was that did. The numbers rise; whoever remembers the last sees each message once.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn journal(&mut self, after: u64, limit: usize) -> Result<Vec<(u64, Message)>, StoreError> {
        self.store.transaction(|tx| {
            let (mut after, mut messages) = (after, Vec::new());
            // Rows may outlive their messages: a page that names none of them is not the end.
            while messages.len() < limit {
                let range = KeyRange::all().after(&after.to_be_bytes());
                let rows = tx.scan(Table::Journal, &range, Order::Ascending, limit - messages.len())?;
                let Some(last) = rows.last() else { break };
                after = last_number(Table::Journal, &last.key)?;
                for row in rows {
                    let number = last_number(Table::Journal, &row.key)?;
                    if let Some(stored) = tx.get(Table::Messages, &row.value)? {
                        messages.push((number, message(&row.value, &stored)?));
                    }
                }
            }
            Ok(messages)
        })
    }

    /// The number of the last message in the journal; 0 when there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn journal_end(&mut self) -> Result<u64, StoreError> {
        self.store.transaction(|tx| {
            let last = tx.scan(Table::Journal, &KeyRange::all(), Order::Descending, 1)?;
            last.first()
                .map_or(Ok(0), |row| last_number(Table::Journal, &row.key))
        })
    }

    /// How far an own message has come.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn progress(
        &mut self,
        conversation: ConversationId,
        msg_id: MsgId,
    ) -> Result<Progression, StoreError> {
        let device = self.me.device;
        self.store.transaction(|tx| {
            let queued = match Entry::find(tx, conversation, msg_id, None)? {
                Some(number) => Queued::state_of(tx, number)?,
                None => None,
            };
            let seq = dedupe::find(tx, conversation, msg_id, device)?;
            let delivered = tx.get(
                Table::Delivered,
                &key(&[conversation.as_bytes(), msg_id.as_bytes()]),
            )?;
            let progress = match (delivered, seq, &queued) {
                (Some(at), seq, _) => Progress::Delivered {
                    seq,
                    at: Timestamp::from_millis(last_number(Table::Delivered, &at)?),
                },
                (None, Some(seq), _) => Progress::Accepted { seq },
                (None, None, Some((State::Draft, _))) => Progress::Draft,
                (None, None, Some((State::Failed, queued))) => {
                    Progress::Failed(queued.failure.unwrap_or(Failure::Malformed))
                }
                (None, None, Some((State::Ready | State::Stale | State::Owed, _))) => Progress::Queued,
                (None, None, None) => Progress::Unknown,
            };
            let owed = queued.map_or_else(Vec::new, |(_, queued)| queued.owed);
            Ok(Progression {
                progress,
                owed: owed.into_iter().map(|(_, device)| device).collect(),
            })
        })
    }

    /// How many own entries have not reached the server, receipts and what devices tell each other among them, without
    /// those that were given up.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn unsent(&mut self) -> Result<usize, StoreError> {
        self.store.transaction(|tx| {
            let mut unsent = 0;
            for state in State::PENDING {
                unsent += Queued::list(tx, state, None, usize::MAX)?.len();
            }
            Ok(unsent)
        })
    }

    /// How many texts of the user have not reached the server, without those that were given up.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn unsent_messages(&mut self) -> Result<usize, StoreError> {
        self.store.transaction(|tx| {
            let mut unsent = 0;
            for state in State::PENDING {
                for (number, _) in Queued::list(tx, state, None, usize::MAX)? {
                    let content = Content::decode(&Entry::load_at(tx, number)?.content);
                    unsent += usize::from(matches!(content, Ok(Content::Text(_))));
                }
            }
            Ok(unsent)
        })
    }

    /// Entries that can't be opened or understood yet, the oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn waiting(&mut self) -> Result<Vec<Waiting>, StoreError> {
        self.store.transaction(|tx| {
            all(tx, Table::Waiting)?
                .iter()
                .map(|row| Waiting::decode(row))
                .collect()
        })
    }

    /// The security events that are kept, the oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn security_events(&mut self) -> Result<Vec<SecurityEvent>, StoreError> {
        self.store.transaction(|tx| {
            all(tx, Table::SecurityEvents)?
                .iter()
                .map(|row| SecurityEvent::decode(row))
                .collect()
        })
    }

    /// How often each reason occurred since the store was made.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn suspicions(&mut self) -> Result<Vec<(Suspicion, u64)>, StoreError> {
        self.store.transaction(|tx| {
            let mut counts = Vec::new();
            for reason in Suspicion::ALL {
                if let Some(count) = tx.get(Table::Numbers, reason.text().as_bytes())? {
                    counts.push((*reason, last_number(Table::Numbers, &count)?));
                }
            }
            Ok(counts)
        })
    }
}

fn all(tx: &mut dyn Transaction, table: Table) -> Result<Vec<Vec<u8>>, StoreError> {
    let rows = tx.scan(table, &KeyRange::all(), Order::Ascending, usize::MAX)?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

fn message(place: &[u8], stored: &[u8]) -> Result<Message, StoreError> {
    let damaged = || StoreError::Damaged(Table::Messages);
    let (conversation, rest) = place.split_first_chunk().ok_or_else(damaged)?;
    let (seq, _twin) = rest.split_first_chunk().ok_or_else(damaged)?;
    let seq = u64::from_be_bytes(*seq);
    Ok(StoredMessage::decode(stored)?.at(ConversationId::from_bytes(*conversation), seq))
}
