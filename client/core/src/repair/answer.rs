//! Giving a capsule again, and to whom: only to a device that had one when the message was first sent.
//!
//! A certificate's hash names user, device and both device keys, and by the records before it the identity key. So a
//! device was a recipient exactly when the chain that is held now contains, for that device, the certificate that the
//! outbox entry names; a renewal keeps its keys. It must be live now as well. Nobody else is told anything.

use unhidra_chain::{Chain, PqRatchet};
use unhidra_pair::{Address, EkHash, Outgoing, SealError};
use unhidra_types::UserId;
use unhidra_wire::{
    content::Unopened,
    frame::{ListVersion, MAX_ATTEMPT},
};

use crate::{
    epochs::pq_ratchet,
    outbox::{self, Entry, Queued, SealedCapsule, SealedMessage, State},
    security::{SecurityEvent, Suspicion},
    step::Step,
    store::StoreError,
};

impl Step<'_> {
    /// Answers what a device asked for in `session`.
    pub(crate) fn answer_retry(
        &mut self,
        peer: Address,
        session: EkHash,
        unopened: &[Unopened],
    ) -> Result<(), StoreError> {
        let now = self.now;
        // It can read what comes where it asked, whatever became of the session that sends.
        let preferred = self.sessions(peer)?.prefer(session, now);
        self.set_sessions(preferred);
        let Some(chain) = self.chain(peer.user)? else {
            return Ok(());
        };
        for asked in unopened {
            match self.entitled(peer, &chain, asked)? {
                Entitlement::Recipient(entry, cert_hash) => self.seal_repair(peer, &entry, cert_hash)?,
                Entitlement::Nothing => {}
                Entitlement::Stranger => self.log(&SecurityEvent {
                    at: now,
                    reason: Suspicion::RetryOfStranger,
                    sender: peer.user,
                    device: peer.device,
                    conversation: asked.conversation,
                    seq: 0,
                })?,
            }
        }
        Ok(())
    }

    /// What a device may be given of a message that it asks for.
    fn entitled(
        &mut self,
        peer: Address,
        chain: &Chain,
        asked: &Unopened,
    ) -> Result<Entitlement, StoreError> {
        let mut was_sent = false;
        for dest in [None, Some(peer.device)] {
            let Some(number) = Entry::find(self.tx, asked.conversation, asked.msg_id, dest)? else {
                continue;
            };
            // What has not arrived yet will.
            if Queued::is_unsent(self.tx, number)? {
                return Ok(Entitlement::Nothing);
            }
            let entry = Entry::load_at(self.tx, number)?;
            let Some(sealed) = entry.sealed.as_ref().filter(|sealed| sealed.body.is_some()) else {
                continue;
            };
            if self.now.since(sealed.sent_at) >= outbox::LIFETIME {
                continue;
            }
            was_sent = true;
            let of_device = |capsule: &&SealedCapsule| capsule.device == peer.device;
            let Some(cert_hash) = sealed
                .capsules
                .iter()
                .find(of_device)
                .map(|capsule| capsule.cert_hash)
            else {
                continue;
            };
            let is_recipient = chain.is_live(peer.device, self.now).is_live()
                && chain
                    .device(peer.device)
                    .is_some_and(|device| device.has_certificate(&cert_hash));
            if is_recipient {
                return Ok(Entitlement::Recipient(Box::new(entry), cert_hash));
            }
        }
        Ok(if was_sent {
            Entitlement::Stranger
        } else {
            Entitlement::Nothing
        })
    }

    /// Queues a fresh capsule for the same body, unless the last answer is on its way or it was the last one.
    fn seal_repair(&mut self, peer: Address, entry: &Entry, cert_hash: [u8; 32]) -> Result<(), StoreError> {
        let Some(attempt) = self.next_attempt(peer, entry)? else {
            return Ok(());
        };
        let (Some(lists), Some(sealed)) = (self.lists_of(entry)?, &entry.sealed) else {
            return Ok(());
        };
        let Some(body) = &sealed.body else {
            return Ok(());
        };
        let version = |user: UserId| {
            let of_user = lists.iter().find(|list| list.user == user);
            unhidra_chain::ListVersion(of_user.map_or(0, |list| list.version))
        };
        let (own, theirs) = (self.chain(self.me.user)?, self.chain(peer.user)?);
        let pq = own.zip(theirs).map_or(PqRatchet::Lacking, |(own, theirs)| {
            pq_ratchet(&own, self.me.device, &theirs, peer.device)
        });
        let outgoing = Outgoing {
            sender: self.me.address(),
            msg_id: entry.msg_id,
            sent_at: sealed.sent_at,
            own_list: version(self.me.user),
            peer_list: version(peer.user),
            pq,
        };
        let (conversation, now) = (entry.conversation, self.now);
        let capsule = self.with_sessions(peer, |sessions, rng| {
            let sealed = sessions.seal_capsule(&outgoing, conversation, &body.key, now, rng)?;
            Ok::<_, SealError>((sealed.sessions, (sealed.kind, sealed.bytes)))
        })?;
        // A session that can't send: it asks again, in another.
        let Ok((kind, bytes)) = capsule else {
            return Ok(());
        };
        let answer = Entry {
            conversation,
            msg_id: entry.msg_id,
            attempt,
            dest: Some(peer.device),
            content: Vec::new(),
            sealed: Some(SealedMessage {
                sent_at: sealed.sent_at,
                body: None,
                lists,
                capsules: vec![SealedCapsule::new(peer.device, cert_hash, kind, bytes)],
            }),
        };
        self.enqueue(&answer, &Queued::new(conversation, entry.msg_id), State::Ready)
    }

    /// The number of the next answer to a device; `None` when there were [`MAX_ATTEMPT`], or one has not arrived yet.
    fn next_attempt(&mut self, peer: Address, entry: &Entry) -> Result<Option<u8>, StoreError> {
        for attempt in 1..=MAX_ATTEMPT {
            let dest = Some(peer.device);
            let Some(number) = Entry::find_attempt(self.tx, entry.conversation, entry.msg_id, dest, attempt)?
            else {
                return Ok(Some(attempt));
            };
            if Queued::is_unsent(self.tx, number)? {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The lists that both users of a message's conversation are held to have now; `None` while nothing may be sealed
    /// for one of them.
    fn lists_of(&mut self, entry: &Entry) -> Result<Option<Vec<ListVersion>>, StoreError> {
        let Some(other) = self.conversation(entry.conversation)?.map(|found| found.peer) else {
            return Ok(None);
        };
        let mut lists = Vec::with_capacity(2);
        for user in [self.me.user, other] {
            let Some(head) = self
                .peer(user)?
                .filter(crate::peer::Peer::may_seal)
                .and_then(|peer| peer.head)
            else {
                return Ok(None);
            };
            lists.push(ListVersion {
                user,
                version: head.version.0,
                head_hash: head.hash,
            });
        }
        Ok(Some(lists))
    }
}

/// What may be answered.
enum Entitlement {
    /// A capsule for the body of this entry, by which certificate.
    Recipient(Box<Entry>, [u8; 32]),
    /// It is not there, too old, or still on its way.
    Nothing,
    /// It was not sent to that device.
    Stranger,
}
