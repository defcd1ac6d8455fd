//! What an attacker on the network or on the server can alter, and what then happens: nothing.

use proptest::prelude::*;
use unhidra_chain::direct::direct_conversation;
use unhidra_crypto::instrument;
use unhidra_pair::{
    Address, Capsule, Content, Kind, OpenError, Opened, SealError, SealedBody, SeenEk, SessionSet, body,
};
use unhidra_types::{
    ConversationId, DeviceId, MsgId, UserId,
    limits::{MAX_FRAME_BYTES, MAX_TEXT_BYTES},
};

use crate::network::{Mail, Two, cases};

const OTHER: [u8; 16] = [0x77; 16];

/// Asserts that `mail` is refused as `error`, and that the receiver stores what it stored before.
fn refused(two: &mut Two, mail: &Mail, error: OpenError) {
    let before = two.stored(1);
    let prekeys = two.devices[1].prekeys.clone();
    assert_eq!(two.deliver(mail), Err(error));
    assert_eq!(two.stored(1), before);
    assert_eq!(two.devices[1].prekeys, prekeys);
}

fn capsule(opened: Opened) -> Capsule {
    match opened.content {
        Content::Capsule(capsule) => capsule,
        Content::Control(_) => panic!("a text travels in a body"),
    }
}

/// Invariants 12 and 14.
#[test]
fn a_forged_header_costs_no_chain_step_and_changes_nothing() {
    let mut two = Two::acquainted(1);
    let mut mail = two.send(0, b"text");
    mail.bytes[20] ^= 1;
    let before = two.stored(1);
    let (result, trace) = instrument::record(|| two.deliver(&mail));
    assert_eq!(result, Err(OpenError::NoSession));
    assert_eq!((trace.hmacs, trace.diffie_hellmans), (0, 0));
    assert_eq!(two.stored(1), before);
}

/// Invariant 12.
#[test]
fn a_corrupted_copy_of_a_late_message_does_not_spend_its_key() {
    let mut two = Two::acquainted(2);
    let late = two.send(0, b"late");
    two.exchange(0, b"early");
    let mut corrupted = late.clone();
    *corrupted.bytes.last_mut().unwrap() ^= 1;
    refused(&mut two, &corrupted, OpenError::BadTag);
    assert_eq!(two.deliver(&late).unwrap().unwrap().text, b"late");
}

/// Invariant 14: the body may come again, so the key of its capsule stays until it does.
#[test]
fn a_message_whose_body_was_altered_opens_when_the_body_is_fetched_again() {
    let mut two = Two::acquainted(3);
    let mail = two.send(0, b"text");
    let mut altered = mail.clone();
    altered.object[40] ^= 1;
    refused(&mut two, &altered, OpenError::BadTag);
    altered.object.clear();
    refused(&mut two, &altered, OpenError::BadTag);
    assert_eq!(two.deliver(&mail).unwrap().unwrap().text, b"text");
}

/// Invariant 13.
#[test]
fn a_relabelled_message_is_refused() {
    let mut two = Two::acquainted(4);
    let mail = two.send(0, b"text");
    let relabel = |change: fn(&mut Mail)| {
        let mut changed = mail.clone();
        change(&mut changed);
        changed
    };
    let relabelled = [
        relabel(|mail| mail.envelope.msg_id = MsgId::from_bytes(OTHER)),
        relabel(|mail| mail.envelope.dest = DeviceId::from_bytes(OTHER)),
        relabel(|mail| mail.conversation = ConversationId::from_bytes(OTHER)),
        relabel(|mail| mail.conversation = ConversationId::CONTROL),
    ];
    for mail in &relabelled {
        // Already the capsule is bound, not only its body.
        assert_eq!(two.open(mail).map(|_| ()), Err(OpenError::BadTag));
        refused(&mut two, mail, OpenError::BadTag);
    }
    assert!(two.deliver(&mail).is_ok());
}

