//! Post-quantum epochs from outside: what rides on which message, what a lossy and a hostile network can do about it.

use std::time::Duration;

use proptest::prelude::*;
use unhidra_chain::Capabilities;
use unhidra_pair::{OpenError, SealError};

use crate::network::{DAY, Mail, Shelf, Two, cases};

/// Two who have talked, a day ago: their first epoch is due.
fn due(seed: u64) -> Two {
    let mut two = Two::acquainted(seed);
    two.now = two.now.saturating_add(DAY);
    two
}

/// `pq_epoch` of the session that the device at `at` sends in.
fn epoch(two: &Two, at: usize) -> u32 {
    let peer = two.devices[1 - at].address();
    two.devices[at].sessions(peer).epoch().unwrap()
}

/// The positions, of `count` messages in a row, on which a part rides.
fn parts(two: &mut Two, from: usize, count: usize) -> Vec<usize> {
    (0..count)
        .filter(|_| {
            let mail = two.send(from, b"text");
            two.deliver(&mail).unwrap();
            Two::has_part(&mail)
        })
        .collect()
}

#[test]
fn the_first_epoch_is_the_initiators_turn_and_the_turns_alternate() {
    let mut two = Two::acquainted(1);
    for round in 0..4 {
        two.now = two.now.saturating_add(DAY);
        let (first, second) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        // Whose turn it is not sends nothing, however long it is due.
        assert_eq!(parts(&mut two, second, 1), [0_usize; 0]);
        assert_eq!(parts(&mut two, first, 1), [0], "key");
        assert_eq!(parts(&mut two, second, 1), [0], "ciphertext");
        assert_eq!(parts(&mut two, first, 1), [0_usize; 0], "mixed");
        assert_eq!([epoch(&two, 0), epoch(&two, 1)], [round + 1, round + 1]);
    }
}

