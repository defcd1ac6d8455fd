//! Double Ratchet with header encryption: one session's keys, and the two steps that move them.
//!
//! Every operation is `&self -> Result<(Self, _), _>`: what fails leaves nothing behind. The sending half of a step
//! waits for the next sealing.

mod stored;

use alloc::vec::Vec;

use rand_core::CryptoRng;
use unhidra_chain::{ListVersion, PqRatchet, Suite};
use unhidra_crypto::{
    aead::TAG_BYTES,
    x25519::{PublicKey, SecretKey},
};
use unhidra_types::{
    Timestamp,
    limits::{MAX_MESSAGES_PER_CHAIN, MAX_SKIP, PART_INTERVAL},
};

use crate::{
    chain_key::{ChainKey, Head, MessageKey},
    error::{InitiateError, OpenError, SealError},
    handshake::SharedKeys,
    header::{ContentKind, ENC_HEADER_BYTES, EncHeader, Header, HeaderKey},
    pq_part::{ENC_PQ_BYTES, Part},
    root_key::RootKey,
    session::Role,
    skipped_keys::SkippedKeys,
    sparse_kem::{SparseKem, StepSecret},
};

/// The state of the ratchet; the names in capitals are those of the specification.
#[derive(Clone)]
pub(crate) struct Ratchet {
    /// `RK`.
    root: RootKey,
    /// `DHs`: own ratchet pair, its public half computed once.
    own: SecretKey,
    /// `DHr`: the peer's ratchet key.
    peer: Option<PublicKey>,
    /// `CKs`, `HKs`.
    sending: Option<Chain>,
    /// `CKr`, `HKr`.
    receiving: Option<Chain>,
    /// `NHKs`.
    next_sending: HeaderKey,
    /// `NHKr`.
    next_receiving: HeaderKey,
    /// `Ns`: messages sealed in the sending chain.
    sent: u32,
    /// `Nr`: the next position of the receiving chain.
    received: u32,
    /// `PN`: length of the sending chain before.
    previous: u32,
    turn: Turn,
    skipped: SkippedKeys,
    kem: SparseKem,
}

#[derive(Clone, PartialEq, Eq)]
struct Chain {
    key: ChainKey,
    header_key: HeaderKey,
}

/// Whether the next sealing begins a new sending chain (`step_due`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Continue,
    Step,
}

/// A ratchet message, cut into its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RatchetMessage<'a> {
    enc_header: EncHeader,
    /// A part, if the header says so, then the ciphertext.
    rest: &'a [u8],
}

/// A message whose header said where it is to be cut.
#[derive(Clone, Copy)]
struct Cut<'a> {
    header: &'a EncHeader,
    part: Option<&'a [u8; ENC_PQ_BYTES]>,
    sealed: &'a [u8],
}

/// A message whose header one of the keys opened.
pub(crate) struct Located {
    pub(crate) header: Header,
    place: Place,
}

enum Place {
    /// Under the header key of an older chain.
    Older(HeaderKey),
    /// Under `HKr`.
    Current,
    /// Under `NHKr`.
    Next,
}

/// Why a located message does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed,
    Unsupported,
    KeyGone,
    SkipTooFar,
    BadTag,
}

/// What the header of a sealing says beside the ratchet's own state.
pub(crate) struct HeaderFacts {
    pub(crate) content: ContentKind,
    pub(crate) sent_at: Timestamp,
    pub(crate) own_list: ListVersion,
    pub(crate) peer_list: ListVersion,
    /// Whether parts may ride on it.
    pub(crate) pq: PqRatchet,
}

impl<'a> RatchetMessage<'a> {
    /// `None` when too short.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (enc_header, rest) = bytes.split_first_chunk::<ENC_HEADER_BYTES>()?;
        (rest.len() >= TAG_BYTES).then_some(Self {
            enc_header: EncHeader::new(*enc_header),
            rest,
        })
    }

    fn cut(&self, header: &Header) -> Result<Cut<'_>, Refusal> {
        let (part, sealed) = if header.part.is_some() {
            let (part, sealed) = self.rest.split_first_chunk().ok_or(Refusal::Malformed)?;
            (Some(part), sealed)
        } else {
            (None, self.rest)
        };
        if sealed.len() < TAG_BYTES {
            return Err(Refusal::Malformed);
        }
        Ok(Cut {
            header: &self.enc_header,
            part,
            sealed,
        })
    }
}

