//! What devices say to one device itself.

use unhidra_messaging::{
    access::Sender,
    control::{MAX_ENTRIES, MAX_ENTRIES_OF_SENDER},
};
use unhidra_types::{ConversationId, DeviceId, MsgId};
use unhidra_wire::frame::{Append, Refusal, ServerFrame};

use crate::fixture::{AWAY, HOME, Server, capsule, decoded, plain, refusal, sender};

const CONTROL: ConversationId = ConversationId::CONTROL;

fn control(to: DeviceId, number: u16) -> Append {
    let mut id = [7; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    Append {
        msg_id: MsgId::from_bytes(id),
        dest: Some(to),
        body: bytes::Bytes::new(),
        capsules: vec![capsule(to)],
        ..plain(CONTROL, 1)
    }
}

async fn read(server: &Server, reader: Sender) -> Vec<ServerFrame> {
    let log = server.log(reader, CONTROL).await;
    let position = server
        .messaging
        .position(reader.user, reader.device, CONTROL)
        .await;
    let head = position.unwrap().unwrap().head;
    let page = server.messaging.page(log, reader.device, 1, head, head).await;
    decoded(&page.unwrap())
}

#[tokio::test]
async fn a_device_gets_what_a_correspondent_says_to_it_and_no_other_device_does() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let second = sender(bob.user, server.certify(bob.user, 2).await);
    let place = server.append(alice, control(bob.device, 1)).await.unwrap();
    assert_eq!(place.seq, 1);
    // The same again is the same, and numbers count for each device alone.
    let again = server.append(alice, control(bob.device, 1)).await.unwrap();
    assert_eq!(again, place);
    let other = server.append(bob, control(second.device, 1)).await.unwrap();
    assert_eq!(other.seq, 1, "devices of one user speak to each other");
    let frames = read(&server, bob).await;
    let [ServerFrame::Deliver(deliver)] = frames.as_slice() else {
        panic!("one entry, and not {frames:?}");
    };
    assert_eq!(
        (deliver.conversation, deliver.sender_device),
        (CONTROL, alice.device)
    );
    assert!(deliver.body.is_empty());
    let first = server.messaging.positions(bob.user, bob.device).await.unwrap()[0];
    assert_eq!(
        (first.conversation, first.acknowledged, first.head),
        (CONTROL, 0, 1)
    );
    // It is nobody's conversation.
    let as_conversation = ConversationId::from_bytes(*bob.device.as_bytes());
    let listed = server
        .messaging
        .conversations(bob.user, CONTROL, 256)
        .await
        .unwrap();
    assert_eq!(listed.conversations.len(), 1);
    assert_eq!(
        refusal(server.append(alice, plain(as_conversation, 1)).await),
        Refusal::NotFound
    );
}

#[tokio::test]
async fn an_acknowledged_entry_is_gone_and_its_number_is_not_given_again() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    server.append(alice, control(bob.device, 1)).await.unwrap();
    server.acknowledge(bob, CONTROL, 1).await;
    let held = server.store.read(move |db| {
        let log = db.control_log(bob.device)?.unwrap().log;
        db.control_entries(log, alice.device)
    });
    assert_eq!(held.await.unwrap().entries, 0);
    assert_eq!(server.append(alice, control(bob.device, 2)).await.unwrap().seq, 2);
}

#[tokio::test]
async fn strangers_revoked_devices_and_conversation_frames_are_refused() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let stranger = server.user(12, HOME).await;
    let stranger = sender(stranger, server.certify(stranger, 1).await);
    let away = server.user(13, AWAY).await;
    let far = server.certify(away, 1).await;
    for to in [bob.device, far, DeviceId::from_bytes([9; 16])] {
        assert_eq!(
            refusal(server.append(stranger, control(to, 1)).await),
            Refusal::NotFound
        );
    }
    assert_eq!(
        refusal(server.append(bob, control(bob.device, 1)).await),
        Refusal::NotFound
    );
    let with_body = Append {
        body: vec![1].into(),
        ..control(bob.device, 1)
    };
    let for_nobody = Append {
        dest: None,
        ..control(bob.device, 1)
    };
    let repair = Append {
        attempt: 1,
        ..control(bob.device, 1)
    };
    for wrong in [with_body, for_nobody, repair] {
        assert_eq!(refusal(server.append(alice, wrong).await), Refusal::Malformed);
    }
    server.revoke(bob.user, bob.device).await;
    assert_eq!(
        refusal(server.append(alice, control(bob.device, 1)).await),
        Refusal::UnknownDevice
    );
}

#[tokio::test]
async fn what_was_said_to_a_device_goes_with_it() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    server.append(alice, control(bob.device, 1)).await.unwrap();
    server.revoke(bob.user, bob.device).await;
    let held = server.store.read(move |db| {
        let log = db.control_log(bob.device)?.unwrap().log;
        Ok::<_, unhidra_store::StoreError>((
            db.control_entries(log, alice.device)?.entries,
            db.capsules(log, 1)?,
        ))
    });
    assert_eq!(held.await.unwrap(), (0, 0));
}

#[tokio::test]
async fn a_full_log_refuses_each_sender_and_then_everyone() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let mut senders = vec![alice];
    for number in 2..18 {
        senders.push(sender(alice.user, server.certify(alice.user, number).await));
    }
    let mut taken = 0;
    for from in &senders {
        for number in 0..=MAX_ENTRIES_OF_SENDER {
            let outcome = server.append(*from, control(bob.device, number as u16)).await;
            if number < MAX_ENTRIES_OF_SENDER && taken < MAX_ENTRIES {
                outcome.unwrap();
                taken += 1;
            } else {
                assert_eq!(refusal(outcome), Refusal::RateLimited);
            }
        }
    }
    assert_eq!(taken, MAX_ENTRIES);
}