/// Invariant 13.
#[test]
fn a_ratchet_message_relabelled_as_a_prekey_message_is_refused() {
    let mut two = Two::new(5);
    let first = two.send(0, b"first");
    two.deliver(&first).unwrap();
    two.exchange(1, b"answer");
    let mut mail = two.send(0, b"text");
    mail.envelope.kind = Kind::Prekey;
    let prefix = &first.bytes[..first.bytes.len() - 170];
    mail.bytes = [prefix, &mail.bytes].concat();
    refused(&mut two, &mail, OpenError::BadTag);
}

/// Invariant 13.
#[test]
fn a_prekey_message_without_its_prefix_is_refused() {
    let mut two = Two::new(6);
    let first = two.send(0, b"first");
    two.deliver(&first).unwrap();
    let mut mail = two.send(0, b"second");
    mail.envelope.kind = Kind::Ratchet;
    mail.bytes.drain(..1_198);
    refused(&mut two, &mail, OpenError::BadTag);
}

/// Invariant 13: the server names another user as the sender of a message that this device's session opens.
#[test]
fn a_message_under_another_senders_name_is_refused() {
    let mut two = Two::acquainted(7);
    let mail = two.send(0, b"text");
    let sessions = two.devices[1].sessions(mail.sender);
    for (user, device) in [
        (UserId::from_bytes(OTHER), mail.sender.device),
        (mail.sender.user, DeviceId::from_bytes(OTHER)),
    ] {
        let sender = unhidra_pair::Address { user, device };
        let received = unhidra_pair::Received {
            envelope: mail.envelope,
            sender,
            conversation: mail.conversation,
            bytes: &mail.bytes,
        };
        let result = sessions.open(&received, &two.devices[1].local, None, two.now);
        assert_eq!(result.map(|_| ()), Err(OpenError::BadTag));
    }
}

#[test]
fn a_first_message_under_another_senders_name_is_malformed() {
    let mut two = Two::new(8);
    let mut mail = two.send(0, b"text");
    mail.sender.device = DeviceId::from_bytes(OTHER);
    assert_eq!(two.open(&mail).map(|_| ()), Err(OpenError::Malformed));
}

/// Invariant 13: the id of a device is unique within its user's chain only.
#[test]
fn a_first_message_takes_no_place_among_the_sessions_of_another_device() {
    let mut two = Two::new(19);
    let mail = two.send(0, b"text");
    let Address { user, device } = mail.sender;
    for peer in [
        Address {
            user: UserId::from_bytes(OTHER),
            device,
        },
        Address {
            user,
            device: DeviceId::from_bytes(OTHER),
        },
    ] {
        let sessions = SessionSet::new(peer);
        let received = mail.received();
        let prefix = sessions.introduction_needed(&received).unwrap().unwrap();
        let receiver = &two.devices[1];
        let introduction = receiver
            .introduce(&prefix, &two.users[0].chain, SeenEk::New, two.now)
            .unwrap();
        let result = sessions.open(&received, &receiver.local, Some(&introduction), two.now);
        assert_eq!(result.map(|_| ()), Err(OpenError::Malformed));
    }
}

/// Invariant 13: the body of one message under the id of another, for one device only.
#[test]
fn another_body_under_the_same_message_id_is_refused() {
    let mut two = Two::acquainted(9);
    let mail = two.send(0, b"what everyone else sees");
    let context = body::Context {
        conversation: mail.conversation,
        msg_id: mail.envelope.msg_id,
        sender: mail.sender,
    };
    let plaintext = body::Plaintext {
        peer: two.devices[1].identity().user,
        cseq: 1,
        after: MsgId::NONE,
        content: b"what one device sees".to_vec(),
    };
    let SealedBody { object, .. } = body::seal(&plaintext, &context, &mut two.rng).unwrap();
    refused(&mut two, &Mail { object, ..mail }, OpenError::BadTag);
}