impl Ratchet {
    /// The state of `A`, who can send at once.
    pub(crate) fn initiator<R: CryptoRng + ?Sized>(
        keys: SharedKeys,
        spk: PublicKey,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Self, InitiateError> {
        let own = SecretKey::generate(rng);
        let shared = own.diffie_hellman(&spk).map_err(|_| InitiateError::BadPeerKey)?;
        let step = keys.root.step(&shared, None);
        Ok(Self {
            root: step.root,
            own,
            peer: Some(spk),
            sending: Some(Chain {
                key: step.chain,
                header_key: keys.initiator_header_key,
            }),
            receiving: None,
            next_sending: step.next_header_key,
            next_receiving: keys.responder_header_key,
            sent: 0,
            received: 0,
            previous: 0,
            turn: Turn::Continue,
            skipped: SkippedKeys::default(),
            kem: SparseKem::new(Role::Initiator, now),
        })
    }

    /// The state of `B`, who can send after the first header.
    pub(crate) fn responder(keys: SharedKeys, spk: SecretKey, now: Timestamp) -> Self {
        Self {
            root: keys.root,
            own: spk,
            peer: None,
            sending: None,
            receiving: None,
            next_sending: keys.responder_header_key,
            next_receiving: keys.initiator_header_key,
            sent: 0,
            received: 0,
            previous: 0,
            turn: Turn::Continue,
            skipped: SkippedKeys::default(),
            kem: SparseKem::new(Role::Responder, now),
        }
    }

    /// Seals at the next position, after the sending step if one is due.
    pub(crate) fn seal<R: CryptoRng + ?Sized>(
        &self,
        suite: Suite,
        facts: &HeaderFacts,
        ad: &[u8],
        plaintext: &[u8],
        now: Timestamp,
        rng: &mut R,
    ) -> Result<(Self, Vec<u8>), SealError> {
        if facts.pq == PqRatchet::Kept && self.kem.is_overdue(now) {
            return Err(SealError::EpochOverdue);
        }
        let mut next = self.clone();
        if next.turn == Turn::Step {
            next.sending_step(now, rng)?;
        }
        let part = next.part(suite, facts.pq, now, rng)?;
        let chain = next.sending.as_mut().ok_or(SealError::NoSession)?;
        if next.sent >= MAX_MESSAGES_PER_CHAIN {
            return Err(SealError::ChainFull);
        }
        let header = Header {
            ratchet_key: *next.own.public(),
            previous: next.previous,
            n: next.sent,
            epoch: next.kem.epoch(),
            part: part.as_ref().map(Part::kind),
            content: facts.content,
            sent_at: facts.sent_at,
            own_list: facts.own_list,
            peer_list: facts.peer_list,
        };
        let (message_key, chain_key) = chain.key.step();
        let enc_header = chain.header_key.seal(suite, header, rng)?;
        let enc_pq = match &part {
            Some(part) => part.seal(&chain.header_key, &enc_header, rng)?,
            None => Vec::new(),
        };
        let head = Head {
            header: &enc_header,
            part: &enc_pq,
        };
        let sealed = message_key
            .seal(head, ad, plaintext)
            .map_err(|_| SealError::TooLong)?;
        chain.key = chain_key;
        next.sent += 1;
        next.kem.count();
        next.prune(now);
        Ok((next, [enc_header.as_bytes(), enc_pq.as_slice(), &sealed].concat()))
    }

    /// What rides on the next message, by its place in the chain.
    fn part<R: CryptoRng + ?Sized>(
        &mut self,
        suite: Suite,
        pq: PqRatchet,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Option<Part>, SealError> {
        if pq == PqRatchet::Lacking || !self.sent.is_multiple_of(PART_INTERVAL) {
            return Ok(None);
        }
        self.kem.note_due(self.sent == 0, now);
        match suite {
            Suite::Classical => Ok(None),
            Suite::Hybrid => self.kem.part(now, rng),
        }
    }

    /// Tries the header keys: of older chains with keys in store, then `HKr`, then `NHKr`. `None` when none opens it.
    pub(crate) fn locate(
        &self,
        suite: Suite,
        message: &RatchetMessage<'_>,
    ) -> Option<Result<Located, OpenError>> {
        let current = self.receiving.as_ref().map(|chain| &chain.header_key);
        let older = self.skipped.older_header_keys(current);
        let candidates = older
            .map(|key| (key, Candidate::Older))
            .chain(current.map(|key| (key, Candidate::Current)))
            .chain([(&self.next_receiving, Candidate::Next)]);
        for (key, candidate) in candidates {
            if let Some(header) = key.open(suite, &message.enc_header) {
                let place = match candidate {
                    Candidate::Older => Place::Older(key.clone()),
                    Candidate::Current => Place::Current,
                    Candidate::Next => Place::Next,
                };
                return Some(header.map(|header| Located { header, place }));
            }
        }
        None
    }

    /// Opens a located message: bounds, then keys on the side, then the tag; the new state comes last.
    pub(crate) fn open(
        &self,
        located: &Located,
        message: &RatchetMessage<'_>,
        ad: &[u8],
        now: Timestamp,
    ) -> Result<(Self, Vec<u8>), Refusal> {
        let header = &located.header;
        let message = message.cut(header)?;
        let (mut next, plaintext) = match &located.place {
            Place::Older(header_key) => self.open_skipped(header_key, header.n, message, ad, now),
            Place::Current => self.open_current(header, message, ad, now),
            Place::Next => self.open_next(header, message, ad, now),
        }?;
        next.kem.count();
        if let Some((sealed, kind)) = message.part.zip(header.part)
            && next.kem.awaits(kind, header.epoch)
        {
            let header_key = match &located.place {
                Place::Older(header_key) => header_key,
                Place::Current | Place::Next => {
                    &next.receiving.as_ref().ok_or(Refusal::Malformed)?.header_key
                }
            };
            let part = Part::open(kind, header_key, message.header, sealed).ok_or(Refusal::Malformed)?;
            next.kem.take(part).map_err(|_| Refusal::Malformed)?;
        }
        next.prune(now);
        Ok((next, plaintext))
    }

    /// Whether no epoch has come for too long.
    pub(crate) fn is_overdue(&self, now: Timestamp) -> bool {
        self.kem.is_overdue(now)
    }

    /// Skipped keys held.
    pub(crate) const fn epoch(&self) -> u32 {
        self.kem.epoch()
    }

    pub(crate) fn skipped_keys(&self) -> usize {
        self.skipped.len()
    }

    /// Forgets what is past its age.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        self.skipped
            .prune(self.receiving.as_ref().map(|chain| &chain.header_key), now);
    }

    fn sending_step<R: CryptoRng + ?Sized>(&mut self, now: Timestamp, rng: &mut R) -> Result<(), SealError> {
        let peer = self.peer.ok_or(SealError::NoSession)?;
        self.own = SecretKey::generate(rng);
        let shared = self
            .own
            .diffie_hellman(&peer)
            .map_err(|_| SealError::BadPeerKey)?;
        let secret = self.kem.sending_secret();
        let step = self.root.step(&shared, secret);
        if secret.is_some() {
            self.kem.mixed_by_sending(now).ok_or(SealError::ChainFull)?;
        }
        (self.previous, self.sent) = (self.sent, 0);
        self.sending = Some(Chain {
            key: step.chain,
            header_key: self.next_sending.clone(),
        });
        (self.root, self.next_sending, self.turn) = (step.root, step.next_header_key, Turn::Continue);
        Ok(())
    }

    fn open_skipped(
        &self,
        header_key: &HeaderKey,
        n: u32,
        message: Cut<'_>,
        ad: &[u8],
        now: Timestamp,
    ) -> Result<(Self, Vec<u8>), Refusal> {
        let key = self.skipped.find(header_key, n, now).ok_or(Refusal::KeyGone)?;
        let plaintext = open_with(key, message, ad)?;
        let mut next = self.clone();
        next.skipped.remove(header_key, n);
        Ok((next, plaintext))
    }

    fn open_current(
        &self,
        header: &Header,
        message: Cut<'_>,
        ad: &[u8],
        now: Timestamp,
    ) -> Result<(Self, Vec<u8>), Refusal> {
        let chain = self.receiving.as_ref().ok_or(Refusal::Malformed)?;
        if Some(header.ratchet_key) != self.peer {
            return Err(Refusal::Malformed);
        }
        if header.epoch != self.kem.receiving_epoch() {
            return Err(Refusal::Unsupported);
        }
        if header.n < self.received {
            return self.open_skipped(&chain.header_key, header.n, message, ad, now);
        }
        let received = header.n.checked_add(1).ok_or(Refusal::Malformed)?;
        within_bound(self.received, header.n)?;
        let (skipped, at) = chain.key.skip(self.received..header.n);
        let (message_key, chain_key) = at.step();
        let plaintext = open_with(&message_key, message, ad)?;
        let mut next = self.clone();
        next.skipped.insert(&chain.header_key, skipped, now);
        next.receiving = Some(Chain {
            key: chain_key,
            header_key: chain.header_key.clone(),
        });
        next.received = received;
        Ok((next, plaintext))
    }

    /// The receiving step: the rest of the old chain is kept, a new chain begins.
    fn open_next(
        &self,
        header: &Header,
        message: Cut<'_>,
        ad: &[u8],
        now: Timestamp,
    ) -> Result<(Self, Vec<u8>), Refusal> {
        // A peer steps only after a header of the chain that this side has not begun yet: this side's state is from before
        // it began that one, or the peer breaks the rules.
        if self.turn == Turn::Step {
            return Err(Refusal::KeyGone);
        }
        if header.previous < self.received {
            return Err(Refusal::Malformed);
        }
        if self.receiving.is_none() && header.previous != 0 {
            return Err(Refusal::Malformed);
        }
        let received = header.n.checked_add(1).ok_or(Refusal::Malformed)?;
        within_bound(self.received, header.previous)?;
        within_bound(0, header.n)?;
        let secret = match self.kem.receiving_secret(header.epoch) {
            StepSecret::Without => None,
            StepSecret::With(secret) => Some(secret),
            // This device was set back, or the peer breaks the rules.
            StepSecret::Gone => return Err(Refusal::KeyGone),
            StepSecret::Impossible => return Err(Refusal::Unsupported),
        };
        let shared = self
            .own
            .diffie_hellman(&header.ratchet_key)
            .map_err(|_| Refusal::Malformed)?;
        let step = self.root.step(&shared, secret);
        let (skipped, at) = step.chain.skip(0..header.n);
        let (message_key, chain_key) = at.step();
        let plaintext = open_with(&message_key, message, ad)?;
        let mut next = self.clone();
        if let Some(old) = &self.receiving {
            let (rest, _) = old.key.skip(self.received..header.previous);
            next.skipped.insert(&old.header_key, rest, now);
        }
        next.skipped.insert(&self.next_receiving, skipped, now);
        next.receiving = Some(Chain {
            key: chain_key,
            header_key: self.next_receiving.clone(),
        });
        (next.root, next.next_receiving) = (step.root, step.next_header_key);
        (next.peer, next.received, next.turn) = (Some(header.ratchet_key), received, Turn::Step);
        next.kem.stepped_by_receiving(header.epoch, now);
        Ok((next, plaintext))
    }
}

#[derive(Clone, Copy)]
enum Candidate {
    Older,
    Current,
    Next,
}

/// At most [`MAX_SKIP`] positions lie between `from` and `to`: checked before any chain step.
fn within_bound(from: u32, to: u32) -> Result<(), Refusal> {
    if to.saturating_sub(from) > MAX_SKIP {
        return Err(Refusal::SkipTooFar);
    }
    Ok(())
}

fn open_with(key: &MessageKey, message: Cut<'_>, ad: &[u8]) -> Result<Vec<u8>, Refusal> {
    let head = Head {
        header: message.header,
        part: message.part.map_or(&[], |part| part.as_slice()),
    };
    key.open(head, ad, message.sealed).map_err(|_| Refusal::BadTag)
}

#[cfg(test)]
mod epoch_tests;
#[cfg(test)]
mod tests;
