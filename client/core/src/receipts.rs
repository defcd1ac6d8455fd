//! Delivery receipts: telling the other user which messages this device has opened and stored.

use unhidra_types::{ConversationId, MsgId};
use unhidra_wire::content::{Content, MAX_RECEIPT_IDS};

use crate::{
    send::Plans,
    step::Step,
    store::{KeyRange, Order, StoreError, Table},
};

/// Conversations that one step writes receipts for; the next step goes on.
const MAX_RECEIPTS_PER_STEP: usize = 16;

impl Step<'_> {
    /// Queues one receipt for each conversation that has messages without. Receipts themselves get none.
    pub(crate) fn write_receipts(&mut self, plans: &mut Plans) -> Result<(), StoreError> {
        let mut rest = KeyRange::all();
        for _ in 0..MAX_RECEIPTS_PER_STEP {
            let Some(first) = self
                .tx
                .scan(Table::Unreceipted, &rest, Order::Ascending, 1)?
                .pop()
            else {
                return Ok(());
            };
            let Some((id, _seq)) = first.key.split_first_chunk::<16>() else {
                return Err(StoreError::Damaged(Table::Unreceipted));
            };
            self.write_receipt(plans, ConversationId::from_bytes(*id))?;
            rest = KeyRange::all().after(&first.key);
        }
        self.effects.more = true;
        Ok(())
    }

    fn write_receipt(&mut self, plans: &mut Plans, conversation: ConversationId) -> Result<(), StoreError> {
        let range = KeyRange::prefix(conversation.as_bytes());
        let rows = self
            .tx
            .scan(Table::Unreceipted, &range, Order::Ascending, MAX_RECEIPT_IDS)?;
        let mut ids = Vec::with_capacity(rows.len());
        for row in rows {
            let id =
                MsgId::try_from(row.value.as_slice()).map_err(|_| StoreError::Damaged(Table::Unreceipted))?;
            ids.push(id);
            self.tx.delete(Table::Unreceipted, &row.key)?;
        }
        let Some(peer) = self.conversation(conversation)?.map(|found| found.peer) else {
            return Ok(());
        };
        let Ok(content) = Content::Receipt(ids).encode() else {
            return Err(StoreError::Damaged(Table::Unreceipted));
        };
        let mut msg_id = [0; 16];
        self.rng.fill_bytes(&mut msg_id);
        self.submit(plans, conversation, peer, MsgId::from_bytes(msg_id), content)
    }
}
