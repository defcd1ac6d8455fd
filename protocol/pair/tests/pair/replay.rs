//! Messages that come again, or come to somebody else.

use unhidra_chain::prekey::KemKind;
use unhidra_pair::{OpenError, SeenEk};

use crate::network::{CURRENT, Two};

/// Invariant 10.
#[test]
fn a_known_message_is_a_duplicate_and_a_spent_position_without_a_row_is_a_gone_key() {
    let mut two = Two::acquainted(1);
    let mail = two.send(0, b"text");
    assert!(two.deliver(&mail).unwrap().is_some());
    let before = two.stored(1);
    assert_eq!(two.deliver(&mail), Ok(None));
    two.devices[1].known.clear();
    assert_eq!(two.deliver(&mail), Err(OpenError::KeyGone));
    assert_eq!(two.stored(1), before);
}

/// Invariant 11.
#[test]
fn a_replayed_first_message_shows_nothing() {
    let mut two = Two::new(2);
    let mail = two.send(0, b"text");
    two.deliver(&mail).unwrap();
    two.devices[1].known.clear();
    assert_eq!(
        two.deliver(&mail),
        Err(OpenError::KeyGone),
        "matched to its session"
    );
    two.devices[1].sessions.clear();
    assert_eq!(
        two.deliver(&mail),
        Err(OpenError::Replay),
        "remembered without its session"
    );
    two.devices[1].seen.clear();
    assert_eq!(
        two.deliver(&mail),
        Err(OpenError::UnknownPrekey),
        "its one-time keys are gone"
    );
}

/// Invariant 11.
#[test]
fn a_message_of_one_session_does_not_open_in_another() {
    let mut two = Two::acquainted(3);
    let old = two.send(0, b"in the old session");
    two.initiate(0);
    two.exchange(0, b"in the new session");
    let peer = two.devices[0].address();
    let active = two.devices[1].sessions(peer).active().unwrap();
    // The archive is what opens the old session's messages; without it nothing does.
    assert!(two.open(&old).is_ok());
    let mut fresh = Two::new(33);
    fresh.exchange(0, b"a session of its own");
    assert_ne!(fresh.devices[1].sessions(peer).active().unwrap(), active);
    assert_eq!(fresh.open(&old).map(|_| ()), Err(OpenError::NoSession));
}

/// Invariant 11.
#[test]
fn a_message_reflected_to_its_sender_does_not_open() {
    let mut two = Two::acquainted(4);
    for from in [0, 1] {
        let mut mail = two.send(from, b"text");
        mail.sender = two.devices[1 - from].address();
        mail.envelope.dest = two.devices[from].address().device;
        assert_eq!(two.open(&mail).map(|_| ()), Err(OpenError::NoSession));
    }
}

/// Invariant 11.
#[test]
fn a_message_to_one_device_does_not_open_at_another_of_the_same_user() {
    let mut two = Two::new(5);
    let first = two.send(0, b"first");
    let mut second_device = two.users[1].device(CURRENT, &mut two.rng);
    let chain = two.users[0].chain.clone();
    let refused = second_device.receive(&first, &chain, two.now);
    assert_eq!(refused, Err(OpenError::UnknownPrekey));
    two.deliver(&first).unwrap();
    two.exchange(1, b"answer");
    let later = two.send(0, b"later");
    let refused = second_device.receive(&later, &chain, two.now);
    assert_eq!(refused, Err(OpenError::NoSession));
}

/// Invariant 22: a full table closes the door only for those who bring no one-time key.
#[test]
fn a_full_table_refuses_only_handshakes_without_a_one_time_key() {
    for (has_one_time, opens) in [(true, true), (false, false)] {
        let mut two = Two::new(6);
        if !has_one_time {
            two.devices[1].stock.kem.clear();
            two.devices[1].stock.one_time.clear();
        }
        let mail = two.send(0, b"text");
        let received = mail.received();
        let sessions = two.devices[1].sessions(mail.sender);
        let prefix = sessions.introduction_needed(&received).unwrap().unwrap();
        let introduction = two.devices[1]
            .introduce(&prefix, &two.users[0].chain, SeenEk::Full, two.now)
            .unwrap();
        let result = sessions.open(&received, &two.devices[1].local, Some(&introduction), two.now);
        assert_eq!(result.is_ok(), opens);
    }
}

/// Invariant 22: whoever takes all one-time keys away keeps nobody from beginning a session, and a full table of those who
/// began without one is open again to who brings one.
#[test]
fn when_all_one_time_keys_are_taken_the_last_resort_begins_sessions_until_the_table_is_full() {
    const TABLE: usize = 24;
    let mut two = Two::new(9);
    let (kem, one_time) = (
        two.devices[1].stock.kem.clone(),
        two.devices[1].stock.one_time.clone(),
    );
    while two.devices[1].stock.kem.len() + two.devices[1].stock.one_time.len() > 0 {
        two.devices[1].bundle();
    }
    let begin = |two: &mut Two| {
        two.initiate(0);
        let mail = two.send(0, b"text");
        let sessions = two.devices[1].sessions(mail.sender);
        let prefix = sessions.introduction_needed(&mail.received()).unwrap().unwrap();
        let seen = if two.devices[1].seen.len() < TABLE {
            SeenEk::New
        } else {
            SeenEk::Full
        };
        let opened = {
            let device = &two.devices[1];
            let introduction = device
                .introduce(&prefix, &two.users[0].chain, seen, two.now)
                .unwrap();
            sessions.open(&mail.received(), &device.local, Some(&introduction), two.now)?
        };
        two.devices[1].commit(&opened, &mail);
        Ok(opened.accepted.and_then(|accepted| accepted.kem))
    };
    for _ in 0..TABLE {
        assert_eq!(begin(&mut two), Ok(Some(KemKind::LastResort)));
    }
    assert_eq!(begin(&mut two), Err(OpenError::Replay));
    assert_eq!(two.devices[1].seen.len(), TABLE);
    two.devices[1].stock.kem = kem;
    two.devices[1].stock.one_time = one_time;
    assert_eq!(begin(&mut two), Ok(Some(KemKind::OneTime)));
}

#[test]
fn a_first_message_is_not_opened_without_an_introduction() {
    let mut two = Two::new(7);
    let mail = two.send(0, b"text");
    let sessions = two.devices[1].sessions(mail.sender);
    let result = sessions.open(&mail.received(), &two.devices[1].local, None, two.now);
    assert_eq!(result.map(|_| ()), Err(OpenError::NoSession));
}

/// Invariant 23: the caller looked up another device than the prefix names.
#[test]
fn a_first_message_is_not_opened_under_another_devices_introduction() {
    let mut two = Two::new(8);
    let mail = two.send(0, b"text");
    let sessions = two.devices[1].sessions(mail.sender);
    let mut prefix = sessions.introduction_needed(&mail.received()).unwrap().unwrap();
    prefix.initiator = two.devices[1].address();
    prefix.cert_hash = two.devices[1].local.cert_hash;
    let chain = &two.users[1].chain;
    let other = two.devices[1]
        .introduce(&prefix, chain, SeenEk::New, two.now)
        .unwrap();
    let result = sessions.open(&mail.received(), &two.devices[1].local, Some(&other), two.now);
    assert_eq!(result.map(|_| ()), Err(OpenError::Malformed));
}
