//! Attacks that have broken others, each as it was done.

use unhidra_pair::{OpenError, SessionSet};
use unhidra_types::limits::MAX_ARCHIVED_SESSIONS;

use crate::network::{CURRENT, Mail, Two, User};

fn sessions(two: &Two, at: usize) -> SessionSet {
    two.devices[at].sessions(two.devices[1 - at].address())
}

/// Headers of later messages with ciphertexts of the attacker's: nothing is derived for them that stays.
#[test]
fn two_hundred_forged_numbers_keep_none_of_a_hundred_genuine_messages_from_being_read() {
    let mut two = Two::acquainted(90);
    let genuine: Vec<Mail> = (0..100).map(|_| two.send(0, b"genuine")).collect();
    let later: Vec<Mail> = (0..200).map(|_| two.send(0, b"later")).collect();
    let before = two.stored(1);
    for mail in &later {
        let mut forged = mail.clone();
        let from = forged.bytes.len() - 80;
        forged.bytes[from..].fill(0x5a);
        assert_eq!(two.deliver(&forged), Err(OpenError::BadTag));
    }
    assert_eq!(two.stored(1), before, "not a byte has changed");
    for mail in &genuine {
        assert_eq!(two.deliver(mail).unwrap().unwrap().text, b"genuine");
    }
    assert_eq!(sessions(&two, 1).skipped_keys(), 0);
}

/// Invariants 21 and 22.
#[test]
fn two_who_begin_at_once_take_two_one_time_keys_and_both_begin_when_there_are_none() {
    for left in [2, 1, 0] {
        let mut two = Two::new(91);
        let mut carol = User::new(&mut two.rng);
        let mut third = carol.device(CURRENT, &mut two.rng);
        two.devices[1].stock.one_time.truncate(left);
        two.devices[1].stock.kem.truncate(left);
        let bob = two.devices[1].address();
        // Both have their bundle before either has sent.
        third.initiate(&mut two.devices[1], &two.users[1].chain, two.now, &mut two.rng);
        two.initiate(0);
        assert!(two.devices[1].stock.one_time.is_empty());
        let of_third = third.send(bob, b"from the one", two.now, &mut two.rng);
        let of_first = two.send(0, b"from the other");
        let read = two.devices[1].receive(&of_third, &carol.chain, two.now);
        assert_eq!(read.unwrap().unwrap().text, b"from the one", "{left} left");
        let read = two.deliver(&of_first);
        assert_eq!(read.unwrap().unwrap().text, b"from the other", "{left} left");
    }
}

#[test]
fn the_oldest_of_the_sessions_goes_first() {
    let mut two = Two::new(92);
    // A message of each session is late.
    let late: Vec<Mail> = (0..MAX_ARCHIVED_SESSIONS + 3)
        .map(|_| {
            two.initiate(0);
            let late = two.send(0, b"late");
            two.exchange(0, b"the session is known");
            late
        })
        .collect();
    let opened: Vec<bool> = late.iter().map(|mail| two.open(mail).is_ok()).collect();
    let gone = late.len() - MAX_ARCHIVED_SESSIONS - 1;
    assert_eq!(gone, 2);
    assert!(opened[..gone].iter().all(|opens| !opens), "{opened:?}");
    assert!(opened[gone..].iter().all(|opens| *opens), "{opened:?}");
}

/// A session that a third party begins with its own keys in the name of another is nobody's.
#[test]
fn a_session_begun_in_anothers_name_is_not_taken() {
    let mut two = Two::acquainted(93);
    let mut mallory = User::new(&mut two.rng);
    let mut device = mallory.device(CURRENT, &mut two.rng);
    let (alice, bob) = (two.devices[0].address(), two.devices[1].address());
    device.initiate(&mut two.devices[1], &two.users[1].chain, two.now, &mut two.rng);
    let mut mail = device.send(bob, b"it is me, Alice", two.now, &mut two.rng);
    mail.sender = alice;
    mail.bytes[2..18].copy_from_slice(alice.user.as_bytes());
    mail.bytes[18..34].copy_from_slice(alice.device.as_bytes());
    mail.bytes[34..66].copy_from_slice(&two.devices[0].local.cert_hash);
    let before = two.stored(1);
    assert_eq!(two.deliver(&mail), Err(OpenError::NoSession));
    assert_eq!(two.stored(1), before);
}
