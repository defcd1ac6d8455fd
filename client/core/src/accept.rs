//! Answers to what was sent: a message gets its place, or comes back.

use std::time::Duration;

use unhidra_types::ConversationId;
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

/// Rounds of sealing for other lists before a message is given up.
const MAX_ROUNDS: u8 = 3;

impl Step<'_> {
    /// Places a message of this device in its conversation. An answer that is repeated changes nothing.
    pub(crate) fn appended(&mut self, appended: &Appended) -> Result<(), StoreError> {
        let Appended {
            conversation,
            msg_id,
            dest,
            attempt,
            seq,
            server_time,
        } = *appended;
        let Some(number) = Entry::find_attempt(self.tx, conversation, msg_id, dest, attempt)? else {
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
        self.note_taken(number, &entry)?;
        if entry.dest.is_some() {
            // Its message has its place already, or is none. The row says later that it was this device's.
            if entry.conversation == ConversationId::CONTROL {
                dedupe::insert(self.tx, conversation, msg_id, self.me.device, seq)?;
            }
            return Ok(());
        }
        if let Some(before) = dedupe::find(self.tx, conversation, msg_id, self.me.device)? {
            return self.taken_again(number, &queued, before == seq);
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
                body_hash: sealed.body.as_ref().map_or([0; 32], |body| body.key.hash),
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
        self.still_owed(number, &queued)
    }

    /// The server has a message that it had before, at the same place or, because it was set back, at another.
    fn taken_again(
        &mut self,
        number: EntryNumber,
        queued: &Queued,
        is_same_place: bool,
    ) -> Result<(), StoreError> {
        let notice = Notice::ServerSetBack;
        if !is_same_place && queued.again && !self.effects.notices.contains(&notice) {
            self.effects.notices.push(notice);
        }
        self.still_owed(number, queued)
    }

    fn still_owed(&mut self, number: EntryNumber, queued: &Queued) -> Result<(), StoreError> {
        if !queued.owed.is_empty() {
            queued.enqueue(self.tx, State::Owed, number)?;
            self.effects.more = true;
        }
        Ok(())
    }

    /// Takes back a message that consumed nothing on the server.
    pub(crate) fn refused(&mut self, refused: &Refused) -> Result<(), StoreError> {
        let Refused {
            conversation,
            msg_id,
            dest,
            attempt,
            ..
        } = *refused;
        let Some(number) = Entry::find_attempt(self.tx, conversation, msg_id, dest, attempt)? else {
            return Ok(());
        };
        let is_control = conversation == ConversationId::CONTROL;
        // Rate limits and outages: the entry stays as it is, and is sent again later.
        let may_wait =
            refused.reason == Refusal::Unavailable || (refused.reason == Refusal::RateLimited && !is_control);
        if may_wait {
            self.answered(number, Some(refused.retry_after_ms));
            return Ok(());
        }
        self.answered(number, None);
        let Some(queued) = Queued::dequeue(self.tx, State::Ready, number)? else {
            return Ok(());
        };
        if is_control || (attempt > 0 && refused.reason == Refusal::NotFound) {
            // Whoever needs it will say so again.
            return Entry::load_at(self.tx, number)?.forget(self.tx, number);
        }
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

    /// Takes a refused entry out of the way: to be sealed for other lists, or given up.
    fn mark_stale(&mut self, number: EntryNumber, mut queued: Queued) -> Result<(), StoreError> {
        if queued.rounds >= MAX_ROUNDS {
            return self.give_up(number, queued, Failure::ListsKeepChanging);
        }
        queued.rounds += 1;
        queued.enqueue(self.tx, State::Stale, number)
    }

    /// Keeps an entry as failed, with its reason.
    pub(crate) fn give_up(
        &mut self,
        number: EntryNumber,
        mut queued: Queued,
        reason: Failure,
    ) -> Result<(), StoreError> {
        queued.failure = Some(reason);
        self.effects.notices.push(Notice::Failed {
            conversation: queued.conversation,
            msg_id: queued.msg_id,
            reason,
        });
        queued.enqueue(self.tx, State::Failed, number)
    }

    /// Puts a message where it is shown and read, once.
    pub(crate) fn place(
        &mut self,
        conversation: ConversationId,
        seq: u64,
        message: &StoredMessage,
    ) -> Result<(), StoreError> {
        use crate::record::Record as _;
        let mut place = key(&[conversation.as_bytes(), &seq.to_be_bytes()]);
        if let Some(there) = StoredMessage::load(self.tx, &place)? {
            if (there.msg_id, there.sender_device) == (message.msg_id, message.sender_device) {
                return Ok(());
            }
            // A number that the server gave twice: both stand there, and neither is lost.
            place.extend(message.msg_id.as_bytes());
            place.extend(message.sender_device.as_bytes());
        }
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
