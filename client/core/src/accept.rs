//! Answers to what was sent: a message gets its place, or comes back.

use std::time::Duration;

use unhidra_wire::{
    content::Content,
    frame::{Appended, Refusal, Refused},
};

use crate::{
    dedupe,
    effects::{Answer, Failure, Notice},
    message::{MessageBody, StoredMessage},
    outbox::{Entry, EntryNumber, Queued, State},
    record::key,
    step::Step,
    store::{StoreError, Table},
};

impl Step<'_> {
    /// Places a message of this device in its conversation. An answer that is repeated changes nothing.
    pub(crate) fn appended(&mut self, appended: &Appended) -> Result<(), StoreError> {
        let Appended {
            conversation,
            msg_id,
            dest,
            seq,
            server_time,
            ..
        } = *appended;
        let Some(number) = Entry::find(self.tx, conversation, msg_id, dest)? else {
            return Ok(());
        };
        self.answered(number, None);
        let queued = match Queued::dequeue(self.tx, State::Ready, number)? {
            Some(queued) => queued,
            // It was refused once, sent by another process as well, and taken there.
            None => match Queued::dequeue(self.tx, State::Stale, number)? {
                Some(queued) => queued,
                // It was on its way when the identity that it was sealed for was replaced, and arrived before.
                None => match Queued::dequeue(self.tx, State::Failed, number)? {
                    Some(queued) if queued.failure == Some(Failure::IdentityChanged) => queued,
                    Some(queued) => return queued.enqueue(self.tx, State::Failed, number),
                    None => return Ok(()),
                },
            },
        };
        let entry = Entry::load_at(self.tx, number)?;
        if entry.dest.is_some() {
            return Ok(());
        }
        if let Some(sealed) = &entry.sealed
            && let Ok(Content::Text(text)) = Content::decode(&entry.content)
        {
            let message = StoredMessage {
                msg_id,
                sender: self.me.user,
                sender_device: self.me.device,
                sent_at: sealed.sent_at,
                server_time,
                body_hash: sealed.key.hash,
                missing_before: 0,
                body: MessageBody::Text(text),
            };
            self.place(conversation, seq, &message)?;
        }
        dedupe::insert(self.tx, conversation, msg_id, self.me.device, seq)?;
        self.effects.notices.push(Notice::Accepted {
            conversation,
            msg_id,
            seq,
        });
        if !queued.owed.is_empty() {
            queued.enqueue(self.tx, State::Owed, number)?;
            self.effects.more = true;
        }
        Ok(())
    }

    /// Takes back a message that consumed nothing on the server.
    pub(crate) fn refused(&mut self, refused: &Refused) -> Result<(), StoreError> {
        let Some(number) = Entry::find(self.tx, refused.conversation, refused.msg_id, refused.dest)? else {
            return Ok(());
        };
        // Rate limits and outages: the entry stays as it is, and is sent again later.
        if matches!(refused.reason, Refusal::RateLimited | Refusal::Unavailable) {
            self.answered(number, Some(refused.retry_after_ms));
            return Ok(());
        }
        self.answered(number, None);
        let Some(queued) = Queued::dequeue(self.tx, State::Ready, number)? else {
            return Ok(());
        };
        match refused.reason {
            Refusal::StaleList | Refusal::UnknownDevice => {
                self.stale(refused, &queued)?;
                self.mark_stale(number, queued)
            }
            Refusal::NotFound => self.give_up(number, queued, Failure::NotFound),
            Refusal::Malformed | Refusal::RateLimited | Refusal::Unavailable => {
                self.give_up(number, queued, Failure::Malformed)
            }
        }
    }

    fn answered(&mut self, entry: EntryNumber, retry_after_ms: Option<u32>) {
        // Zero says "no help"; a second keeps an eager server from being asked in a loop.
        let retry_after = retry_after_ms.map(|millis| Duration::from_millis(u64::from(millis.max(1_000))));
        self.effects.answered.push(Answer { entry, retry_after });
    }

    /// Asks for what the server says is newer; when that is known already, sealing can go on at once.
    fn stale(&mut self, refused: &Refused, queued: &Queued) -> Result<(), StoreError> {
        let peer = self.conversation(queued.conversation)?.map(|found| found.peer);
        for user in [Some(self.me.user), peer].into_iter().flatten() {
            let stated = refused.heads.iter().find(|head| head.user == user);
            let held = self.peer(user)?.and_then(|known| known.head);
            let is_known =
                stated.is_some_and(|stated| held.is_some_and(|held| held.version.0 >= stated.version));
            if !is_known {
                self.need_chain(user)?;
            }
        }
        self.effects.more = true;
        Ok(())
    }

    /// Puts a message where it is shown and read, once.
    pub(crate) fn place(
        &mut self,
        conversation: unhidra_types::ConversationId,
        seq: u64,
        message: &StoredMessage,
    ) -> Result<(), StoreError> {
        use crate::record::Record as _;
        let place = key(&[conversation.as_bytes(), &seq.to_be_bytes()]);
        message.save(self.tx, &place)?;
        let number = self.next_number("journal")?;
        self.tx.put(Table::Journal, &number.to_be_bytes(), &place)?;
        if let Some(peer) = self.conversation(conversation)?.map(|found| found.peer) {
            self.conversation_with(conversation, peer)?.last = message.msg_id;
        }
        let notice = Notice::Messages(conversation);
        if !self.effects.notices.contains(&notice) {
            self.effects.notices.push(notice);
        }
        Ok(())
    }
}
