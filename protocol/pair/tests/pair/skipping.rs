//! Gaps: how far a message may lie ahead, and how many keys wait for the ones between.

use unhidra_crypto::instrument;
use unhidra_pair::{OpenError, SessionSet};
use unhidra_types::limits::{MAX_OLD_CHAINS, MAX_SKIP, MAX_STORED_SKIPPED_KEYS, SKIPPED_KEY_LIFETIME};

use crate::network::{Mail, Two};

/// Sends `count` messages that the network keeps, in memory for speed, and one more that comes back.
fn send_after_gap(two: &mut Two, from: usize, count: u32) -> Mail {
    let peer = two.devices[1 - from].address();
    let outgoing = two.devices[from].outgoing(unhidra_types::MsgId::NONE, two.now);
    let mut sessions = two.devices[from].sessions(peer);
    for _ in 0..count {
        let sealed = sessions.seal_control(&outgoing, b"lost", two.now, &mut two.rng);
        sessions = sealed.unwrap().sessions;
    }
    two.devices[from].store(&sessions);
    two.send(from, b"after the gap")
}

fn sessions(two: &Two, at: usize) -> SessionSet {
    two.devices[at].sessions(two.devices[1 - at].address())
}

/// Invariant 8.
#[test]
fn a_position_beyond_the_bound_is_refused_before_any_chain_step() {
    let mut two = Two::acquainted(1);
    two.exchange(0, b"begin the chain");
    let mail = send_after_gap(&mut two, 0, MAX_SKIP + 1);
    let before = two.stored(1);
    let session = sessions(&two, 1).active().unwrap();
    let (result, trace) = instrument::record(|| two.deliver(&mail));
    assert_eq!(result, Err(OpenError::SkipTooFar(session)));
    assert_eq!((trace.hmacs, trace.diffie_hellmans), (0, 0));
    assert_eq!(two.stored(1), before);
}

/// Invariant 8.
#[test]
fn a_position_at_the_bound_opens() {
    let mut two = Two::acquainted(2);
    two.exchange(0, b"begin the chain");
    let mail = send_after_gap(&mut two, 0, MAX_SKIP);
    assert!(two.deliver(&mail).is_ok());
    assert_eq!(sessions(&two, 1).skipped_keys(), 1_000);
}

/// Invariant 8: in the chain before, and in a new one.
#[test]
fn a_gap_at_the_end_of_a_chain_or_the_start_of_the_next_is_bounded_too() {
    for (at_end, at_start, opens) in [
        (MAX_SKIP, MAX_SKIP, true),
        (MAX_SKIP + 1, 0, false),
        (0, MAX_SKIP + 1, false),
    ] {
        let mut two = Two::acquainted(3);
        two.exchange(0, b"begin the chain");
        if at_end > 0 {
            // `send_after_gap` sends one more than the gap, and that one is lost as well.
            send_after_gap(&mut two, 0, at_end - 1);
        }
        two.exchange(1, b"end the chain");
        let mail = send_after_gap(&mut two, 0, at_start);
        let before = two.stored(1);
        let (result, trace) = instrument::record(|| two.deliver(&mail));
        assert_eq!(
            result.is_ok(),
            opens,
            "{at_end} at the end, {at_start} at the start"
        );
        if !opens {
            assert!(matches!(result, Err(OpenError::SkipTooFar(_))));
            assert_eq!((trace.hmacs, trace.diffie_hellmans), (0, 0));
            assert_eq!(two.stored(1), before);
        }
    }
}

/// Invariant 8: what follows a refusal.
#[test]
fn an_archived_session_sends_no_more_and_a_new_one_replaces_it() {
    let mut two = Two::acquainted(4);
    two.exchange(0, b"begin the chain");
    let mail = send_after_gap(&mut two, 0, MAX_SKIP + 1);
    let Err(OpenError::SkipTooFar(session)) = two.deliver(&mail) else {
        panic!("the gap is too wide");
    };
    let archived = sessions(&two, 1).archive(session, two.now);
    two.devices[1].store(&archived);
    assert_eq!(sessions(&two, 1).active(), None);
    assert_eq!(two.exchange(1, b"in a new session").text, b"in a new session");
    assert_eq!(two.exchange(0, b"answer").text, b"answer");
    assert_eq!(sessions(&two, 0).active(), sessions(&two, 1).active());
}

/// Invariant 9.
#[test]
fn no_peer_makes_a_session_keep_more_keys_than_the_bound() {
    let mut two = Two::acquainted(5);
    for _ in 0..3 {
        two.exchange(0, b"begin the chain");
        for gap in [MAX_SKIP, MAX_SKIP - 1] {
            let mail = send_after_gap(&mut two, 0, gap);
            two.deliver(&mail).unwrap();
            assert!(sessions(&two, 1).skipped_keys() <= MAX_STORED_SKIPPED_KEYS);
        }
        two.exchange(1, b"end the chain");
    }
    assert_eq!(sessions(&two, 1).skipped_keys(), MAX_STORED_SKIPPED_KEYS);
    assert!(SessionSet::from_bytes(&two.stored(1)).is_ok());
}

/// Invariant 3.
#[test]
fn a_message_later_than_the_age_of_its_key_does_not_open_even_with_the_state_stolen() {
    let mut two = Two::acquainted(6);
    let late = two.send(0, b"late");
    two.exchange(0, b"early");
    two.now = two.now.saturating_add(SKIPPED_KEY_LIFETIME);
    assert_eq!(two.deliver(&late), Err(OpenError::KeyGone));
    let swept = sessions(&two, 1).expire(two.now);
    assert_eq!(swept.skipped_keys(), 0);
    // A thief who turns the clock back finds nothing either.
    two.devices[1].store(&swept);
    two.now = crate::network::START;
    assert!(two.deliver(&late).is_err());
}

/// Invariant 3.
#[test]
fn a_message_more_chains_late_than_are_kept_does_not_open() {
    let mut two = Two::acquainted(7);
    let late = two.send(0, b"late");
    for _ in 0..=MAX_OLD_CHAINS + 1 {
        two.send(0, b"lost");
        two.exchange(0, b"early");
        two.exchange(1, b"end the chain");
    }
    assert_eq!(two.deliver(&late), Err(OpenError::NoSession));
}

/// The bound on header trials: every session, every older chain.
#[test]
fn a_message_that_nothing_opens_costs_at_most_54_header_trials() {
    let mut two = Two::new(8);
    for _ in 0..10 {
        two.initiate(0);
        two.exchange(0, b"first");
        for _ in 0..=MAX_OLD_CHAINS {
            two.exchange(1, b"end the chain");
            two.send(0, b"lost");
            two.exchange(0, b"early");
        }
    }
    let mut mail = two.send(0, b"text");
    mail.bytes[0] ^= 1;
    let (result, trace) = instrument::record(|| two.deliver(&mail));
    assert_eq!(result, Err(OpenError::NoSession));
    assert_eq!(trace.openings, 54);
}
