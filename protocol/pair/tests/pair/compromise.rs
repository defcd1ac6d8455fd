//! What a thief of a device's whole state gets: nothing from before, and little from after.

use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;
use unhidra_chain::label;
use unhidra_crypto::{hash::sha256, instrument, kdf};
use unhidra_pair::OpenError;
use unhidra_types::Secret;

use crate::network::{DAY, Mail, Two, cases, ratchet_message};

/// How far a thief moves each stolen secret forward as if it were a chain key.
const STEPS: usize = 8;

/// What the keys of this message are derived for.
fn head_hash(mail: &Mail) -> [u8; 32] {
    let head = if Two::has_part(mail) { 90 + 1_212 } else { 90 };
    sha256(&[&ratchet_message(mail)[..head]])
}

/// The AEAD key of the message with this head, if `mk` is its message key.
fn message_key(mk: &Secret<32>, head: &[u8; 32]) -> [u8; 32] {
    let okm = kdf::hkdf::<44>(&[0; 32], &[mk.expose()], &[label!("UNH1/msg"), head]);
    okm.expose()[..32].try_into().unwrap()
}

/// Takes every 32 bytes of `state` for a message key and for a chain key, and says which of `keys` that gives.
fn keys_from(state: &[u8], mails: &[Mail], keys: &BTreeSet<[u8; 32]>) -> usize {
    let heads: Vec<_> = mails.iter().map(head_hash).collect();
    let mut found = HashSet::new();
    for window in state.windows(32) {
        let mut chain = Secret::try_from(window).unwrap();
        let mut candidates = vec![chain.clone()];
        for _ in 0..STEPS {
            candidates.push(kdf::hmac(&chain, &[1]));
            chain = kdf::hmac(&chain, &[2]);
        }
        for (candidate, head) in candidates
            .iter()
            .flat_map(|c| heads.iter().map(move |head| (c, head)))
        {
            let key = message_key(candidate, head);
            if keys.contains(&key) {
                found.insert(key);
            }
        }
    }
    found.len()
}

proptest! {
    #![proptest_config(cases(3))]

    /// Invariant 2.
    #[test]
    fn a_stolen_state_holds_no_key_of_an_accepted_message(seed in any::<u64>(), turns in proptest::collection::vec(0..2_usize, 4..8)) {
        let mut two = Two::new(seed);
        let (mails, trace) = instrument::record(|| {
            turns
                .into_iter()
                .map(|from| {
                    two.now = two.now.saturating_add(DAY);
                    let mail = two.send(from, b"secret");
                    two.deliver(&mail).unwrap();
                    mail
                })
                .collect::<Vec<_>>()
        });
        let keys = trace.sealings.iter().map(|(key, _)| *key).collect();
        for at in [0, 1] {
            prop_assert_eq!(keys_from(&two.stored(at), &mails, &keys), 0);
        }
        // With neither dedupe rows nor the table of first messages, the state itself refuses as well.
        for device in &mut two.devices {
            device.known.clear();
            device.seen.clear();
        }
        for mail in &mails {
            let refused = two.open(mail).map(|_| ());
            prop_assert!(refused.is_err(), "{:?}", refused);
        }
    }
}

/// The search above finds keys where there are some: the skip store's.
#[test]
fn a_stolen_state_holds_the_keys_of_messages_still_awaited() {
    let mut two = Two::acquainted(1);
    let (late, trace) = instrument::record(|| two.send(0, b"late"));
    two.exchange(0, b"early");
    let keys = trace.sealings.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys_from(&two.stored(1), std::slice::from_ref(&late), &keys), 1);
}

/// Invariant 4.
#[test]
fn a_thief_who_only_listens_loses_the_session_after_one_round_trip() {
    for stolen in [0, 1] {
        let mut two = Two::acquainted(2);
        let mut thief = two.clone();
        let other = 1 - stolen;
        let readable = two.send(other, b"before the owner steps");
        assert!(thief.deliver(&readable).is_ok(), "the theft is real");
        two.deliver(&readable).unwrap();
        two.exchange(stolen, b"with a fresh key");
        // The thief steps too, with the best guess there is at the owner's fresh key: one of its own.
        thief.send(stolen, b"a guess");
        let answer = two.send(other, b"to the fresh key");
        assert_eq!(
            thief.deliver(&answer),
            Err(OpenError::BadTag),
            "its header key was stolen, its key was not"
        );
        assert!(two.deliver(&answer).is_ok());
        for from in [stolen, other, stolen, other] {
            let mail = two.send(from, b"healed");
            assert_eq!(thief.deliver(&mail), Err(OpenError::NoSession));
            two.deliver(&mail).unwrap();
        }
    }
}

/// Invariant 20: even a server that plays along with a rollback sees no key used for two messages.
#[test]
fn a_rolled_back_sender_with_live_randomness_repeats_no_key() {
    let mut two = Two::acquainted(3);
    let snapshot = two.devices.clone();
    let ((), trace) = instrument::record(|| {
        for text in [b"one".as_slice(), b"another", b"a third"] {
            two.devices = snapshot.clone();
            two.send(0, text);
        }
    });
    let distinct: HashSet<_> = trace.sealings.iter().collect();
    assert_eq!(distinct.len(), trace.sealings.len());
    let message_keys: HashSet<_> = trace.sealings.iter().map(|(key, _)| key).collect();
    // Three headers under one header key, and three bodies and three messages under keys of their own.
    assert_eq!((trace.sealings.len(), message_keys.len()), (9, 7));
}
