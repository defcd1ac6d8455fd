//! Sparse-KEM: how two devices agree, now and then, on an ML-KEM secret that is mixed into the root key.
//!
//! One of them has the turn: it sends a fresh key, the other answers with a ciphertext, and the one that decapsulates mixes
//! the secret in with its next sending step. Then it is the other's turn. Parts are repeated until they are answered, so
//! any of them may be lost. Nothing here acts on a part whose message has not passed its tag.
//!
//! Specified in `docs/protocol/pq-ratchet.md`.

use alloc::{boxed::Box, vec::Vec};

use rand_core::CryptoRng;
use unhidra_chain::codec::Reader;
use unhidra_crypto::kem::{
    CIPHERTEXT_BYTES, DecapsulationKey, ENCAPSULATION_KEY_BYTES, EncapsulationKey, SEED_BYTES,
};
use unhidra_types::{
    Secret, Timestamp,
    limits::{EPOCH_MESSAGES, EPOCH_TIME, OVERDUE_CHAINS, OVERDUE_TIME},
};
use zeroize::Zeroize as _;

use crate::{
    error::{SealError, StoredError},
    pq_part::{Part, PartKind},
    session::Role,
};

/// Where a session stands between two epochs.
#[derive(Clone)]
pub(crate) struct SparseKem {
    /// Secrets mixed in: `pq_epoch` of whatever is sealed.
    epoch: u32,
    /// `pq_epoch` of the receiving chain.
    receiving: u32,
    /// Messages sealed and opened in this epoch.
    count: u16,
    /// When this epoch began.
    since: Timestamp,
    due: Option<Due>,
    state: State,
}

/// The epoch was found due while parts may be sent.
#[derive(Clone, Copy)]
struct Due {
    since: Timestamp,
    /// Sending chains begun since then.
    chains: u8,
}

/// Secrets are boxed: in a variant without one, their place would keep, unerased, what lay on the stack before.
#[derive(Clone)]
enum State {
    /// Own turn: a key may be sent.
    Ready,
    /// The key of this seed rides on messages. Its public half is there once it was sent since the state was restored.
    KeySent(
        Box<Secret<SEED_BYTES>>,
        Option<Box<[u8; ENCAPSULATION_KEY_BYTES]>>,
    ),
    /// The secret waits for the next sending step.
    SecretHeld(Box<Secret<32>>),
    /// The peer's turn.
    Waiting,
    /// The peer's key waits for the next message that a part may ride on. It passed the modulus check when it came.
    KeyHeld(Box<[u8; ENCAPSULATION_KEY_BYTES]>),
    /// The ciphertext rides on messages, and the secret waits for the peer's step.
    CiphertextSent(Box<[u8; CIPHERTEXT_BYTES]>, Box<Secret<32>>),
}

/// What a receiving step mixes in.
pub(crate) enum StepSecret<'a> {
    Without,
    With(&'a Secret<32>),
    /// The next epoch, for which this state holds no secret.
    Gone,
    /// An epoch that can't be.
    Impossible,
}

/// An awaited part is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPart;

impl SparseKem {
    /// Of a session that begins now.
    pub(crate) const fn new(role: Role, now: Timestamp) -> Self {
        Self {
            epoch: 0,
            receiving: 0,
            count: 0,
            since: now,
            due: None,
            state: match role {
                Role::Initiator => State::Ready,
                Role::Responder => State::Waiting,
            },
        }
    }

    /// Of a session that was stored before there were epochs: the first one is due at once.
    pub(crate) const fn of_older_session(role: Role) -> Self {
        Self::new(role, Timestamp::EPOCH)
    }

    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// `pq_epoch` that all messages of the receiving chain have.
    pub(crate) const fn receiving_epoch(&self) -> u32 {
        self.receiving
    }

    /// What the next sending step mixes in.
    pub(crate) fn sending_secret(&self) -> Option<&Secret<32>> {
        match &self.state {
            State::SecretHeld(secret) => Some(secret),
            _ => None,
        }
    }

    /// The secret of [`SparseKem::sending_secret`] is mixed in. `None` after the last number.
    pub(crate) fn mixed_by_sending(&mut self, now: Timestamp) -> Option<()> {
        self.begin_epoch(self.epoch.checked_add(1)?, State::Waiting, now);
        Some(())
    }

