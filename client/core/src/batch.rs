//! Lines of a batch that were submitted before: feeding other lines under the same name must neither lose nor repeat
//! any.

use unhidra_crypto::hash::sha256;
use unhidra_types::{ConversationId, MsgId};
use unhidra_wire::content::Content;

use crate::{
    MessageKey, SubmitError, dedupe,
    message::{MessageBody, StoredMessage},
    outbox::Entry,
    record::{Record as _, key},
    step::Step,
    store::{StoreError, Table},
};

impl Step<'_> {
    /// Refuses a line of a batch that was submitted before with another content.
    pub(crate) fn check_line(
        &mut self,
        line: MessageKey<'_>,
        conversation: ConversationId,
        msg_id: MsgId,
        content: &[u8],
    ) -> Result<(), SubmitError> {
        match line {
            MessageKey::Batch { line, .. } if !self.agrees(conversation, msg_id, content)? => {
                Err(SubmitError::OtherText { line })
            }
            MessageKey::Batch { .. } | MessageKey::Random => Ok(()),
        }
    }

    /// Whether an own message is unknown yet, or has just this content. A message that was given up counts by what it
    /// was to be.
    fn agrees(
        &mut self,
        conversation: ConversationId,
        msg_id: MsgId,
        content: &[u8],
    ) -> Result<bool, StoreError> {
        if let Some(number) = Entry::find(self.tx, conversation, msg_id, None)? {
            return Ok(Entry::load_at(self.tx, number)?.content == content);
        }
        let Some(seq) = dedupe::find(self.tx, conversation, msg_id, self.me.device)? else {
            return Ok(true);
        };
        let place = key(&[conversation.as_bytes(), &seq.to_be_bytes()]);
        if let Some(hash) = self.tx.get(Table::Pruned, &place)? {
            return Ok(hash == sha256(&[content]));
        }
        Ok(
            match StoredMessage::load(self.tx, &place)?.map(|message| message.body) {
                Some(MessageBody::Text(text)) => {
                    Content::Text(text).encode().is_ok_and(|held| held == content)
                }
                Some(MessageBody::Unsupported(held)) => held == content,
                None => true,
            },
        )
    }
}
