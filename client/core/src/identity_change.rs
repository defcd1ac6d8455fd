//! Changes of identities: what was shown, what was taken, and what happens to everything that belonged to the old one.
//!
//! A genesis that the pinned key has signed as well is taken with a notice. Any other one only stops sending until the
//! user has accepted it. Either way nothing that was written for the old identity is sealed for the new one: queued
//! messages fail, and the user may write them anew.

use unhidra_chain::{
    Chain,
    codec::{Malformed, Reader},
};
use unhidra_pair::{Address, SessionSet};
use unhidra_types::{ConversationId, Timestamp, UserId};
use unhidra_wire::content::Content;

use crate::{
    effects::{Failure, Notice},
    outbox::{Entry, Queued, State},
    peer::{Identity, Peer, Retired},
    receive::Tries,
    record::Record,
    security::Suspicion,
    step::Step,
    store::{KeyRange, Order, StoreError, Table},
    waiting::Waiting,
};

/// Changes kept; the oldest go first.
pub const MAX_IDENTITY_CHANGES: u64 = 1_000;

/// How an identity changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The server shows another identity, which nothing vouches for: sending has stopped.
    Shown,
    /// The pinned identity key has signed its successor, which was taken.
    Rotated,
    /// The identity key is the same and has begun another chain.
    Renewed,
    /// The user of this device has accepted what was shown.
    Accepted,
}

/// One change, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityChange {
    /// When this device learnt of it.
    pub at: Timestamp,
    /// Whose identity.
    pub user: UserId,
    /// How it changed.
    pub kind: ChangeKind,
    /// The identity key before.
    pub from: [u8; 32],
    /// The identity key after.
    pub to: [u8; 32],
    /// Whether the key before had been verified.
    pub was_verified: bool,
    /// Queued messages that failed for it.
    pub unsent: u32,
}

