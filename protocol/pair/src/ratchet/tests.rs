//! What a misbehaving peer can send, who holds the header keys but breaks the rules.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use std::vec::Vec;
use unhidra_chain::codec::Reader;
use unhidra_crypto::instrument;
use unhidra_types::Secret;

use super::*;
use crate::{error::StoredError, sparse_kem::SparseKem};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_000_000);
pub(super) const SUITE: Suite = Suite::Hybrid;
pub(super) const AD: &[u8] = b"associated data";
pub(super) const FACTS: HeaderFacts = HeaderFacts {
    content: ContentKind::Control,
    sent_at: NOW,
    own_list: ListVersion(1),
    peer_list: ListVersion(1),
    pq: PqRatchet::Kept,
};

/// Canonical encodings of points of small order.
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    *b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"\xec\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    *b"\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00",
    *b"\x5f\x9c\x95\xbc\xa3\x50\x8c\x24\xb1\xd0\xb1\x55\x9c\x83\xef\x5b\x04\x44\x5c\xc4\x58\x1c\x8e\x86\xd8\x22\x4e\xdd\xd0\x9f\x11\x57",
];

pub(super) struct Pair {
    pub(super) a: Ratchet,
    pub(super) b: Ratchet,
    pub(super) rng: ChaCha20Rng,
}

impl Pair {
    /// After the handshake; `A` has sent nothing.
    fn fresh() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let spk = SecretKey::generate(&mut rng);
        let keys = || SharedKeys {
            root: RootKey::new(Secret::new([1; 32])),
            initiator_header_key: HeaderKey::new(Secret::new([2; 32])),
            responder_header_key: HeaderKey::new(Secret::new([3; 32])),
        };
        let a = Ratchet::initiator(keys(), *spk.public(), NOW, &mut rng).unwrap();
        Self {
            a,
            b: Ratchet::responder(keys(), spk, NOW),
            rng,
        }
    }

    /// After one message from `A` to `B`.
    pub(super) fn begun() -> Self {
        let mut pair = Self::fresh();
        pair.a_to_b();
        pair
    }

    fn a_to_b(&mut self) {
        let (a, bytes) = self
            .a
            .seal(SUITE, &FACTS, AD, b"text", NOW, &mut self.rng)
            .unwrap();
        let (b, plaintext) = open(&self.b, &bytes).unwrap();
        assert_eq!(plaintext, b"text");
        (self.a, self.b) = (a, b);
    }

    pub(super) fn b_to_a(&mut self) {
        let (b, bytes) = self
            .b
            .seal(SUITE, &FACTS, AD, b"text", NOW, &mut self.rng)
            .unwrap();
        let (a, plaintext) = open(&self.a, &bytes).unwrap();
        assert_eq!(plaintext, b"text");
        (self.a, self.b) = (a, b);
    }

    /// Has `A` seal a message whose header is `change`d, and `B` open it.
    fn misbehave(&mut self, change: impl FnOnce(&mut Header)) -> (Result<(), Refusal>, instrument::Trace) {
        let mut a = self.a.clone();
        if a.turn == Turn::Step {
            a.sending_step(NOW, &mut self.rng).unwrap();
        }
        let chain = a.sending.unwrap();
        let mut header = Header {
            ratchet_key: *a.own.public(),
            previous: a.previous,
            n: a.sent,
            epoch: a.kem.epoch(),
            part: None,
            content: FACTS.content,
            sent_at: NOW,
            own_list: FACTS.own_list,
            peer_list: FACTS.peer_list,
        };
        change(&mut header);
        let (message_key, _) = chain.key.step();
        let enc_header = chain.header_key.seal(SUITE, header, &mut self.rng).unwrap();
        let head = Head {
            header: &enc_header,
            part: &[],
        };
        let sealed = message_key.seal(head, AD, b"text").unwrap();
        let bytes = [enc_header.as_bytes().as_slice(), &sealed].concat();
        let before = stored(&self.b);
        let (result, trace) = instrument::record(|| open(&self.b, &bytes).map(|_| ()));
        assert_eq!(stored(&self.b), before);
        (result, trace)
    }
}

pub(super) fn open(ratchet: &Ratchet, bytes: &[u8]) -> Result<(Ratchet, Vec<u8>), Refusal> {
    let message = RatchetMessage::parse(bytes).unwrap();
    let located = ratchet.locate(SUITE, &message).unwrap().unwrap();
    ratchet.open(&located, &message, AD, NOW)
}

pub(super) fn stored(ratchet: &Ratchet) -> Vec<u8> {
    let mut out = Vec::new();
    ratchet.write(&mut out);
    out
}

