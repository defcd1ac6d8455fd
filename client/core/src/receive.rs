//! Receiving: one entry of a log, in order, from the frame to a message that is stored once.
//!
//! duplicate -> session -> body -> content -> place. An entry that fails changes no session; it is dropped, kept
//! waiting or asked for again as the error says (`docs/protocol/errors.md`), and always leaves a
//! security event. What needs the sender's chain first is parked, with everything behind it in its conversation.

mod keep;

use unhidra_pair::{
    Address, Envelope, Introduction, IntroductionError, OpenError, PrekeyPrefix, Received, SeenEk,
    body::{self, Context},
    sessions::{AcceptedHandshake, Content as Opening, Opened},
};
use unhidra_types::{ConversationId, MsgId, UserId, limits::MAX_SEEN_EPHEMERAL_KEYS};
use unhidra_wire::{content::Content, frame::Deliver};

use crate::{
    contact::Contact,
    dedupe,
    effects::Notice,
    identity::CAPABILITIES,
    message::{MessageBody, StoredMessage},
    prekeys,
    record::key,
    repair::{Repaired, place_of},
    security::{SecurityEvent, Suspicion},
    step::Step,
    store::{StoreError, Table},
    waiting::{Request, Waiting},
};

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is processed: the cursor moves past it.
    Done,
    /// The sender's chain is needed first.
    NeedsChain(UserId),
    /// It was altered on its way: it is asked for once more.
    FetchAgain,
}

/// How often an entry was tried already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tries {
    /// The sender's chain was fetched for it.
    pub(crate) chain_fetched: bool,
    /// It was fetched again.
    pub(crate) fetched_again: bool,
}

