//! Which messages are known: one row for each (conversation, message, sending device), with its place in the log.

use unhidra_types::{ConversationId, DeviceId, MsgId};

use crate::{
    record::{key, last_number},
    store::{StoreError, Table, Transaction},
};

/// The place of a known message; 0 for one that is kept back or was refused for good.
pub(crate) fn find(
    tx: &mut dyn Transaction,
    conversation: ConversationId,
    msg_id: MsgId,
    device: DeviceId,
) -> Result<Option<u64>, StoreError> {
    tx.get(Table::Dedupe, &row_key(conversation, msg_id, device))?
        .map(|seq| last_number(Table::Dedupe, &seq))
        .transpose()
}

/// Makes a message known.
pub(crate) fn insert(
    tx: &mut dyn Transaction,
    conversation: ConversationId,
    msg_id: MsgId,
    device: DeviceId,
    seq: u64,
) -> Result<(), StoreError> {
    tx.put(
        Table::Dedupe,
        &row_key(conversation, msg_id, device),
        &seq.to_be_bytes(),
    )
}

fn row_key(conversation: ConversationId, msg_id: MsgId, device: DeviceId) -> Vec<u8> {
    key(&[conversation.as_bytes(), msg_id.as_bytes(), device.as_bytes()])
}
