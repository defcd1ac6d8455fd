//! What a thief who computes every Diffie-Hellman secret learns, and what a peer who breaks the rules about epochs can do.

use unhidra_crypto::kem::ENCAPSULATION_KEY_BYTES;

use super::{
    tests::{AD, FACTS, NOW, Pair, SUITE, open, stored},
    *,
};
use crate::{error::StoredError, pq_part::PartKind};
use unhidra_chain::codec::Reader;
use unhidra_types::limits::EPOCH_TIME;

/// Sits on both devices' Diffie-Hellman secrets for good, and has stolen everything else once.
struct Thief {
    root: RootKey,
    /// What was stolen of an epoch that was not mixed yet.
    stolen: SparseKem,
}

impl Thief {
    /// Follows one sending step of `sender`, knowing the secret of its Diffie-Hellman step and perhaps a stolen one.
    fn follow(&mut self, sender: &Ratchet) {
        let shared = sender.own.diffie_hellman(&sender.peer.unwrap()).unwrap();
        self.root = self.root.step(&shared, self.stolen.sending_secret()).root;
    }
}

/// One message from `A` to `B`, or the other way round, a day later.
fn exchange(pair: &mut Pair, from_a: bool, now: &mut Timestamp) {
    *now = now.saturating_add(EPOCH_TIME);
    let (sender, receiver) = if from_a {
        (&pair.a, &pair.b)
    } else {
        (&pair.b, &pair.a)
    };
    let (sender, bytes) = sender
        .seal(SUITE, &FACTS, AD, b"text", *now, &mut pair.rng)
        .unwrap();
    let (receiver, _) = open(receiver, &bytes).unwrap();
    (pair.a, pair.b) = if from_a {
        (sender, receiver)
    } else {
        (receiver, sender)
    };
}

/// Invariant 5. What was stolen of an epoch under way does not count as healed, the next one does.
#[test]
fn a_thief_who_computes_every_diffie_hellman_secret_is_out_after_one_epoch() {
    // When the theft is: before the key is sent, with its seed, with the ciphertext's secret.
    for before in 0..4 {
        for victim_is_a in [true, false] {
            let (mut pair, mut now) = (Pair::begun(), NOW);
            let mut from_a = false;
            for _ in 0..before {
                exchange(&mut pair, from_a, &mut now);
                from_a = !from_a;
            }
            let victim = if victim_is_a { &pair.a } else { &pair.b };
            let mut thief = Thief {
                root: victim.root.clone(),
                stolen: victim.kem.clone(),
            };
            let (begun, mut healed) = (victim.kem.epoch(), None);
            for step in 0..12 {
                let stepped = if from_a { &pair.a } else { &pair.b }.turn == Turn::Step;
                exchange(&mut pair, from_a, &mut now);
                let sender = if from_a { &pair.a } else { &pair.b };
                if stepped {
                    thief.follow(sender);
                }
                // What was stolen serves for one step at the most.
                thief.stolen = SparseKem::new(Role::Responder, now);
                if thief.root != sender.root {
                    healed.get_or_insert((step, sender.kem.epoch()));
                } else {
                    assert_eq!(healed, None, "a thief who is out stays out");
                }
                from_a = !from_a;
            }
            let (_, epoch) = healed.expect("the session heals");
            assert!(
                epoch <= begun + 2,
                "out in epoch {epoch} after a theft in {begun}"
            );
        }
    }
}

/// The step of a thief is what both ends do, as long as no secret is mixed in.
#[test]
fn a_thief_is_in_as_long_as_no_epoch_comes() {
    let mut pair = Pair::begun();
    let mut thief = Thief {
        root: pair.b.root.clone(),
        stolen: pair.b.kem.clone(),
    };
    for from_a in [false, true, false, true] {
        exchange(
            &mut pair,
            from_a,
            &mut Timestamp::from_millis(NOW.as_millis()).saturating_sub(EPOCH_TIME),
        );
        thief.follow(if from_a { &pair.a } else { &pair.b });
        assert_eq!(thief.root, if from_a { &pair.a } else { &pair.b }.root);
    }
}