/// Invariant 13.
#[test]
fn a_body_opens_only_as_the_message_that_it_was_sealed_as() {
    let mut two = Two::acquainted(10);
    let mail = two.send(0, b"text");
    let capsule = capsule(two.open(&mail).unwrap());
    let me = two.devices[1].identity().user;
    let context = body::Context {
        conversation: mail.conversation,
        msg_id: mail.envelope.msg_id,
        sender: mail.sender,
    };
    assert!(body::open(&capsule, &mail.object, &context, me).is_ok());
    let mut others = [context; 4];
    others[0].msg_id = MsgId::from_bytes(OTHER);
    others[1].conversation = ConversationId::from_bytes(OTHER);
    others[2].sender.device = DeviceId::from_bytes(OTHER);
    others[3].sender.user = UserId::from_bytes(OTHER);
    for other in others {
        assert_eq!(
            body::open(&capsule, &mail.object, &other, me),
            Err(OpenError::BadTag)
        );
    }
    let stranger = UserId::from_bytes(OTHER);
    assert_eq!(
        body::open(&capsule, &mail.object, &context, stranger),
        Err(OpenError::BadTag)
    );
}

/// Invariant 13: a member seals a body for a conversation that it does not belong in.
#[test]
fn a_body_whose_members_are_not_those_of_its_conversation_is_refused() {
    let two = Two::new(11);
    let (sender, me) = (two.devices[0].address(), two.devices[1].identity().user);
    let ours = direct_conversation(sender.user, me);
    let (stranger, elsewhere) = (UserId::from_bytes(OTHER), ConversationId::from_bytes(OTHER));
    let theirs = direct_conversation(sender.user, stranger);
    for (conversation, peer, reader, opens) in [
        (ours, me, me, true),
        (ours, me, sender.user, true),
        (ours, stranger, me, false),
        (elsewhere, me, me, false),
        (elsewhere, me, sender.user, false),
        (theirs, stranger, me, false),
    ] {
        let context = body::Context {
            conversation,
            msg_id: MsgId::from_bytes(OTHER),
            sender,
        };
        let plaintext = body::Plaintext {
            peer,
            cseq: 1,
            after: MsgId::NONE,
            content: b"text".to_vec(),
        };
        let sealed = body::seal(&plaintext, &context, &mut two.rng.clone()).unwrap();
        let result = body::open(&sealed.capsule, &sealed.object, &context, reader);
        let expected = if opens {
            Ok(plaintext)
        } else {
            Err(OpenError::BadTag)
        };
        assert_eq!(result, expected);
    }
}

#[test]
fn a_content_that_does_not_fit_into_a_frame_is_not_sealed() {
    let mut two = Two::acquainted(16);
    let (sender, peer) = (two.devices[0].address(), two.devices[1].address());
    let conversation = direct_conversation(sender.user, peer.user);
    let context = body::Context {
        conversation,
        msg_id: MsgId::from_bytes(OTHER),
        sender,
    };
    for (length, result) in [
        (MAX_TEXT_BYTES, Ok(())),
        (MAX_FRAME_BYTES - 64, Err(SealError::TooLong)),
        (MAX_FRAME_BYTES + 1, Err(SealError::TooLong)),
    ] {
        let plaintext = body::Plaintext {
            peer: peer.user,
            cseq: 1,
            after: MsgId::NONE,
            content: vec![0; length],
        };
        assert_eq!(body::seal(&plaintext, &context, &mut two.rng).map(|_| ()), result);
    }
    let outgoing = two.devices[0].outgoing(MsgId::from_bytes(OTHER), two.now);
    let content = vec![0; MAX_FRAME_BYTES + 1];
    let sealed = two.devices[0]
        .sessions(peer)
        .seal_control(&outgoing, &content, two.now, &mut two.rng);
    assert_eq!(sealed.map(|_| ()), Err(SealError::TooLong));
}

#[test]
fn a_body_of_a_later_version_waits_for_a_newer_program() {
    let mut two = Two::acquainted(12);
    let mut mail = two.send(0, b"text");
    let mut capsule = capsule(two.open(&mail).unwrap());
    mail.object[0] = 2;
    capsule.hash = unhidra_crypto::hash::sha256(&[&mail.object]);
    let context = body::Context {
        conversation: mail.conversation,
        msg_id: mail.envelope.msg_id,
        sender: mail.sender,
    };
    let me = two.devices[1].identity().user;
    assert_eq!(
        body::open(&capsule, &mail.object, &context, me),
        Err(OpenError::Unsupported)
    );
}