#[test]
fn an_epoch_is_due_after_32_messages_of_both_or_after_a_day() {
    let mut two = Two::acquainted(2);
    for _ in 0..14 {
        assert_eq!(parts(&mut two, 1, 1), [0_usize; 0]);
        assert_eq!(parts(&mut two, 0, 1), [0_usize; 0]);
    }
    // Two hellos, and 28 since.
    assert_eq!(parts(&mut two, 1, 1), [0_usize; 0]);
    assert_eq!(parts(&mut two, 0, 1), [0_usize; 0], "31 are not enough");
    assert_eq!(parts(&mut two, 1, 1), [0_usize; 0]);
    assert_eq!(parts(&mut two, 0, 1), [0]);

    let mut two = Two::acquainted(2);
    two.now = two
        .now
        .saturating_add(DAY.checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(parts(&mut two, 1, 1), [0_usize; 0]);
    assert_eq!(parts(&mut two, 0, 1), [0_usize; 0]);
    two.now = two.now.saturating_add(Duration::from_millis(1));
    assert_eq!(parts(&mut two, 1, 1), [0_usize; 0]);
    assert_eq!(parts(&mut two, 0, 1), [0]);
}

#[test]
fn a_part_is_repeated_on_the_first_message_of_a_chain_and_every_eighth_until_it_is_answered() {
    let mut two = due(3);
    assert_eq!(parts(&mut two, 0, 20), [0, 8, 16], "key");
    assert_eq!(parts(&mut two, 1, 17), [0, 8, 16], "ciphertext");
    assert_eq!(parts(&mut two, 0, 9), [0_usize; 0]);
}

#[test]
fn a_part_says_neither_what_it_is_nor_that_it_is_a_repetition() {
    let mut two = due(4);
    let keys: Vec<Mail> = (0..9).map(|_| two.send(0, b"text")).collect();
    let repeated = [&keys[0], &keys[8]];
    for mail in &keys {
        two.deliver(mail).unwrap();
    }
    let ciphertext = two.send(1, b"text");
    let lengths = [repeated[0], repeated[1], &ciphertext].map(|mail| mail.bytes.len());
    assert_eq!(lengths, [170 + 1_212; 3]);
    let part = |mail: &Mail| mail.bytes[90..90 + 1_212].to_vec();
    let (one, other) = (part(repeated[0]), part(repeated[1]));
    let equal = one.iter().zip(&other).filter(|(a, b)| a == b).count();
    assert!(equal < 40, "{equal} bytes of 1 212 stay: chance makes about five");
}

/// Invariant 25: the other device gets no part as long as a certificate does not allow it, whoever is READY.
#[test]
fn without_the_capability_nothing_rides_along_and_the_session_goes_on() {
    let mut two = due(5);
    for device in &mut two.devices {
        device.capabilities = Capabilities::PQ;
    }
    for _ in 0..4 {
        assert_eq!(parts(&mut two, 0, 9), [0_usize; 0]);
        assert_eq!(parts(&mut two, 1, 9), [0_usize; 0]);
    }
}

/// Invariants 7 and 12: a message of the epoch before, and the copy of a part, come late and change nothing.
#[test]
fn late_messages_of_the_epoch_before_open_and_their_parts_are_ignored() {
    let mut two = due(6);
    let late = two.send(0, b"late, with the key");
    assert!(Two::has_part(&late));
    assert_eq!(parts(&mut two, 0, 8), [7], "the eighth after it");
    assert_eq!(parts(&mut two, 1, 1), [0]);
    let late_too = two.send(1, b"late, of the old epoch");
    assert_eq!(parts(&mut two, 0, 1), [0_usize; 0]);
    two.exchange(1, b"in the new epoch");
    for mail in [&late, &late_too] {
        two.deliver(mail).unwrap();
    }
    assert_eq!([epoch(&two, 0), epoch(&two, 1)], [1, 1]);
    for from in [0, 1, 0] {
        two.exchange(from, b"goes on");
    }
}

/// Invariant 12.
#[test]
fn one_turned_bit_in_a_part_is_refused_and_changes_nothing() {
    for carrier in [0, 1] {
        let mut two = due(7);
        if carrier == 1 {
            two.exchange(0, b"the key");
        }
        let mail = two.send(carrier, b"text");
        assert!(Two::has_part(&mail));
        let before = two.stored(1 - carrier);
        for at in 90..90 + 1_212 {
            let mut altered = mail.clone();
            altered.bytes[at] ^= 1 << (at % 8);
            assert_eq!(two.deliver(&altered), Err(OpenError::BadTag), "byte {at}");
        }
        for cut in [1, 16, 1_212, 1_212 + 80] {
            let mut altered = mail.clone();
            altered.bytes.truncate(mail.bytes.len() - cut);
            assert!(matches!(
                two.deliver(&altered),
                Err(OpenError::BadTag | OpenError::Malformed)
            ));
        }
        // A message without its part is another one.
        let mut stripped = mail.clone();
        stripped.bytes.drain(90..90 + 1_212);
        assert_eq!(two.deliver(&stripped), Err(OpenError::Malformed));
        assert_eq!(two.stored(1 - carrier), before);
        assert!(two.deliver(&mail).is_ok());
    }
}

/// Invariant 25: whoever drops every message with a part is noticed, and the session ends.
#[test]
fn parts_that_are_dropped_for_thirty_days_end_the_session() {
    let mut two = due(8);
    let peer = two.devices[1].address();
    for day in 0..30 {
        for from in [0, 1] {
            let mail = two.send(from, b"dropped, if it is long");
            if !Two::has_part(&mail) {
                two.deliver(&mail).unwrap();
            }
            two.exchange(from, b"short");
        }
        assert!(!two.devices[0].sessions(peer).is_overdue(two.now), "day {day}");
        two.now = two.now.saturating_add(DAY);
    }
    let sessions = two.devices[0].sessions(peer);
    assert!(sessions.is_overdue(two.now));
    let outgoing = two.devices[0].outgoing(unhidra_types::MsgId::from_bytes([1; 16]), two.now);
    let refused = sessions.seal_control(&outgoing, b"control", two.now, &mut two.rng);
    assert_eq!(refused.map(|_| ()), Err(SealError::EpochOverdue));
    assert_eq!(epoch(&two, 0), 0);
    // The answer is a new handshake, with keys of these days.
    let device = &mut two.devices[1];
    let new = device.prekeys.replace(&device.publisher(), two.now, &mut two.rng);
    (device.prekeys, device.stock) = (new.store, Shelf::new(new.upload));
    two.initiate(0);
    for from in [0, 1, 0] {
        assert!(two.exchange(from, b"begun anew").text == b"begun anew");
    }
    assert!(!two.devices[0].sessions(peer).is_overdue(two.now));
}

/// Invariant 25: a pause is no dropping.
#[test]
fn a_pause_of_months_ends_nothing() {
    let mut two = due(9);
    for _ in 0..6 {
        for from in [0, 1] {
            two.exchange(from, b"once in a while");
            let peer = two.devices[1 - from].address();
            assert!(!two.devices[from].sessions(peer).is_overdue(two.now));
            two.now = two.now.saturating_add(DAY * 40);
        }
    }
    assert!(epoch(&two, 0) >= 2);
}

proptest! {
    #![proptest_config(cases(32))]

    /// Invariant 5: however often parts are lost, the epoch comes with the first that gets through.
    #[test]
    fn an_epoch_comes_though_each_of_its_parts_is_lost_several_times(
        seed in any::<u64>(),
        lost in 0_usize..6,
        shorts in 1_usize..10,
    ) {
        let mut two = due(seed);
        let mut losses = [0; 2];
        for _ in 0..2 * lost + 3 {
            for from in [0, 1] {
                for _ in 0..shorts {
                    let mail = two.send(from, b"text");
                    if Two::has_part(&mail) && losses[from] < lost {
                        losses[from] += 1;
                    } else {
                        two.deliver(&mail).unwrap();
                    }
                }
                // Something gets through, so that the chains go on.
                let mail = two.send(from, b"text");
                two.deliver(&mail).unwrap();
            }
        }
        prop_assert!(epoch(&two, 0) >= 1, "epoch {}", epoch(&two, 0));
        prop_assert_eq!(epoch(&two, 0), epoch(&two, 1));
    }
}