/// Seals as `A` with a header and a part of one's own making.
fn forged(
    pair: &mut Pair,
    change: impl FnOnce(&mut Header),
    part: Option<(PartKind, &[u8])>,
) -> Result<Ratchet, Refusal> {
    let mut a = pair.a.clone();
    if a.turn == Turn::Step {
        a.sending_step(NOW, &mut pair.rng).unwrap();
    }
    let chain = a.sending.unwrap();
    let mut header = Header {
        ratchet_key: *a.own.public(),
        previous: a.previous,
        n: a.sent,
        epoch: a.kem.epoch(),
        part: part.map(|(kind, _)| kind),
        content: FACTS.content,
        sent_at: NOW,
        own_list: FACTS.own_list,
        peer_list: FACTS.peer_list,
    };
    change(&mut header);
    let enc_header = chain.header_key.seal(SUITE, header, &mut pair.rng).unwrap();
    let enc_pq = part.map_or(Vec::new(), |(_, bytes)| {
        let aad = [
            b"\x07UNH1/pq".as_slice(),
            &unhidra_crypto::hash::sha256(&[enc_header.as_bytes()]),
        ]
        .concat();
        [
            &[5; 12],
            chain
                .header_key
                .aead()
                .seal(&[5; 12], &aad, bytes)
                .unwrap()
                .as_slice(),
        ]
        .concat()
    });
    let head = Head {
        header: &enc_header,
        part: &enc_pq,
    };
    let sealed = chain.key.step().0.seal(head, AD, b"text").unwrap();
    let bytes = [enc_header.as_bytes(), enc_pq.as_slice(), &sealed].concat();
    let before = stored(&pair.b);
    let result = open(&pair.b, &bytes).map(|(next, _)| next);
    assert_eq!(stored(&pair.b), before);
    result
}

/// Invariant 25.
#[test]
fn an_epoch_that_can_not_be_gives_no_session() {
    let mut pair = Pair::begun();
    for epoch in [1, 2, u32::MAX] {
        let result = forged(&mut pair, |header| header.epoch = epoch, None).map(|_| ());
        assert_eq!(
            result,
            Err(Refusal::Unsupported),
            "{epoch} within a chain of epoch 0"
        );
    }
    pair.b_to_a();
    for (epoch, refusal) in [
        (1, Refusal::KeyGone),
        (2, Refusal::Unsupported),
        (u32::MAX, Refusal::Unsupported),
    ] {
        let result = forged(&mut pair, |header| header.epoch = epoch, None).map(|_| ());
        assert_eq!(
            result,
            Err(refusal),
            "{epoch} in a new chain, without a secret for it"
        );
    }
}

/// Invariant 25: in a later epoch neither an earlier number nor a step without the secret is taken.
#[test]
fn nobody_goes_back_to_an_earlier_epoch() {
    let (mut pair, mut now) = (Pair::begun(), NOW);
    pair.b_to_a();
    for from_a in [true, false] {
        exchange(&mut pair, from_a, &mut now);
    }
    assert_eq!(pair.a.kem.epoch(), 0);
    // The next step of `A` mixes: the number alone is not enough, and without the number the keys are others.
    let result = forged(&mut pair, |header| header.epoch = 0, None).map(|_| ());
    assert_eq!(result, Err(Refusal::BadTag));
    for from_a in [true, false] {
        exchange(&mut pair, from_a, &mut now);
    }
    assert_eq!((pair.a.kem.epoch(), pair.b.kem.epoch()), (1, 1));
    for (epoch, refusal) in [(0, Refusal::Unsupported), (3, Refusal::Unsupported)] {
        let result = forged(&mut pair, |header| header.epoch = epoch, None).map(|_| ());
        assert_eq!(result, Err(refusal));
    }
}

/// Invariant 24, for parts; invariant 14, for what a peer with every key can do.
#[test]
fn a_part_that_is_none_is_malformed() {
    let mut pair = Pair::begun();
    let unchanged = |_: &mut Header| {};
    // Every coefficient is 4 095, above the modulus.
    let key = [0xff; ENCAPSULATION_KEY_BYTES];
    let result = forged(&mut pair, unchanged, Some((PartKind::Key, &key))).map(|_| ());
    assert_eq!(result, Err(Refusal::Malformed));
    // A ciphertext that nobody waits for is ignored, whatever it is.
    let result = forged(&mut pair, unchanged, Some((PartKind::Ciphertext, &key))).map(|_| ());
    assert_eq!(result, Ok(()));
    for length in [0, ENCAPSULATION_KEY_BYTES - 1, ENCAPSULATION_KEY_BYTES + 1] {
        let result = forged(
            &mut pair,
            unchanged,
            Some((PartKind::Key, &[0xff; 1_200][..length])),
        )
        .map(|_| ());
        assert!(
            matches!(result, Err(Refusal::Malformed | Refusal::BadTag)),
            "{length} bytes"
        );
    }

    // `B` has sent its key, and gets a ciphertext with something behind it.
    let (mut pair, mut now) = (Pair::begun(), NOW);
    for from_a in [false, true, false, true, false] {
        exchange(&mut pair, from_a, &mut now);
    }
    assert!(pair.b.kem.awaits(PartKind::Ciphertext, 1), "the responder's turn");
    let mut part = [0; ENCAPSULATION_KEY_BYTES];
    let result = forged(&mut pair, unchanged, Some((PartKind::Ciphertext, &part))).map(|_| ());
    assert_eq!(result, Ok(()), "any ciphertext has a secret");
    part[1_088] = 1;
    let result = forged(&mut pair, unchanged, Some((PartKind::Ciphertext, &part))).map(|_| ());
    assert_eq!(result, Err(Refusal::Malformed));
}