/// The forger below makes what an honest sender makes, unless it changes something.
#[test]
fn an_unchanged_header_opens() {
    assert_eq!(Pair::begun().misbehave(|_| {}).0, Ok(()));
    let mut pair = Pair::begun();
    pair.b_to_a();
    assert_eq!(pair.misbehave(|_| {}).0, Ok(()));
}

/// Invariant 24.
#[test]
fn a_ratchet_key_of_low_order_is_malformed_at_the_step() {
    for point in LOW_ORDER {
        let key = PublicKey::from_bytes(&point).unwrap();
        let (result, trace) = Pair::fresh().misbehave(|header| header.ratchet_key = key);
        assert_eq!((result, trace.hmacs), (Err(Refusal::Malformed), 0));
        let mut pair = Pair::begun();
        pair.b_to_a();
        let (result, trace) = pair.misbehave(|header| header.ratchet_key = key);
        assert_eq!((result, trace.hmacs), (Err(Refusal::Malformed), 0));
    }
}

#[test]
fn another_ratchet_key_within_a_chain_is_malformed() {
    let other = *SecretKey::generate(&mut ChaCha20Rng::seed_from_u64(2)).public();
    let (result, trace) = Pair::begun().misbehave(|header| header.ratchet_key = other);
    assert_eq!((result, trace.hmacs), (Err(Refusal::Malformed), 0));
}

#[test]
fn a_step_before_the_own_one_has_no_key_here() {
    let mut pair = Pair::begun();
    // `A` steps though it has not heard from `B` since its last step: it seals under the header key of its next chain.
    pair.a.turn = Turn::Step;
    let (result, trace) = pair.misbehave(|_| {});
    assert_eq!((result, trace.diffie_hellmans), (Err(Refusal::KeyGone), 0));
}

#[test]
fn a_chain_before_that_is_shorter_than_what_came_of_it_is_malformed() {
    let mut pair = Pair::begun();
    pair.a_to_b();
    pair.b_to_a();
    for previous in [0, 1] {
        let (result, trace) = pair.misbehave(|header| header.previous = previous);
        assert_eq!((result, trace.diffie_hellmans), (Err(Refusal::Malformed), 0));
    }
}

#[test]
fn a_first_chain_with_a_chain_before_it_is_malformed() {
    let (result, trace) = Pair::fresh().misbehave(|header| header.previous = 1);
    assert_eq!((result, trace.diffie_hellmans), (Err(Refusal::Malformed), 0));
}

/// Invariant 8.
#[test]
fn the_largest_numbers_are_refused_without_a_step() {
    for n in [MAX_SKIP + 2, u32::MAX - 1, u32::MAX] {
        let (result, trace) = Pair::begun().misbehave(|header| header.n = n);
        assert!(result.is_err());
        assert_eq!((trace.hmacs, trace.diffie_hellmans), (0, 0));
    }
    let mut pair = Pair::begun();
    pair.b_to_a();
    let (result, trace) = pair.misbehave(|header| header.previous = u32::MAX);
    assert_eq!(result, Err(Refusal::SkipTooFar));
    assert_eq!((trace.hmacs, trace.diffie_hellmans), (0, 0));
}

/// Invariant 10.
#[test]
fn a_spent_position_is_a_gone_key() {
    let (result, trace) = Pair::begun().misbehave(|header| header.n = 0);
    assert_eq!((result, trace.hmacs), (Err(Refusal::KeyGone), 0));
}

#[test]
fn a_full_chain_seals_no_more() {
    let mut pair = Pair::begun();
    pair.a.sent = MAX_MESSAGES_PER_CHAIN - 1;
    let (last, _) = pair
        .a
        .seal(SUITE, &FACTS, AD, b"text", NOW, &mut pair.rng)
        .unwrap();
    let refused = last
        .seal(SUITE, &FACTS, AD, b"text", NOW, &mut pair.rng)
        .map(|_| ());
    assert_eq!(refused, Err(SealError::ChainFull));
}

/// Invariant 15.
#[test]
fn a_stored_state_that_no_step_leads_to_is_refused() {
    let read =
        |ratchet: &Ratchet| Ratchet::read(&mut Reader::new(&stored(ratchet)), SparseKem::read).map(|_| ());
    let mut pair = Pair::fresh();
    assert_eq!((read(&pair.a), read(&pair.b)), (Ok(()), Ok(())));
    pair.b.turn = Turn::Step;
    assert_eq!(
        read(&pair.b),
        Err(StoredError::Malformed),
        "a step without a key of the peer"
    );
    pair.a.peer = None;
    assert_eq!(
        read(&pair.a),
        Err(StoredError::Malformed),
        "a chain without a key of the peer"
    );
}