    /// What a receiving step to a chain of `epoch` mixes in.
    pub(crate) fn receiving_secret(&self, epoch: u32) -> StepSecret<'_> {
        if epoch == self.epoch {
            return StepSecret::Without;
        }
        if Some(epoch) != self.epoch.checked_add(1) {
            return StepSecret::Impossible;
        }
        match &self.state {
            State::CiphertextSent(_, secret) => StepSecret::With(secret),
            _ => StepSecret::Gone,
        }
    }

    /// A receiving step to a chain of `epoch` was done.
    pub(crate) fn stepped_by_receiving(&mut self, epoch: u32, now: Timestamp) {
        if epoch != self.epoch {
            self.begin_epoch(epoch, State::Ready, now);
        }
        self.receiving = epoch;
    }

    /// Counts one message, sealed or opened.
    pub(crate) const fn count(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// Whether the parts of an epoch have not come through for too long.
    pub(crate) fn is_overdue(&self, now: Timestamp) -> bool {
        self.due
            .is_some_and(|due| due.chains >= OVERDUE_CHAINS && now.since(due.since) >= OVERDUE_TIME)
    }

    /// Takes note, where a part may ride, whether the epoch is due.
    pub(crate) fn note_due(&mut self, begins_chain: bool, now: Timestamp) {
        let chains = match self.due {
            _ if !self.is_due(now) => return,
            None => 1,
            Some(due) => due.chains.saturating_add(u8::from(begins_chain)),
        };
        let since = self.due.map_or(now, |due| due.since);
        self.due = Some(Due { since, chains });
    }

    /// What rides on a message on which a part may.
    pub(crate) fn part<R: CryptoRng + ?Sized>(
        &mut self,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Option<Part>, SealError> {
        match &self.state {
            State::Ready if self.is_due(now) => {
                let mut seed = [0; SEED_BYTES];
                rng.fill_bytes(&mut seed);
                self.state = State::KeySent(Box::new(Secret::new(seed)), None);
                seed.zeroize();
            }
            State::KeyHeld(key) => {
                let key = EncapsulationKey::from_bytes(key).map_err(|_| SealError::BadPeerKey)?;
                let (ciphertext, secret) = key.encapsulate(rng);
                self.state = State::CiphertextSent(Box::new(ciphertext), Box::new(secret));
            }
            _ => {}
        }
        Ok(match &mut self.state {
            State::KeySent(seed, public) => {
                let public = public.get_or_insert_with(|| {
                    let key = DecapsulationKey::from_seed(seed).encapsulation_key();
                    Box::new(key.to_bytes())
                });
                Some(Part::Key(public.clone()))
            }
            State::CiphertextSent(ciphertext, _) => Some(Part::Ciphertext(ciphertext.clone())),
            _ => None,
        })
    }

    /// Whether a part of this kind, in a chain of `epoch`, is what this side waits for.
    pub(crate) fn awaits(&self, kind: PartKind, epoch: u32) -> bool {
        epoch == self.epoch
            && matches!(
                (&self.state, kind),
                (State::Waiting, PartKind::Key) | (State::KeySent(..), PartKind::Ciphertext)
            )
    }

    /// Takes an awaited part, whose message has passed its tag.
    pub(crate) fn take(&mut self, part: Part) -> Result<(), BadPart> {
        self.state = match (&self.state, part) {
            (State::Waiting, Part::Key(key)) => {
                EncapsulationKey::from_bytes(&key).map_err(|_| BadPart)?;
                State::KeyHeld(key)
            }
            (State::KeySent(seed, _), Part::Ciphertext(ciphertext)) => {
                let secret = DecapsulationKey::from_seed(seed).decapsulate(&ciphertext);
                State::SecretHeld(Box::new(secret))
            }
            _ => return Err(BadPart),
        };
        Ok(())
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.count >= EPOCH_MESSAGES || now.since(self.since) >= EPOCH_TIME
    }

    fn begin_epoch(&mut self, epoch: u32, state: State, now: Timestamp) {
        (self.epoch, self.state) = (epoch, state);
        (self.count, self.since, self.due) = (0, now, None);
    }
}

/// The stored form.
impl SparseKem {
    /// `epoch(4) epoch_r(4) count(2) since(8) due_since(8) due_chains(1; 0 = not due) state(1)`, then what the state holds:
    /// 1 ready, 2 `seed(64)`, 3 `ss(32)`, 4 waiting, 5 `ek(1184)`, 6 `ct(1088) ss(32)`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.receiving.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.since.as_millis().to_be_bytes());
        let due = self.due.unwrap_or(Due {
            since: Timestamp::EPOCH,
            chains: 0,
        });
        out.extend_from_slice(&due.since.as_millis().to_be_bytes());
        out.push(due.chains);
        match &self.state {
            State::Ready => out.push(1),
            State::KeySent(seed, _) => {
                out.push(2);
                out.extend_from_slice(seed.expose());
            }
            State::SecretHeld(secret) => {
                out.push(3);
                out.extend_from_slice(secret.expose());
            }
            State::Waiting => out.push(4),
            State::KeyHeld(key) => {
                out.push(5);
                out.extend_from_slice(key.as_slice());
            }
            State::CiphertextSent(ciphertext, secret) => {
                out.push(6);
                out.extend_from_slice(ciphertext.as_slice());
                out.extend_from_slice(secret.expose());
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, StoredError> {
        let (epoch, receiving, count) = (reader.u32()?, reader.u32()?, reader.u16()?);
        let since = Timestamp::from_millis(reader.u64()?);
        let due_since = Timestamp::from_millis(reader.u64()?);
        let due = match reader.u8()? {
            0 if due_since != Timestamp::EPOCH => return Err(StoredError::Malformed),
            0 => None,
            chains => Some(Due {
                since: due_since,
                chains,
            }),
        };
        let state = match reader.u8()? {
            1 => State::Ready,
            2 => State::KeySent(Box::new(Secret::new(reader.array()?)), None),
            3 => State::SecretHeld(Box::new(Secret::new(reader.array()?))),
            4 => State::Waiting,
            5 => State::KeyHeld(Box::new(reader.array()?)),
            6 => State::CiphertextSent(Box::new(reader.array()?), Box::new(Secret::new(reader.array()?))),
            _ => return Err(StoredError::Malformed),
        };
        // The own epoch is ahead of the receiving chain's by the one that this side mixed in last, and by no more.
        let ahead = epoch.checked_sub(receiving).ok_or(StoredError::Malformed)?;
        if ahead > 1 || (ahead == 1 && !matches!(state, State::Waiting)) {
            return Err(StoredError::Malformed);
        }
        Ok(Self {
            epoch,
            receiving,
            count,
            since,
            due,
            state,
        })
    }
}