#[test]
fn a_message_that_ends_in_or_right_after_its_part_is_malformed() {
    let (mut pair, now) = (Pair::begun(), NOW.saturating_add(EPOCH_TIME));
    pair.b_to_a();
    let (_, bytes) = pair
        .a
        .seal(SUITE, &FACTS, AD, b"text", now, &mut pair.rng)
        .unwrap();
    let head = ENC_HEADER_BYTES + ENC_PQ_BYTES;
    let cut = |length| open(&pair.b, &bytes[..length]).map(|_| ());
    for length in [head - 1, head, head + 1, head + TAG_BYTES - 1] {
        assert_eq!(cut(length), Err(Refusal::Malformed), "{length} bytes");
    }
    assert_eq!(cut(head + TAG_BYTES), Err(Refusal::BadTag));
    assert_eq!(cut(bytes.len()), Ok(()));
}

/// Invariant 15.
#[test]
fn stored_epochs_that_no_step_leads_to_are_refused() {
    const READY: u8 = 1;
    const WAITING: u8 = 4;
    let read = |epoch: u32, receiving: u32, due_since: u64, chains: u8, state: u8| {
        let bytes = [
            epoch.to_be_bytes().as_slice(),
            &receiving.to_be_bytes(),
            &[0; 2 + 8],
            &due_since.to_be_bytes(),
            &[chains, state],
        ]
        .concat();
        SparseKem::read(&mut Reader::new(&bytes)).map(|_| ())
    };
    assert_eq!(read(3, 3, 0, 0, READY), Ok(()));
    assert_eq!(read(3, 3, 0, 0, WAITING), Ok(()));
    assert_eq!(read(4, 3, 0, 0, WAITING), Ok(()), "mixed in, and not answered");
    assert_eq!(read(3, 3, 9, 1, READY), Ok(()));
    for (epoch, receiving, due_since, chains, state) in [
        (4, 3, 0, 0, READY),
        (5, 3, 0, 0, READY),
        (5, 3, 0, 0, WAITING),
        (3, 4, 0, 0, WAITING),
        (3, 3, 9, 0, READY),
        (3, 3, 0, 0, 0),
        (3, 3, 0, 0, 7),
    ] {
        assert_eq!(
            read(epoch, receiving, due_since, chains, state),
            Err(StoredError::Malformed),
            "{epoch} {receiving} {due_since} {chains} {state}"
        );
    }
}

/// A part for another epoch than the awaited one is ignored: a late copy begins nothing.
#[test]
fn a_part_of_an_epoch_that_is_over_is_ignored() {
    let (mut pair, mut now) = (Pair::begun(), NOW);
    pair.b_to_a();
    now = now.saturating_add(EPOCH_TIME);
    let (a, late) = pair
        .a
        .seal(SUITE, &FACTS, AD, b"late", now, &mut pair.rng)
        .unwrap();
    pair.a = a;
    for n in 0..8 {
        let (a, bytes) = pair
            .a
            .seal(SUITE, &FACTS, AD, b"text", now, &mut pair.rng)
            .unwrap();
        assert_eq!(bytes.len() > 1_212, n == 7);
        pair.b = open(&pair.b, &bytes).unwrap().0;
        pair.a = a;
    }
    for from_a in [false, true, false, true, false] {
        exchange(&mut pair, from_a, &mut now);
    }
    let (after, plaintext) = open(&pair.b, &late).unwrap();
    assert_eq!((plaintext.as_slice(), after.kem.epoch()), (b"late".as_slice(), 2));
    assert!(after.kem.awaits(PartKind::Key, 2), "the key of the third one");
}
