//! Several sessions with one device: which one sends, and how long the others receive.

use core::time::Duration;

use unhidra_pair::{OpenError, SessionSet, StoredError, sessions::ARCHIVE_LIFETIME};
use unhidra_types::limits::MAX_ARCHIVED_SESSIONS;

use crate::network::{DAY, Two};

fn sessions(two: &Two, at: usize) -> SessionSet {
    two.devices[at].sessions(two.devices[1 - at].address())
}

/// Invariant 17.
#[test]
fn of_two_sessions_begun_at_once_the_smaller_key_hash_wins() {
    let mut two = Two::new(1);
    let crossing = [two.send(0, b"crossing"), two.send(1, b"crossing")];
    let begun = [0, 1].map(|at| sessions(&two, at).active().unwrap());
    for mail in &crossing {
        two.deliver(mail).unwrap();
    }
    let smaller = begun[0].min(begun[1]);
    assert_eq!([0, 1].map(|at| sessions(&two, at).active()), [Some(smaller); 2]);
}

#[test]
fn a_session_that_was_answered_gives_way_to_one_that_the_peer_begins() {
    // Both orders of the two hashes occur among these seeds.
    for seed in 0..8 {
        let mut two = Two::acquainted(seed);
        two.initiate(1);
        two.exchange(1, b"in a new session");
        assert_eq!(sessions(&two, 0).active(), sessions(&two, 1).active());
    }
}

#[test]
fn an_archived_session_receives_for_thirty_days_and_no_longer() {
    for (age, opens) in [
        (ARCHIVE_LIFETIME - Duration::from_millis(1), true),
        (ARCHIVE_LIFETIME, false),
    ] {
        let mut two = Two::acquainted(2);
        let late = two.send(0, b"late");
        let archived = sessions(&two, 1).archive_all(two.now);
        assert_eq!(archived.active(), None);
        two.devices[1].store(&archived);
        two.now = two.now.saturating_add(age);
        assert_eq!(two.open(&late).is_ok(), opens);
        let swept = sessions(&two, 1).expire(two.now);
        assert_eq!(
            swept.to_bytes() == archived.to_bytes(),
            opens,
            "the sweep drops what receives no more"
        );
    }
}

#[test]
fn an_opened_message_says_since_when_its_session_is_archived() {
    let mut two = Two::acquainted(6);
    let mail = two.send(0, b"text");
    assert_eq!(two.open(&mail).unwrap().archived_since, None);
    let since = two.now.saturating_add(DAY);
    let archived = sessions(&two, 1).archive_all(since);
    two.devices[1].store(&archived);
    two.now = since.saturating_add(DAY);
    assert_eq!(two.open(&mail).unwrap().archived_since, Some(since));
}

#[test]
fn archiving_a_session_that_does_not_send_leaves_the_one_that_does() {
    let mut two = Two::acquainted(3);
    let old = sessions(&two, 0).active().unwrap();
    two.initiate(0);
    let before = sessions(&two, 0);
    assert_eq!(before.archive(old, two.now).active(), before.active());
}

#[test]
fn an_archived_session_that_is_retired_sends_no_more_and_others_may() {
    let mut two = Two::acquainted(8);
    let mut begun = vec![sessions(&two, 0).active().unwrap()];
    for _ in 0..2 {
        two.initiate(1);
        two.exchange(1, b"in a new session");
        begun.push(sessions(&two, 0).active().unwrap());
    }
    let retired = sessions(&two, 0).archive(begun[0], two.now);
    let preferring = |session| retired.prefer(session, two.now).active();
    assert_eq!(preferring(begun[0]), Some(begun[2]));
    assert_eq!(preferring(begun[1]), Some(begun[1]));
}

/// Invariant 15.
#[test]
fn a_stored_set_with_more_sessions_than_the_bound_is_refused() {
    let mut two = Two::new(4);
    for _ in 0..=MAX_ARCHIVED_SESSIONS + 2 {
        two.initiate(0);
    }
    let bytes = two.stored(0);
    // Version, peer, presence, the active session, the counter, the count, and eight times a date, a standing and a session.
    let session = (bytes.len() - 36 - 9 * MAX_ARCHIVED_SESSIONS) / (MAX_ARCHIVED_SESSIONS + 1);
    let count = 35 + session;
    assert_eq!(
        (usize::from(bytes[count]), bytes.len()),
        (MAX_ARCHIVED_SESSIONS, 108 + 9 * session)
    );
    let mut too_many = bytes.clone();
    too_many[count] += 1;
    too_many.extend_from_slice(&bytes[bytes.len() - session - 9..]);
    assert_eq!(
        SessionSet::from_bytes(&too_many).map(|_| ()),
        Err(StoredError::Malformed)
    );
}

/// Invariant 15: nothing that the first version archived sends again.
#[test]
fn archived_sessions_of_the_first_version_are_retired() {
    let mut two = Two::new(7);
    two.initiate(0);
    two.initiate(0);
    let second = two.stored(0);
    // Both sessions are as long: version, peer, presence, session, counter, count, date, standing, session.
    let session = (second.len() - 36 - 9) / 2;
    let counter = 34 + session;
    let standing = counter + 2 + 8;
    let mut first = second.clone();
    first.remove(standing);
    first.remove(counter);
    first[0] = 1;
    let read = SessionSet::from_bytes(&first).unwrap();
    assert_eq!(read.to_bytes(), second);
    assert_eq!((second[counter], second[standing]), (0, 0));
}

/// Invariant 11: a prefix that passes off this device's own ephemeral key as the peer's names no session of the peer.
#[test]
fn an_own_ephemeral_key_under_the_peers_name_is_no_known_session() {
    let mut two = Two::new(5);
    let mut mail = two.send(0, b"text");
    let peer = two.devices[1].address();
    mail.bytes[2..18].copy_from_slice(peer.user.as_bytes());
    mail.bytes[18..34].copy_from_slice(peer.device.as_bytes());
    mail.bytes[34..66].copy_from_slice(&two.devices[1].local.cert_hash);
    mail.sender = peer;
    mail.envelope.dest = two.devices[0].address().device;
    let needed = sessions(&two, 0).introduction_needed(&mail.received()).unwrap();
    assert!(needed.is_some());
    assert_eq!(two.open(&mail).map(|_| ()), Err(OpenError::UnknownPrekey));
}
