//! Whether messages may go to a user, and the number that two people compare.

use unhidra_chain::safety_number::{Person, SafetyNumber};
use unhidra_crypto::{CryptoRng, ed25519::VerifyingKey};
use unhidra_types::{ConversationId, Timestamp, UserId};

use super::{Device, StoredConversation};
use crate::{
    contact::Contact,
    conversation::Conversation,
    peer::Peer,
    record::Record as _,
    store::{Store, StoreError, Table},
};

/// Whether messages may go to a user now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is known of the user: messages wait for the device list.
    Unknown,
    /// A device of the user can get messages.
    Reachable,
    /// The user's device list names no device that can get messages.
    NoDevice,
    /// The server shows another identity key than the one that was pinned.
    IdentityChanged,
    /// The user of this device has blocked them.
    Blocked,
    /// A device of the user named a longer device list than the server shows.
    ListWithheld,
}

/// A safety number and whether the user has confirmed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The same on both users' devices.
    pub number: SafetyNumber,
    /// The user has compared it. Forgotten when the identity changes.
    pub verified: bool,
}

impl<S: Store> Device<S> {
    /// Whether messages may go to `user`, by what this device holds.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn standing(
        &mut self,
        user: UserId,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Standing, StoreError> {
        let standing = self.step(now, rng, |step, _| {
            if Contact::of(step.tx, user)?.blocked {
                return Ok(Standing::Blocked);
            }
            let (peer, chain) = (step.peer(user)?, step.chain(user)?);
            let (Some(peer), Some(chain)) = (peer, chain) else {
                return Ok(Standing::Unknown);
            };
            Ok::<_, StoreError>(if peer.changed.is_some() {
                Standing::IdentityChanged
            } else if !peer.may_seal() {
                Standing::ListWithheld
            } else if chain.live_devices(now).next().is_none() {
                Standing::NoDevice
            } else {
                Standing::Reachable
            })
        });
        standing.map(|(standing, _nothing)| standing)
    }

    /// The number to compare with `user`; `None` while one of the two identities is unknown.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn trust(&mut self, user: UserId) -> Result<Option<Trust>, StoreError> {
        let me = self.me.user;
        self.store.transaction(|tx| {
            let (Some(own), Some(other)) = (Peer::load(tx, me.as_bytes())?, Peer::load(tx, user.as_bytes())?)
            else {
                return Ok(None);
            };
            let number = SafetyNumber::of(&person(me, &own)?, &person(user, &other)?);
            Ok(Some(Trust {
                number,
                verified: other.verified,
            }))
        })
    }

    /// Records that the user has compared `number` with `user`. Answers whether it is still the number.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn confirm(&mut self, user: UserId, number: &SafetyNumber) -> Result<bool, StoreError> {
        if self.trust(user)?.is_none_or(|trust| trust.number != *number) {
            return Ok(false);
        }
        self.store.transaction(|tx| {
            let Some(mut peer) = Peer::load(tx, user.as_bytes())? else {
                return Ok(false);
            };
            peer.verified = true;
            peer.save(tx, user.as_bytes())?;
            Ok(true)
        })
    }

    /// How many records of a user's device list are held: the number of the next one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn chain_length(&mut self, user: UserId) -> Result<u32, StoreError> {
        let peer = self.store.transaction(|tx| Peer::load(tx, user.as_bytes()))?;
        Ok(peer
            .and_then(|peer| peer.head)
            .map_or(0, |head| head.version.0.saturating_add(1)))
    }

    /// One direct conversation, if this device knows it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn conversation(&mut self, id: ConversationId) -> Result<Option<StoredConversation>, StoreError> {
        self.store.transaction(|tx| {
            let found = Conversation::load(tx, id.as_bytes())?;
            Ok(found.map(|conversation| StoredConversation {
                id,
                peer: conversation.peer,
            }))
        })
    }
}

pub(super) fn person(user: UserId, peer: &Peer) -> Result<Person, StoreError> {
    person_of(user, &peer.pin)
}

/// A user under an identity key that was a key when it was stored.
pub(super) fn person_of(user: UserId, uik: &[u8; 32]) -> Result<Person, StoreError> {
    let uik = VerifyingKey::from_bytes(uik).map_err(|_| StoreError::Damaged(Table::Peers))?;
    Ok(Person { user, uik })
}
