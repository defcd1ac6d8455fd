//! What a connection sends stays in its order, also when the server can't take one envelope and could take the next.
//!
//! A client sends without waiting for answers. When an envelope is refused for a while (no room on the disk, too many at
//! once), those behind it are on their way already; taken, they would stand before it in the log for good. So
//! everything on the connection is refused in the same way until the first that was refused comes again, or is found
//! stored. A client sends again from there, as it does for every such refusal.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unhidra_store::{LogTx, StoreError, entry::EntryKey};
use unhidra_types::{ConversationId, DeviceId, MsgId};
use unhidra_wire::frame::Append;

use crate::Messaging;

/// The order of what one connection sends.
#[derive(Debug, Default)]
pub struct SendOrder {
    awaited: Mutex<Option<Key>>,
}

/// What makes an envelope of one device that envelope and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    conversation: ConversationId,
    msg_id: MsgId,
    dest: Option<DeviceId>,
    attempt: u8,
}

impl SendOrder {
    pub(crate) fn wait_for(&self, key: Key) {
        self.lock().get_or_insert(key);
    }

    /// Whether it is the turn of `key`, which `device` sends. Ends the waiting when it is.
    pub(crate) fn is_turn_of(
        &self,
        key: Key,
        device: DeviceId,
        tx: &mut LogTx<'_>,
    ) -> Result<bool, StoreError> {
        let mut awaited = self.lock();
        let Some(first) = *awaited else {
            return Ok(true);
        };
        if first != key && !first.is_stored(device, tx)? {
            return Ok(false);
        }
        *awaited = None;
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Key>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Messaging {
    /// The envelope was refused for a while. Nothing that is queued behind this call is taken before it; what was queued
    /// before stays where it is.
    pub fn put_off(&self, append: &Append, order: &Arc<SendOrder>) {
        let (key, order) = (Key::of(append), Arc::clone(order));
        drop(self.store.write(move |_| {
            order.wait_for(key);
            Ok::<_, StoreError>(())
        }));
    }
}

impl Key {
    pub(crate) const fn of(append: &Append) -> Self {
        Self {
            conversation: append.conversation,
            msg_id: append.msg_id,
            dest: append.dest,
            attempt: append.attempt,
        }
    }

    /// Another connection of the device may have brought it.
    fn is_stored(self, device: DeviceId, tx: &mut LogTx<'_>) -> Result<bool, StoreError> {
        let Some(conversation) = tx.log(self.conversation)? else {
            return Ok(false);
        };
        let key = EntryKey {
            sender_device: device,
            msg_id: self.msg_id,
            dest: self.dest,
            attempt: self.attempt,
        };
        Ok(tx.place_of(conversation.log, &key)?.is_some())
    }
}
