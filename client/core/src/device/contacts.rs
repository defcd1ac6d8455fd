//! Other users as this one has decided about them: accepted, blocked, verified.

use unhidra_chain::safety_number::SafetyNumber;
use unhidra_crypto::CryptoRng;
use unhidra_types::{MsgId, Timestamp, UserId};
use unhidra_wire::content::Content;

use super::{Device, trust::person_of};
use crate::{
    contact::{Blocking, Contact},
    effects::{Effects, Failure},
    identity_change::IdentityChange,
    outbox::{Entry, Queued, State},
    peer::Peer,
    record::{Record as _, last_number},
    store::{KeyRange, Order, Store, StoreError, Table},
};

/// What this device knows of another user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What the user of this device has decided.
    pub contact: Contact,
    /// The safety number was compared.
    pub verified: bool,
    /// The server shows another identity than the pinned one: nothing is sent until it is accepted.
    pub changed: bool,
}

impl<S: Store> Device<S> {
    /// What is known of a user.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn known(&mut self, user: UserId) -> Result<Known, StoreError> {
        self.store.transaction(|tx| {
            let peer = Peer::load(tx, user.as_bytes())?;
            Ok(Known {
                contact: Contact::of(tx, user)?,
                verified: peer.as_ref().is_some_and(|peer| peer.verified),
                changed: peer.is_some_and(|peer| peer.changed.is_some()),
            })
        })
    }

    /// Everyone that this device knows, without its own user, by id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn contacts(&mut self) -> Result<Vec<(UserId, Known)>, StoreError> {
        let mut users = Vec::new();
        let me = self.me.user;
        self.store.transaction(|tx| {
            for table in [Table::Peers, Table::Contacts] {
                for row in tx.scan(table, &KeyRange::all(), Order::Ascending, usize::MAX)? {
                    users.push(UserId::try_from(row.key.as_slice()).map_err(|_| StoreError::Damaged(table))?);
                }
            }
            Ok::<_, StoreError>(())
        })?;
        users.retain(|user| *user != me);
        users.sort_unstable();
        users.dedup();
        users
            .into_iter()
            .map(|user| Ok((user, self.known(user)?)))
            .collect()
    }

    /// Accepts the request of a user: receipts that were withheld leave. False when there was nothing to accept.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn accept_request(
        &mut self,
        user: UserId,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<(bool, Effects), StoreError> {
        self.step(now, rng, |step, _| {
            let asks = Contact::of(step.tx, user)?.is_request();
            if asks {
                step.accept_contact(user)?;
            }
            Ok(asks)
        })
    }

    /// Takes a user as someone to talk to, as writing to them does: their messages are no request.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn accept_contact(
        &mut self,
        user: UserId,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Effects, StoreError> {
        self.effects(now, rng, |step, _| step.accept_contact(user).map(drop))
    }

    /// Blocks a user or lets them in again; false when it was so already.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn set_blocked(
        &mut self,
        user: UserId,
        blocking: Blocking,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<bool, StoreError> {
        self.step(now, rng, |step, _| step.set_blocked(user, blocking))
            .map(|(changed, _nothing)| changed)
    }

    /// The safety numbers before and after, while the server shows another identity of `user` than the pinned one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn changed_identity(
        &mut self,
        user: UserId,
    ) -> Result<Option<(SafetyNumber, SafetyNumber)>, StoreError> {
        let me = self.me.user;
        self.store.transaction(|tx| {
            let (Some(own), Some(other)) = (Peer::load(tx, me.as_bytes())?, Peer::load(tx, user.as_bytes())?)
            else {
                return Ok(None);
            };
            let Some(changed) = other.changed else {
                return Ok(None);
            };
            let own = person_of(me, &own.pin)?;
            let before = SafetyNumber::of(&own, &person_of(user, &other.pin)?);
            Ok(Some((
                before,
                SafetyNumber::of(&own, &person_of(user, &changed.uik)?),
            )))
        })
    }

    /// Accepts the identity that the server shows for `user`, after the people have compared `number`. False when that
    /// is not its number. All sessions with the user end, and what was queued for them fails.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn accept_identity(
        &mut self,
        user: UserId,
        number: &SafetyNumber,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<(bool, Effects), StoreError> {
        let me = self.me.user;
        self.step(now, rng, |step, _| {
            let (own, other) = (step.peer(me)?, step.peer(user)?);
            let (Some(own), Some(shown)) = (own, other.and_then(|other| other.changed)) else {
                return Ok(false);
            };
            let shown = SafetyNumber::of(&person_of(me, &own.pin)?, &person_of(user, &shown.uik)?);
            if shown != *number {
                return Ok(false);
            }
            step.accept_identity(user)
        })
    }

    /// The first `limit` changes of identities after number `after`, the oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn identity_changes(
        &mut self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, IdentityChange)>, StoreError> {
        self.store.transaction(|tx| {
            let range = KeyRange::all().after(&after.to_be_bytes());
            tx.scan(Table::IdentityChanges, &range, Order::Ascending, limit)?
                .iter()
                .map(|row| {
                    let number = last_number(Table::IdentityChanges, &row.key)?;
                    Ok((number, IdentityChange::decode(&row.value)?))
                })
                .collect()
        })
    }

    /// Texts to `user` that failed because an identity was replaced, the oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn unsent_texts(&mut self, user: UserId) -> Result<Vec<(MsgId, String)>, StoreError> {
        let conversation = unhidra_chain::direct::direct_conversation(self.me.user, user);
        self.store.transaction(|tx| {
            let mut texts = Vec::new();
            for (number, queued) in Queued::list(tx, State::Failed, None, usize::MAX)? {
                if queued.conversation != conversation || queued.failure != Some(Failure::IdentityChanged) {
                    continue;
                }
                if let Ok(Content::Text(text)) = Content::decode(&Entry::load_at(tx, number)?.content) {
                    texts.push((queued.msg_id, text));
                }
            }
            Ok(texts)
        })
    }

    /// Forgets that messages failed, because they were written anew or are not meant any more.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn forget_unsent(&mut self, user: UserId, ids: &[MsgId]) -> Result<(), StoreError> {
        let conversation = unhidra_chain::direct::direct_conversation(self.me.user, user);
        self.store.transaction(|tx| {
            for id in ids {
                if let Some(number) = Entry::find(tx, conversation, *id, None)? {
                    Queued::dequeue(tx, State::Failed, number)?;
                }
            }
            Ok(())
        })
    }
}
