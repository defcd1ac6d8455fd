//! What devices say to each other's engines, through control logs: requests for repair and device lists.
//!
//! It is not for people. What can't be opened is dropped with a security event and never repaired: senders repeat what
//! matters.

use unhidra_pair::{Address, Envelope, Outgoing, Received, SealError, sessions::Content as Opening};
use unhidra_types::{ConversationId, MsgId};
use unhidra_wire::{content::Content, frame::Deliver};

use crate::{
    contact::Contact,
    dedupe,
    epochs::pq_ratchet,
    outbox::{Entry, Queued, SealedCapsule, SealedMessage, State},
    receive::{Outcome, Refusal, Tries},
    repair::Repaired,
    security::{SecurityEvent, Suspicion},
    step::Step,
    store::StoreError,
};

impl Step<'_> {
    /// Seals `content` for one device and queues it for that device's control log. False when no session can carry it.
    /// A blocked user is told nothing, and it counts as said.
    pub(crate) fn say(&mut self, peer: Address, content: &Content) -> Result<bool, StoreError> {
        if Contact::of(self.tx, peer.user)?.blocked {
            return Ok(true);
        }
        let (own, theirs) = (self.chain(self.me.user)?, self.chain(peer.user)?);
        let (Some(own), Some(theirs), Ok(content)) = (own, theirs, content.encode()) else {
            return Ok(false);
        };
        let Some(cert_hash) = theirs
            .device(peer.device)
            .map(|device| *device.certificate_hash())
        else {
            return Ok(false);
        };
        let pq = pq_ratchet(&own, self.me.device, &theirs, peer.device);
        let mut msg_id = [0; 16];
        self.rng.fill_bytes(&mut msg_id);
        let outgoing = Outgoing {
            sender: self.me.address(),
            msg_id: MsgId::from_bytes(msg_id),
            sent_at: self.now,
            own_list: own.head().version,
            peer_list: theirs.head().version,
            pq,
        };
        let now = self.now;
        let sealed = self.with_sessions(peer, |sessions, rng| {
            let sealed = sessions.seal_control(&outgoing, &content, now, rng)?;
            Ok::<_, SealError>((sealed.sessions, (sealed.kind, sealed.bytes)))
        })?;
        let Ok((kind, bytes)) = sealed else {
            return Ok(false);
        };
        let entry = Entry {
            conversation: ConversationId::CONTROL,
            msg_id: outgoing.msg_id,
            attempt: 0,
            dest: Some(peer.device),
            content: Vec::new(),
            sealed: Some(SealedMessage {
                sent_at: now,
                body: None,
                lists: Vec::new(),
                capsules: vec![SealedCapsule::new(peer.device, cert_hash, kind, bytes)],
            }),
        };
        let queued = Queued::new(entry.conversation, entry.msg_id);
        self.enqueue(&entry, &queued, State::Ready)?;
        Ok(true)
    }

    /// Processes one entry of this device's control log.
    pub(crate) fn deliver_control(&mut self, deliver: &Deliver, tries: Tries) -> Result<Outcome, StoreError> {
        let (conversation, msg_id) = (deliver.conversation, deliver.msg_id);
        if dedupe::find(self.tx, conversation, msg_id, deliver.sender_device)?.is_some() {
            return Ok(Outcome::Done);
        }
        let reason = match self.open_control(deliver)? {
            Ok(true) => return Ok(Outcome::Done),
            Ok(false) if !tries.chain_fetched => return Ok(Outcome::NeedsChain(deliver.sender)),
            Ok(false) => Suspicion::UnknownDevice,
            Err(refusal) => refusal.reason,
        };
        self.log(&SecurityEvent {
            at: self.now,
            reason,
            sender: deliver.sender,
            device: deliver.sender_device,
            conversation,
            seq: deliver.seq,
        })?;
        Ok(Outcome::Done)
    }

    /// Opens an entry and does what it says; false when the sender's chain is needed first.
    fn open_control(&mut self, deliver: &Deliver) -> Result<Result<bool, Refusal>, StoreError> {
        let Some(capsule) = deliver
            .capsule
            .as_ref()
            .filter(|capsule| capsule.device == self.me.device)
        else {
            return Ok(Err(Refusal::drop(Suspicion::Malformed)));
        };
        let envelope = match Envelope::check(
            deliver.version,
            capsule.kind.number(),
            deliver.flags,
            self.me.device,
            deliver.msg_id,
        ) {
            Ok(envelope) => envelope,
            Err(error) => return Ok(Err(error.into())),
        };
        let sender = Address {
            user: deliver.sender,
            device: deliver.sender_device,
        };
        let received = Received {
            envelope,
            sender,
            conversation: ConversationId::CONTROL,
            bytes: &capsule.sealed,
        };
        let opened = match self.open_capsule(&received)? {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(Ok(false)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Opening::Control(content) = &opened.content else {
            return Ok(Err(Refusal::drop(Suspicion::Misplaced)));
        };
        let content = Content::decode(content);
        let session = opened.session;
        // It is authentic: the session moves on whatever it says.
        self.take_opened(sender, opened, Repaired::No)?;
        dedupe::insert(
            self.tx,
            deliver.conversation,
            deliver.msg_id,
            sender.device,
            deliver.seq,
        )?;
        if Contact::of(self.tx, sender.user)?.blocked {
            return Ok(Ok(true));
        }
        match content {
            Ok(Content::Retry(unopened)) => self.answer_retry(sender, session, &unopened)?,
            Ok(Content::ListHead { from, records }) => self.take_list_head(sender, from, records)?,
            // A kind of a later version, which only its sender misses.
            Ok(Content::Unknown) => {}
            Ok(Content::Text(_) | Content::Receipt(_)) => {
                return Ok(Err(Refusal::drop(Suspicion::Misplaced)));
            }
            Err(_malformed) => return Ok(Err(Refusal::drop(Suspicion::Malformed))),
        }
        Ok(Ok(true))
    }
}