impl Step<'_> {
    /// Processes one entry; the caller has made sure that it is the next of its log.
    pub(crate) fn deliver(&mut self, deliver: &Deliver, tries: Tries) -> Result<Outcome, StoreError> {
        if deliver.conversation == ConversationId::CONTROL {
            return self.deliver_control(deliver, tries);
        }
        let known = dedupe::find(
            self.tx,
            deliver.conversation,
            deliver.msg_id,
            deliver.sender_device,
        )?;
        if known.is_some() {
            return Ok(Outcome::Done);
        }
        let waiting = self.waiting_for(deliver)?;
        let refusal = match self.open(deliver, waiting.as_ref())? {
            Ok(Verdict::Opened(opened, content)) => {
                return self.take_in(deliver, waiting.as_ref(), opened, content);
            }
            Ok(Verdict::NeedsChain) if !tries.chain_fetched => {
                return Ok(Outcome::NeedsChain(deliver.sender));
            }
            Ok(Verdict::NeedsChain) => Refusal::wait(Suspicion::UnknownDevice),
            Err(refusal) => refusal,
        };
        if refusal.reason == Suspicion::BadTag && !tries.fetched_again {
            return Ok(Outcome::FetchAgain);
        }
        self.log(&SecurityEvent {
            at: self.now,
            reason: refusal.reason,
            sender: deliver.sender,
            device: deliver.sender_device,
            conversation: deliver.conversation,
            seq: deliver.seq,
        })?;
        if refusal.keep && waiting.is_none() {
            self.keep_waiting(deliver, refusal.reason)?;
        } else if refusal.keep {
            // What was given again can't be opened either.
            self.note_unopened(place_of(deliver).sender, refusal.reason)?;
        }
        Ok(Outcome::Done)
    }

    /// Whether an entry was stored, or is kept for later.
    pub(crate) fn is_known(&mut self, deliver: &Deliver) -> Result<bool, StoreError> {
        let place = place_of(deliver);
        let (conversation, msg_id) = (place.conversation, place.msg_id);
        Ok(
            dedupe::find(self.tx, conversation, msg_id, place.sender.device)?.is_some()
                || Request::find(self.tx, &place)?.is_some(),
        )
    }

    /// Opens capsule and body, which is that of the first entry when the capsule was asked for. The step's sessions are
    /// as before unless this succeeds.
    fn open(
        &mut self,
        deliver: &Deliver,
        waiting: Option<&Waiting>,
    ) -> Result<Result<Verdict, Refusal>, StoreError> {
        let Some(capsule) = &deliver.capsule else {
            let direct = unhidra_chain::direct::direct_conversation(self.me.user, deliver.sender);
            let is_direct =
                deliver.conversation == direct || self.conversation(deliver.conversation)?.is_some();
            // Groups are of a later version.
            return Ok(Err(Refusal::wait(if is_direct {
                Suspicion::NoCapsule
            } else {
                Suspicion::Unsupported
            })));
        };
        let body = match (deliver.body.is_empty(), waiting) {
            (false, _) => &deliver.body,
            (true, Some(waiting)) => &waiting.body,
            (true, None) => return Ok(Err(Refusal::drop(Suspicion::Unasked))),
        };
        let checked = Envelope::check(
            deliver.version,
            capsule.kind.number(),
            deliver.flags,
            self.me.device,
            deliver.msg_id,
        );
        let envelope = match checked {
            Ok(envelope) if capsule.device == self.me.device => envelope,
            Ok(_) => return Ok(Err(Refusal::drop(Suspicion::Malformed))),
            Err(error) => return Ok(Err(error.into())),
        };
        let received = Received {
            envelope,
            sender: Address {
                user: deliver.sender,
                device: deliver.sender_device,
            },
            conversation: deliver.conversation,
            bytes: &capsule.sealed,
        };
        let opened = match self.open_capsule(&received)? {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(Ok(Verdict::NeedsChain)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Opening::Capsule(body_key) = &opened.content else {
            return Ok(Err(Refusal::drop(Suspicion::Misplaced)));
        };
        let context = Context {
            conversation: deliver.conversation,
            msg_id: deliver.msg_id,
            sender: received.sender,
        };
        let plaintext = match body::open(body_key, body, &context, self.me.user) {
            Ok(plaintext) => plaintext,
            Err(error) => return Ok(Err(error.into())),
        };
        let content = match Content::decode(&plaintext.content) {
            Ok(content) => content,
            Err(_malformed) => return Ok(Err(Refusal::drop(Suspicion::Malformed))),
        };
        let content = OpenedContent {
            peer: if deliver.sender == self.me.user {
                plaintext.peer
            } else {
                deliver.sender
            },
            cseq: plaintext.cseq,
            hash: body_key.hash,
            encoded: plaintext.content,
            content,
        };
        Ok(Ok(Verdict::Opened(Box::new(opened), content)))
    }

    /// Opens the ratchet message; `None` when the sender's chain is needed first.
    pub(crate) fn open_capsule(
        &mut self,
        received: &Received<'_>,
    ) -> Result<Result<Option<Opened>, Refusal>, StoreError> {
        let Some(me) = self.local()? else {
            return Ok(Err(Refusal::wait(Suspicion::NoSession)));
        };
        let now = self.now;
        let opened = match self.sessions(received.sender)?.introduction_needed(received) {
            Err(error) => Err(error),
            Ok(None) => self.sessions(received.sender)?.open(received, &me, None, now),
            Ok(Some(prefix)) => {
                let chain = match self.sender_chain(received.sender.user, &prefix)? {
                    Ok(Some(chain)) => chain,
                    Ok(None) => return Ok(Ok(None)),
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let named = prekeys::named_by(self.tx, &prefix)?;
                let seen = self.seen(&prefix)?;
                match Introduction::check(&prefix, &chain, CAPABILITIES, seen, &named, now) {
                    Ok(introduction) => {
                        self.sessions(received.sender)?
                            .open(received, &me, Some(&introduction), now)
                    }
                    Err(IntroductionError::Downgrade) => {
                        return Ok(Err(Refusal::drop(Suspicion::Downgrade)));
                    }
                    // The chain held may be behind the sender's.
                    Err(_unknown_device) => return Ok(Ok(None)),
                }
            }
        };
        match opened {
            Ok(opened) => Ok(Ok(Some(opened))),
            Err(error) => {
                if let OpenError::SkipTooFar(session) = error {
                    let archived = self.sessions(received.sender)?.archive(session, now);
                    self.set_sessions(archived);
                }
                Ok(Err(error.into()))
            }
        }
    }

    fn sender_chain(
        &mut self,
        user: UserId,
        prefix: &PrekeyPrefix,
    ) -> Result<Result<Option<std::sync::Arc<unhidra_chain::Chain>>, Refusal>, StoreError> {
        if prefix.initiator.user != user {
            return Ok(Err(Refusal::drop(Suspicion::Malformed)));
        }
        match self.peer(user)? {
            Some(peer) if peer.changed.is_some() => Ok(Err(Refusal::wait(Suspicion::IdentityChanged))),
            Some(_) | None => self.chain(user).map(Ok),
        }
    }

    fn seen(&mut self, prefix: &PrekeyPrefix) -> Result<SeenEk, StoreError> {
        if self.tx.get(Table::SeenKeys, &prefix.ek_hash().0)?.is_some() {
            return Ok(SeenEk::Seen);
        }
        let rows = self.number(prekeys::SEEN_KEYS)?;
        let full = usize::try_from(rows).is_ok_and(|rows| rows >= MAX_SEEN_EPHEMERAL_KEYS);
        Ok(if full { SeenEk::Full } else { SeenEk::New })
    }

    /// Stores everything that an opened message brings.
    fn take_in(
        &mut self,
        deliver: &Deliver,
        waiting: Option<&Waiting>,
        opened: Box<Opened>,
        opened_content: OpenedContent,
    ) -> Result<Outcome, StoreError> {
        let sender = Address {
            user: deliver.sender,
            device: deliver.sender_device,
        };
        let sent_at = opened.sent_at;
        let repaired = match waiting {
            Some(waiting) => {
                self.forget_waiting(waiting)?;
                Repaired::Yes
            }
            None => Repaired::No,
        };
        // What was asked for is shown where it first stood.
        let (seq, server_time) = waiting.map_or((deliver.seq, deliver.server_time), |waiting| {
            (waiting.seq, waiting.server_time)
        });
        self.take_opened(sender, *opened, repaired)?;
        let OpenedContent {
            peer,
            cseq,
            hash,
            encoded,
            content,
        } = opened_content;
        self.conversation_with(deliver.conversation, peer)?.on_server = true;
        let missing_before = self.count_message(deliver.conversation, sender.device, cseq)?;
        dedupe::insert(self.tx, deliver.conversation, deliver.msg_id, sender.device, seq)?;
        let is_own = sender.user == self.me.user;
        if !is_own && Contact::of(self.tx, sender.user)?.blocked {
            return Ok(Outcome::Done);
        }
        let body = match content {
            Content::Receipt(ids) => {
                self.take_receipt(deliver.conversation, sender.user, &ids)?;
                return Ok(Outcome::Done);
            }
            // What is for the device itself has no place among messages.
            Content::Retry(_) | Content::ListHead { .. } => return self.misplaced(deliver),
            Content::Text(text) => MessageBody::Text(text),
            Content::Unknown => MessageBody::Unsupported(encoded),
        };
        let message = StoredMessage {
            msg_id: deliver.msg_id,
            sender: sender.user,
            sender_device: sender.device,
            sent_at,
            server_time,
            body_hash: hash,
            missing_before,
            body,
        };
        self.place(deliver.conversation, seq, &message)?;
        if is_own {
            // Written on another device of this user.
            self.accept_contact(peer)?;
        } else {
            let table = self.receipt_table(sender.user)?;
            let place = key(&[
                deliver.conversation.as_bytes(),
                &seq.to_be_bytes(),
                deliver.msg_id.as_bytes(),
            ]);
            self.tx.put(table, &place, deliver.msg_id.as_bytes())?;
        }
        Ok(Outcome::Done)
    }

    /// Stores what every opened message brings, whatever it says.
    pub(crate) fn take_opened(
        &mut self,
        sender: Address,
        opened: Opened,
        repaired: Repaired,
    ) -> Result<(), StoreError> {
        let Opened {
            sessions,
            own_list,
            peer_list,
            accepted,
            archived_since,
            ..
        } = opened;
        self.set_sessions(sessions);
        if let Some(accepted) = accepted {
            self.accept_handshake(&accepted)?;
        }
        self.note_opened(sender, repaired)?;
        self.heed_lists(sender, (own_list, peer_list), archived_since)
    }

    fn misplaced(&mut self, deliver: &Deliver) -> Result<Outcome, StoreError> {
        self.log(&SecurityEvent {
            at: self.now,
            reason: Suspicion::Misplaced,
            sender: deliver.sender,
            device: deliver.sender_device,
            conversation: deliver.conversation,
            seq: deliver.seq,
        })?;
        Ok(Outcome::Done)
    }

    fn accept_handshake(&mut self, accepted: &AcceptedHandshake) -> Result<(), StoreError> {
        for id in &accepted.erase {
            self.tx.delete(Table::Prekeys, &id.to_u32().to_be_bytes())?;
        }
        let remembered = &accepted.remember;
        self.tx.put(
            Table::SeenKeys,
            &remembered.ek.0,
            &remembered.spk.to_u32().to_be_bytes(),
        )?;
        let rows = self.number(prekeys::SEEN_KEYS)?.saturating_add(1);
        self.set_number(prekeys::SEEN_KEYS, rows);
        Ok(())
    }

    /// Marks own messages that a device of the other user holds.
    fn take_receipt(
        &mut self,
        conversation: ConversationId,
        sender: UserId,
        ids: &[MsgId],
    ) -> Result<(), StoreError> {
        if sender == self.me.user {
            return Ok(());
        }
        for msg_id in ids {
            let is_own = dedupe::find(self.tx, conversation, *msg_id, self.me.device)?.is_some()
                || crate::outbox::Entry::find(self.tx, conversation, *msg_id, None)?.is_some();
            let place = key(&[conversation.as_bytes(), msg_id.as_bytes()]);
            if is_own && self.tx.get(Table::Delivered, &place)?.is_none() {
                let at = self.now.as_millis().to_be_bytes();
                self.tx.put(Table::Delivered, &place, &at)?;
                self.effects.notices.push(Notice::Delivered {
                    conversation,
                    msg_id: *msg_id,
                });
            }
        }
        Ok(())
    }
}

/// What opening an entry came to.
enum Verdict {
    Opened(Box<Opened>, OpenedContent),
    NeedsChain,
}

struct OpenedContent {
    /// The other user of the conversation.
    peer: UserId,
    cseq: u64,
    hash: [u8; 32],
    encoded: Vec<u8>,
    content: Content,
}

/// Why an entry is not taken as a message, and whether it is kept for later.
#[derive(Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) reason: Suspicion,
    keep: bool,
}

impl Refusal {
    pub(crate) const fn drop(reason: Suspicion) -> Self {
        Self { reason, keep: false }
    }

    const fn wait(reason: Suspicion) -> Self {
        Self { reason, keep: true }
    }
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Malformed => Self::drop(Suspicion::Malformed),
            OpenError::Replay => Self::drop(Suspicion::Replay),
            OpenError::NoSession => Self::wait(Suspicion::NoSession),
            OpenError::UnknownPrekey => Self::wait(Suspicion::UnknownPrekey),
            OpenError::KeyGone => Self::wait(Suspicion::KeyGone),
            OpenError::SkipTooFar(_) => Self::wait(Suspicion::SkipTooFar),
            OpenError::BadTag => Self::wait(Suspicion::BadTag),
            // Including every error of a later version of the protocol.
            _ => Self::wait(Suspicion::Unsupported),
        }
    }
}