impl Step<'_> {
    /// Puts another genesis in the place of the pinned one, which has signed it: sessions with devices that stay under
    /// their keys go on receiving what is on its way, all others end.
    pub(crate) fn take_rotation(
        &mut self,
        peer: &mut Peer,
        held: Option<&Chain>,
        chain: &Chain,
    ) -> Result<(), StoreError> {
        let user = chain.user();
        let to = Identity::of(chain.genesis());
        for device in held.into_iter().flat_map(Chain::devices) {
            let subject = device.certificate().subject();
            let stays = chain.device(subject.device).is_some_and(|carried| {
                let carried_subject = carried.certificate().subject();
                (carried_subject.dsk, carried_subject.dik) == (subject.dsk, subject.dik)
                    && carried.revoked_at().is_none()
                    && device.revoked_at().is_none()
            });
            let address = Address {
                user,
                device: subject.device,
            };
            if stays {
                let now = self.now;
                let archived = self.sessions(address)?.archive_all(now);
                self.set_sessions(archived);
            } else {
                self.close_sessions(address)?;
            }
        }
        let unsent = if user == self.me.user {
            // Every session binds the own identity, so what is sealed in one is for nobody any more.
            self.archive_everything()?;
            self.fail_queued(None, &[State::Ready, State::Stale])?
        } else {
            let conversation = unhidra_chain::direct::direct_conversation(self.me.user, user);
            self.fail_queued(Some(conversation), &[State::Draft, State::Ready, State::Stale])?
        };
        self.forget_claims(user)?;
        if let Some(genesis) = peer.genesis.or_else(|| held.map(|held| held.genesis().hash())) {
            Retired::add(self.tx, user, genesis)?;
        }
        let kind = if peer.pin == to.uik {
            ChangeKind::Renewed
        } else {
            ChangeKind::Rotated
        };
        self.note_change(user, kind, peer, to.uik, unsent)?;
        *peer = Peer {
            verified: peer.verified && peer.pin == to.uik,
            since: self.now,
            ..Peer::pinned(to)
        };
        Ok(())
    }

    /// Pins another identity, which the user has looked at, and closes all sessions with that user.
    pub(crate) fn accept_identity(&mut self, user: UserId) -> Result<bool, StoreError> {
        let Some(peer) = self.peer(user)? else {
            return Ok(false);
        };
        let Some(to) = peer.changed else {
            return Ok(false);
        };
        if let Some(chain) = self.chain(user)? {
            for device in chain.devices() {
                let device = device.certificate().subject().device;
                self.close_sessions(Address { user, device })?;
            }
        }
        let conversation = unhidra_chain::direct::direct_conversation(self.me.user, user);
        let unsent = self.fail_queued(Some(conversation), &[State::Draft, State::Ready, State::Stale])?;
        self.note_change(user, ChangeKind::Accepted, &peer, to.uik, unsent)?;
        self.forget_claims(user)?;
        self.tx.delete(Table::Chains, user.as_bytes())?;
        let accepted = Peer {
            since: self.now,
            ..Peer::pinned(to)
        };
        accepted.save(self.tx, user.as_bytes())?;
        self.need_chain(user)?;
        Ok(true)
    }

    /// Tries again what waited for the user's new identity to be accepted.
    pub(crate) fn reopen(&mut self, user: UserId) -> Result<(), StoreError> {
        let rows = self
            .tx
            .scan(Table::Waiting, &KeyRange::all(), Order::Ascending, usize::MAX)?;
        for row in rows {
            let waiting = Waiting::decode(&row.value)?;
            if waiting.sender == user && waiting.reason == Suspicion::IdentityChanged {
                self.forget_waiting(&waiting)?;
                let tries = Tries {
                    chain_fetched: true,
                    fetched_again: true,
                };
                self.deliver(&waiting.to_deliver(self.me.device), tries)?;
            }
        }
        Ok(())
    }

    /// Claims of list versions of a genesis that is pinned no more: nobody will ever prove them.
    fn forget_claims(&mut self, user: UserId) -> Result<(), StoreError> {
        let range = KeyRange::prefix(user.as_bytes());
        for row in self
            .tx
            .scan(Table::Claims, &range, Order::Ascending, usize::MAX)?
        {
            self.tx.delete(Table::Claims, &row.key)?;
        }
        Ok(())
    }

    /// Keeps a change for the user to see.
    pub(crate) fn note_change(
        &mut self,
        user: UserId,
        kind: ChangeKind,
        before: &Peer,
        to: [u8; 32],
        unsent: u32,
    ) -> Result<(), StoreError> {
        let change = IdentityChange {
            at: self.now,
            user,
            kind,
            from: before.pin,
            to,
            was_verified: before.verified,
            unsent,
        };
        let number = self.next_number("identity changes")?;
        change.save(self.tx, &number.to_be_bytes())?;
        if let Some(oldest) = number.checked_sub(MAX_IDENTITY_CHANGES) {
            self.tx.delete(Table::IdentityChanges, &oldest.to_be_bytes())?;
        }
        self.effects.notices.push(match kind {
            ChangeKind::Shown => Notice::IdentityChanged(user),
            _ => Notice::IdentityReplaced { user, kind },
        });
        Ok(())
    }

    /// Gives up what is queued in one conversation or in all, and forgets whom accepted messages are owed to. Says how
    /// many texts failed.
    fn fail_queued(
        &mut self,
        conversation: Option<ConversationId>,
        states: &[State],
    ) -> Result<u32, StoreError> {
        let mut unsent = 0;
        let concerns = |queued: &Queued| conversation.is_none_or(|only| queued.conversation == only);
        for state in states {
            for (number, queued) in Queued::list(self.tx, *state, None, usize::MAX)? {
                if !concerns(&queued) {
                    continue;
                }
                Queued::dequeue(self.tx, *state, number)?;
                let entry = Entry::load_at(self.tx, number)?;
                // What only tells of something else, such as a receipt, is nothing that a person would miss.
                if entry.dest.is_none() && matches!(Content::decode(&entry.content), Ok(Content::Text(_))) {
                    unsent += 1;
                    self.give_up(number, queued, Failure::IdentityChanged)?;
                }
            }
        }
        for (number, queued) in Queued::list(self.tx, State::Owed, None, usize::MAX)? {
            if concerns(&queued) {
                Queued::dequeue(self.tx, State::Owed, number)?;
            }
        }
        Ok(unsent)
    }

    /// Ends sending in every session; they go on receiving.
    pub(crate) fn archive_everything(&mut self) -> Result<(), StoreError> {
        let rows = self
            .tx
            .scan(Table::Sessions, &KeyRange::all(), Order::Ascending, usize::MAX)?;
        for row in rows {
            let peer = SessionSet::from_bytes(&row.value)
                .map_err(|_| StoreError::Damaged(Table::Sessions))?
                .peer();
            // What this step has changed already counts, not what the row says.
            let now = self.now;
            let ended = self.sessions(peer)?.archive_all(now);
            self.set_sessions(ended);
        }
        Ok(())
    }
}

impl Record for IdentityChange {
    const TABLE: Table = Table::IdentityChanges;

    /// `at(8) user(16) kind(1) from(32) to(32) was_verified(1) unsent(4)`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.at.as_millis().to_be_bytes());
        out.extend(self.user.as_bytes());
        out.push(match self.kind {
            ChangeKind::Shown => 1,
            ChangeKind::Rotated => 2,
            ChangeKind::Renewed => 3,
            ChangeKind::Accepted => 4,
        });
        out.extend(self.from);
        out.extend(self.to);
        out.push(u8::from(self.was_verified));
        out.extend(self.unsent.to_be_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            at: Timestamp::from_millis(reader.u64()?),
            user: UserId::from_bytes(reader.array()?),
            kind: match reader.u8()? {
                1 => ChangeKind::Shown,
                2 => ChangeKind::Rotated,
                3 => ChangeKind::Renewed,
                4 => ChangeKind::Accepted,
                _ => return Err(Malformed),
            },
            from: reader.array()?,
            to: reader.array()?,
            was_verified: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed),
            },
            unsent: reader.u32()?,
        })
    }
}
