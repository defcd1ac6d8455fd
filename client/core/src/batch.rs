//! Lines of a batch that were submitted before: feeding other lines under the same name must neither lose nor repeat
//! any.

use unhidra_crypto::hash::sha256;
use unhidra_types::{ConversationId, MsgId};
use unhidra_wire::content::Content;

use crate::{
    SubmitError, dedupe,
    message::{MessageBody, StoredMessage},
    outbox::Entry,
    record::{Record as _, key},
    step::Step,
    store::{StoreError, Table},
};

impl Step<'_> {
    /// Whether a line of a batch is there already.
    ///
    /// # Errors
    /// [`SubmitError::OtherText`] when it was submitted with another content.
    pub(crate) fn has_line(
        &mut self,
        line: u64,
        conversation: ConversationId,
        msg_id: MsgId,
        content: &[u8],
    ) -> Result<bool, SubmitError> {
        match self.agrees(conversation, msg_id, content)? {
            Some(true) => Ok(true),
            Some(false) => Err(SubmitError::OtherText { line }),
            None => Ok(false),
        }
    }

    /// Whether an own message has just this content; `None` while it is unknown. A message that was given up counts by
    /// what it was to be.
    fn agrees(
        &mut self,
        conversation: ConversationId,
        msg_id: MsgId,
        content: &[u8],
    ) -> Result<Option<bool>, StoreError> {
        if let Some(number) = Entry::find(self.tx, conversation, msg_id, None)? {
            return Ok(Some(Entry::load_at(self.tx, number)?.content == content));
        }
        let Some(seq) = dedupe::find(self.tx, conversation, msg_id, self.me.device)? else {
            return Ok(None);
        };
        let place = key(&[conversation.as_bytes(), &seq.to_be_bytes()]);
        if let Some(hash) = self.tx.get(Table::Pruned, &place)? {
            return Ok(Some(hash == sha256(&[content])));
        }
        let held = StoredMessage::load(self.tx, &place)?.map(|message| message.body);
        Ok(Some(match held {
            Some(MessageBody::Text(text)) => Content::Text(text).encode().is_ok_and(|held| held == content),
            Some(MessageBody::Unsupported(held)) => held == content,
            None => true,
        }))
    }
}
