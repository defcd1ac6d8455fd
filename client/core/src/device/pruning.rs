//! Throwing old messages away. What must not come back is remembered: a message that was received stays known, and of
//! an own one its hash stays, by which a batch is compared.

use unhidra_crypto::hash::sha256;
use unhidra_types::{ConversationId, Timestamp};
use unhidra_wire::content::Content;

use super::Device;
use crate::{
    message::{MessageBody, StoredMessage},
    record::{Record as _, key, last_number},
    store::{KeyRange, Order, Store, StoreError, Table},
};

impl<S: Store> Device<S> {
    /// Deletes the first messages of a conversation, at most `limit`, that the server took before `before`. It stops at
    /// one that is younger, or that no receipt names yet. Says how many it deleted: fewer than `limit` is the end.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn prune(
        &mut self,
        conversation: ConversationId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let own = self.me.device;
        self.store.transaction(|tx| {
            let range = KeyRange::prefix(conversation.as_bytes());
            let mut deleted = 0;
            for row in tx.scan(Table::Messages, &range, Order::Ascending, limit)? {
                let message = StoredMessage::decode(&row.value)?;
                if message.server_time >= before || tx.get(Table::Unreceipted, &row.key)?.is_some() {
                    break;
                }
                if message.sender_device == own
                    && let MessageBody::Text(text) = message.body
                    && let Ok(content) = Content::Text(text).encode()
                {
                    tx.put(Table::Pruned, &row.key, &sha256(&[&content]))?;
                }
                tx.delete(Table::Messages, &row.key)?;
                let delivered = key(&[conversation.as_bytes(), message.msg_id.as_bytes()]);
                tx.delete(Table::Delivered, &delivered)?;
                deleted += 1;
            }
            Ok(deleted)
        })
    }

    /// Drops rows of the journal whose messages are gone, of the first `limit` after number `after`. Says the last
    /// number that it looked at; `None` at the end.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn prune_journal(&mut self, after: u64, limit: usize) -> Result<Option<u64>, StoreError> {
        self.store.transaction(|tx| {
            let range = KeyRange::all().after(&after.to_be_bytes());
            let mut last = None;
            for row in tx.scan(Table::Journal, &range, Order::Ascending, limit)? {
                last = Some(last_number(Table::Journal, &row.key)?);
                if tx.get(Table::Messages, &row.value)?.is_none() {
                    tx.delete(Table::Journal, &row.key)?;
                }
            }
            Ok(last)
        })
    }
}