/// Invariant 12: a body whose key commits to another body, as a sender who shows two texts would need.
#[test]
fn a_body_with_another_commitment_is_refused() {
    let mut two = Two::acquainted(13);
    let mut mail = two.send(0, b"text");
    let mut capsule = capsule(two.open(&mail).unwrap());
    mail.object[1] ^= 1;
    capsule.hash = unhidra_crypto::hash::sha256(&[&mail.object]);
    let context = body::Context {
        conversation: mail.conversation,
        msg_id: mail.envelope.msg_id,
        sender: mail.sender,
    };
    let me = two.devices[1].identity().user;
    assert_eq!(
        body::open(&capsule, &mail.object, &context, me),
        Err(OpenError::BadTag)
    );
}

#[test]
fn a_control_message_in_a_conversation_is_refused() {
    let mut two = Two::acquainted(14);
    let mut mail = two.send(0, b"template");
    let peer = two.devices[1].address();
    let outgoing = two.devices[0].outgoing(mail.envelope.msg_id, two.now);
    let sealed = two.devices[0]
        .sessions(peer)
        .seal_control(&outgoing, b"content", two.now, &mut two.rng)
        .unwrap();
    mail.bytes = sealed.bytes;
    refused(&mut two, &mail, OpenError::BadTag);
}

#[test]
fn a_message_shorter_than_header_and_tag_is_malformed() {
    let mut two = Two::acquainted(15);
    let mail = two.send(0, b"text");
    for length in [0, 1, 89, 90, 105] {
        let mut short = mail.clone();
        short.bytes.truncate(length);
        refused(&mut two, &short, OpenError::Malformed);
    }
}

proptest! {
    #![proptest_config(cases(128))]

    /// Invariants 12 and 14.
    #[test]
    fn one_turned_bit_anywhere_is_refused(seed in 0..4_u64, at in any::<proptest::sample::Index>(), bit in 0..8_u8) {
        let mut two = Two::acquainted(seed);
        let mut mail = two.send(0, b"text");
        let length = mail.bytes.len() + mail.object.len();
        let at = at.index(length);
        let bytes = mail.bytes.len();
        let byte = if at < bytes { &mut mail.bytes[at] } else { &mut mail.object[at - bytes] };
        *byte ^= 1_u8 << bit;
        let before = two.stored(1);
        prop_assert!(two.deliver(&mail).is_err());
        prop_assert_eq!(two.stored(1), before);
    }

    /// Invariants 12, 14, 21 and 25.
    #[test]
    fn one_turned_bit_anywhere_in_a_first_message_is_refused(
        seed in 0..4_u64,
        at in any::<proptest::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut two = Two::new(seed);
        let genuine = two.send(0, b"text");
        let mut mail = genuine.clone();
        let at = at.index(mail.bytes.len());
        mail.bytes[at] ^= 1_u8 << bit;
        let before = (two.stored(1), two.devices[1].prekeys.clone());
        prop_assert!(two.deliver(&mail).is_err());
        prop_assert_eq!((two.stored(1), two.devices[1].prekeys.clone()), before);
        prop_assert!(two.deliver(&genuine).is_ok(), "the forged copy spent nothing");
    }

    /// Invariant 27.
    #[test]
    fn lengths_tell_only_the_bucket(seed in 0..4_u64, length in 0_usize..4_000) {
        let mut two = Two::acquainted(seed);
        let mail = two.send(0, &vec![1; length]);
        let other = two.send(0, &vec![2; length.next_multiple_of(16)]);
        prop_assert_eq!(mail.bytes.len(), 170);
        if (length + 44).div_ceil(64) == (length.next_multiple_of(16) + 44).div_ceil(64) && length < 960 {
            prop_assert_eq!(mail.object.len(), other.object.len());
        }
        prop_assert_eq!((mail.object.len() - 49) % 64, 0);
    }
}
