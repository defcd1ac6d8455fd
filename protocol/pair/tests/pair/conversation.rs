//! The path on which nothing goes wrong, and the sizes of what travels.

use unhidra_chain::Capabilities;
use unhidra_pair::{Content, EkHash, Kind};

use crate::network::Two;

#[test]
fn messages_reach_the_other_side_across_many_steps() {
    let mut two = Two::new(1);
    for round in 0_u8..12 {
        for from in [0, 1] {
            for n in 0..=round % 3 {
                let text = [from as u8, round, n];
                let mail = two.send(from, &text);
                assert_eq!(two.deliver(&mail).unwrap().unwrap().text, text);
            }
        }
    }
}

#[test]
fn the_classical_suite_carries_messages_both_ways() {
    let mut two = Two::with(Capabilities::NONE, 2);
    for from in [0, 1, 0] {
        let mail = two.send(from, b"text");
        assert_eq!(two.deliver(&mail).unwrap().unwrap().text, b"text");
    }
}

#[test]
fn the_prefix_is_repeated_until_the_first_answer_and_then_left_out() {
    let mut two = Two::new(3);
    let mails = [two.send(0, b"one"), two.send(0, b"two")];
    for mail in &mails {
        assert_eq!(mail.envelope.kind, Kind::Prekey);
        assert_eq!(mail.bytes.len(), 1_368);
        two.deliver(mail).unwrap();
    }
    let answer = two.send(1, b"three");
    assert_eq!((answer.envelope.kind, answer.bytes.len()), (Kind::Ratchet, 170));
    two.deliver(&answer).unwrap();
    let next = two.send(0, b"four");
    assert_eq!((next.envelope.kind, next.bytes.len()), (Kind::Ratchet, 170));
}

#[test]
fn wire_sizes_are_those_of_the_specification() {
    let mut classical = Two::with(Capabilities::NONE, 4);
    assert_eq!(
        classical.send(0, b"text").bytes.len(),
        280,
        "first capsule, classical"
    );
    let mut two = Two::acquainted(4);
    assert_eq!(
        two.send(0, &[7; 1_030]).object.len(),
        1_137,
        "body of 1 024 B of text"
    );
    assert_eq!(two.send(0, b"").object.len(), 49 + 64, "body of nothing");
    let peer = two.devices[1].address();
    let sender = &two.devices[0];
    let outgoing = sender.outgoing(unhidra_types::MsgId::from_bytes([1; 16]), two.now);
    let sealed = sender
        .sessions(peer)
        .seal_control(&outgoing, b"read marker", two.now, &mut two.rng)
        .unwrap();
    assert_eq!(sealed.bytes.len(), 106 + 64, "control");
}

#[test]
fn a_control_message_arrives_in_the_control_log() {
    let mut two = Two::acquainted(5);
    let peer = two.devices[1].address();
    let mut mail = two.send(0, b"template");
    let outgoing = two.devices[0].outgoing(mail.envelope.msg_id, two.now);
    let sealed = two.devices[0]
        .sessions(peer)
        .seal_control(&outgoing, b"read marker", two.now, &mut two.rng)
        .unwrap();
    mail.bytes = sealed.bytes;
    mail.conversation = unhidra_types::ConversationId::CONTROL;
    let opened = two.open(&mail).unwrap();
    assert_eq!(opened.content, Content::Control(b"read marker".to_vec()));
    assert_eq!(
        (opened.sent_at, opened.own_list.0, opened.peer_list.0),
        (two.now, 1, 1)
    );
}

#[test]
fn both_ends_name_the_session_alike() {
    let two = Two::acquainted(6);
    let id =
        |at: usize| -> Option<EkHash> { two.devices[at].sessions(two.devices[1 - at].address()).active() };
    assert!(id(0).is_some());
    assert_eq!(id(0), id(1));
}
