use unhidra_types::ConversationId;

use super::*;

/// The cursor of a device in the one log.
fn of(number: usize) -> (DeviceId, LogNumber) {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    (DeviceId::from_bytes(id), LogNumber::default())
}

fn group(seq: u64) -> Cursor {
    Cursor {
        kind: Kind::Group,
        seq,
    }
}

fn acknowledged(cursors: &Cursors, number: usize) -> u64 {
    let (device, log) = of(number);
    let mut position = Position {
        log,
        conversation: ConversationId::from_bytes([1; 16]),
        kind: Kind::Group,
        acknowledged: 1,
        head: 9,
    };
    cursors.advance(device, &mut position);
    position.acknowledged
}

#[test]
fn the_furthest_cursor_of_a_log_waits_and_is_seen() {
    let cursors = Cursors::default();
    assert!(cursors.lock().note(of(1), group(3)));
    assert!(!cursors.lock().note(of(1), group(2)));
    assert_eq!((acknowledged(&cursors, 1), acknowledged(&cursors, 2)), (3, 1));
}

#[test]
fn a_cursor_is_seen_until_those_after_it_are_stored() {
    let cursors = Cursors::default();
    cursors.lock().note(of(1), group(3));
    assert_eq!(cursors.lock().begin().len(), 1);
    assert_eq!(acknowledged(&cursors, 1), 3);
    assert!(cursors.lock().begin().is_empty());
    assert_eq!(acknowledged(&cursors, 1), 1, "it is read from the store now");
}

#[test]
fn what_could_not_be_stored_waits_again_behind_what_came_meanwhile() {
    let cursors = Cursors::default();
    for number in 1..=2 {
        cursors.lock().note(of(number), group(3));
    }
    cursors.lock().begin();
    cursors.lock().note(of(1), group(5));
    cursors
        .lock()
        .failed(&StoreError::CommitFailed, &[(of(1), group(3))]);
    assert_eq!((acknowledged(&cursors, 1), acknowledged(&cursors, 2)), (5, 3));
    assert_eq!(cursors.lock().begin().len(), 2);
}

#[test]
fn a_part_that_contradicts_the_store_is_not_tried_for_ever_and_the_others_wait_again() {
    let cursors = Cursors::default();
    cursors.lock().note(of(1), group(3));
    cursors.lock().note(of(2), group(3));
    cursors.lock().begin();
    let part = [(of(1), group(3))];
    cursors.lock().failed(&StoreError::Corrupt("seq"), &part);
    let again: Vec<_> = cursors.lock().begin().into_iter().map(|(of, _)| of).collect();
    assert_eq!(again, [of(2)]);
}

#[test]
fn no_more_cursors_wait_than_the_bound_and_those_that_do_move_on() {
    let cursors = Cursors::default();
    for number in 0..=WAITING {
        cursors.lock().note(of(number), group(3));
    }
    cursors.lock().note(of(0), group(4));
    assert_eq!(acknowledged(&cursors, 0), 4);
    assert_eq!(acknowledged(&cursors, WAITING), 1, "forgotten");
    assert_eq!(cursors.lock().begin().len(), WAITING);
}
