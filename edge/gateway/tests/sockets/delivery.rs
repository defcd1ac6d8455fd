//! What a connection is sent, and what it keeps when it comes again.

use unhidra_types::ConversationId;
use unhidra_wire::frame::{Append, Capsule, CapsuleKind, ClientFrame, Refusal, ServerFrame};

use crate::{
    client::{Client, range},
    server::{SESSION_AGE, Server, plain},
};

#[tokio::test]
async fn first_comes_the_welcome_then_what_waits_then_caught_up_then_what_happens() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let (group, chat) = (
        server.open_group(&[&alice, &bob]).await,
        server.open_direct(&alice, &bob).await,
    );
    for number in 1..=3 {
        server.append(&alice, plain(group, number, 10)).await;
    }
    let message = server.sealed(chat, 4, &[&bob]).await;
    server.append(&alice, message.clone()).await;
    let sent = server.sealed(chat, 5, &[&alice]).await;
    server.append(&bob, sent.clone()).await;

    let mut client = Client::connect(server.address, &bob.token).await;
    let welcome = client.welcome().await;
    assert_eq!((welcome.device, welcome.session), (bob.id, bob.session));
    assert_eq!(
        (welcome.server_time, welcome.last_accepted),
        (server.now(), Some(sent.msg_id))
    );
    assert_eq!((welcome.own_list.user, welcome.own_list.version), (bob.user, 1));
    assert_eq!(welcome.session_age, Some(SESSION_AGE));
    let mut waited: Vec<_> = client.catch_up().await.iter().filter_map(range).collect();
    waited.sort_by_key(|(log, ..)| *log != group);
    let expected = [
        (group, 1, 1, true),
        (group, 2, 2, true),
        (group, 3, 3, true),
        (chat, 1, 1, true),
        (chat, 2, 2, false),
    ];
    assert_eq!(waited, expected);

    let live = server.sealed(chat, 6, &[&bob]).await;
    server.append(&alice, live.clone()).await;
    let entry = client.delivery().await;
    assert_eq!(
        (entry.conversation, entry.seq, entry.msg_id, entry.body),
        (chat, 3, live.msg_id, live.body)
    );
    assert_eq!((entry.sender, entry.sender_device), (alice.user, alice.id));
    assert_eq!(entry.capsule.as_ref(), live.capsules.first());
}

#[tokio::test]
async fn a_conversation_opened_meanwhile_is_followed_from_its_first_entry() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let mut client = server.connect(&bob).await;
    let group = server.open_group(&[&alice, &bob]).await;
    for number in 1..=20 {
        server.append(&alice, plain(group, number, 10)).await;
    }
    assert_eq!(client.entries(group, 1, 20).await.len(), 20);
}

#[tokio::test]
async fn an_append_is_answered_with_its_place_and_comes_back_as_a_skip() {
    let server = Server::start().await;
    let (mut person, phone) = server.person(10).await;
    let tablet = server.phone(&mut person, 2).await;
    let (_, bob) = server.person(11).await;
    let chat = server.open_direct(&phone, &bob).await;
    let mut sender = server.connect(&phone).await;
    let mut other = server.connect(&tablet).await;
    let message = server.sealed(chat, 1, &[&bob, &tablet]).await;
    sender.send(ClientFrame::Append(message.clone())).await;
    let mut got = [sender.frame().await, sender.frame().await];
    got.sort_by_key(|frame| matches!(frame, ServerFrame::Skip { .. }));
    let [
        ServerFrame::Appended(answer),
        ServerFrame::Skip { from: 1, to: 1, .. },
    ] = got
    else {
        panic!("{got:?}");
    };
    assert_eq!(
        (
            answer.conversation,
            answer.msg_id,
            answer.attempt,
            answer.dest,
            answer.seq
        ),
        (chat, message.msg_id, 0, None, 1)
    );
    assert_eq!(answer.server_time, server.now());
    assert_eq!(other.delivery().await.capsule.as_ref(), message.capsules.get(1));

    let for_bob = server.sealed(chat, 2, &[&bob]).await;
    assert_eq!(sender.append(for_bob).await.seq, 2);
    assert_eq!(range(&other.frame().await), Some((chat, 2, 2, false)));
}

#[tokio::test]
async fn appends_are_answered_in_their_order_and_a_refusal_consumes_nothing() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let chat = server.open_direct(&alice, &bob).await;
    let mut client = server.connect(&alice).await;
    let good = server.sealed(chat, 1, &[&bob]).await;
    let mut stale = server.sealed(chat, 2, &[&bob]).await;
    let current = stale.list_versions.clone();
    stale.list_versions[0].version = 7;
    let nowhere = plain(unhidra_types::ConversationId::from_bytes([77; 16]), 3, 10);
    let last = server.sealed(chat, 4, &[&bob]).await;
    let appends = [
        good.clone(),
        stale.clone(),
        nowhere.clone(),
        good.clone(),
        last.clone(),
    ];
    client
        .send_all(appends.into_iter().map(ClientFrame::Append))
        .await;
    let mut answers = Vec::new();
    while answers.len() < 5 {
        match client.frame().await {
            ServerFrame::Appended(answer) => answers.push((answer.msg_id, Ok(answer.seq))),
            ServerFrame::Refused(refused) => {
                answers.push((refused.msg_id, Err((refused.reason, refused.heads))));
            }
            _ => {}
        }
    }
    let expected = [
        (good.msg_id, Ok(1)),
        (stale.msg_id, Err((Refusal::StaleList, current))),
        (nowhere.msg_id, Err((Refusal::NotFound, Vec::new()))),
        (good.msg_id, Ok(1)),
        (last.msg_id, Ok(2)),
    ];
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn an_acknowledgement_outlives_its_connection() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let chat = server.open_direct(&alice, &bob).await;
    for number in 1..=5 {
        let message = server.sealed(chat, number, &[&bob]).await;
        server.append(&alice, message).await;
    }
    let mut client = server.connect(&bob).await;
    client.acknowledge(chat, 3).await;
    client.handled(chat).await;
    client.vanish();
    server.until(|registry| registry.connections() == 0).await;
    let mut again = Client::connect(server.address, &bob.token).await;
    let waited: Vec<_> = again.catch_up().await.iter().filter_map(range).collect();
    assert_eq!(waited, [(chat, 4, 4, true), (chat, 5, 5, true)]);
}

#[tokio::test]
async fn an_acknowledgement_reaches_no_further_than_what_was_sent() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let group = server.open_group(&[&alice, &bob]).await;
    server.append(&alice, plain(group, 1, 10)).await;
    let mut client = server.connect(&bob).await;
    client.acknowledge(group, u64::MAX).await;
    client
        .acknowledge(unhidra_types::ConversationId::from_bytes([77; 16]), 1)
        .await;
    client.handled(group).await;
    server.append(&alice, plain(group, 2, 10)).await;
    assert_eq!(client.delivery().await.seq, 2);
    client.vanish();
    server.until(|registry| registry.connections() == 0).await;
    let mut again = Client::connect(server.address, &bob.token).await;
    let waited: Vec<_> = again.catch_up().await.iter().filter_map(range).collect();
    assert_eq!(waited, [(group, 2, 2, true)]);
}

#[tokio::test]
async fn a_lower_acknowledgement_after_a_higher_one_takes_nothing_back() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let group = server.open_group(&[&alice]).await;
    let (_, bob) = server.person(11).await;
    let shared = server.open_group(&[&alice, &bob]).await;
    for number in 1..=5 {
        server.append(&bob, plain(shared, number, 10)).await;
    }
    server.append(&alice, plain(group, 1, 10)).await;
    let mut client = server.connect(&alice).await;
    let gate = server.gate();
    client.acknowledge(group, 1).await;
    for seq in [5, 2] {
        client.acknowledge(shared, seq).await;
    }
    client.handled(shared).await;
    gate.open();
    let barrier = plain(group, 2, 10);
    client.append(barrier).await;
    client.append(plain(group, 3, 10)).await;
    let position = server.messaging.position(alice.user, alice.id, shared).await;
    assert_eq!(position.unwrap().unwrap().acknowledged, 5);
}

#[tokio::test]
async fn an_acknowledgement_that_was_read_counts_although_the_client_is_gone() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let group = server.open_group(&[&alice, &bob]).await;
    for number in 1..=5 {
        server.append(&alice, plain(group, number, 10)).await;
    }
    let mut client = server.connect(&bob).await;
    let gate = server.gate();
    for seq in [1, 5] {
        client.acknowledge(group, seq).await;
    }
    client.handled(group).await;
    client.vanish();
    server.until(|registry| registry.connections() == 0).await;
    gate.open();
    server.append(&alice, plain(group, 6, 10)).await;
    let position = server.messaging.position(bob.user, bob.id, group).await;
    assert_eq!(position.unwrap().unwrap().acknowledged, 5);
}

#[tokio::test]
async fn after_an_abrupt_drop_everything_behind_the_cursor_comes_once() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let group = server.open_group(&[&alice, &bob]).await;
    let (mut next, mut acknowledged) = (1, 0);
    for round in 1..=6 {
        let mut client = Client::connect(server.address, &bob.token).await;
        client.welcome().await;
        for _ in 0..40 {
            server.append(&alice, plain(group, next, 300)).await;
            next += 1;
        }
        let through = acknowledged + 30;
        client.entries(group, acknowledged + 1, through).await;
        if round % 2 == 0 {
            client.acknowledge(group, through).await;
            client.handled(group).await;
            acknowledged = through;
        }
        client.vanish();
    }
    let mut last = Client::connect(server.address, &bob.token).await;
    let total = u64::from(next) - 1;
    let rest: Vec<_> = last.catch_up().await.iter().filter_map(range).collect();
    let expected: Vec<_> = (acknowledged + 1..=total)
        .map(|seq| (group, seq, seq, true))
        .collect();
    assert!(rest == expected, "from {acknowledged} to {total}: {rest:?}");
}

#[tokio::test]
async fn an_append_sent_again_after_a_drop_is_the_same_append() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let chat = server.open_direct(&alice, &bob).await;
    let first = server.sealed(chat, 1, &[&bob]).await;
    server.append(&alice, first.clone()).await;
    let mut client = server.connect(&alice).await;
    let gate = server.gate();
    let message = server.sealed(chat, 2, &[&bob]).await;
    client.send(ClientFrame::Append(message.clone())).await;
    client.handled(chat).await;
    client.vanish();
    gate.open();
    let mut again = server.connect(&alice).await;
    assert_eq!(again.append(message.clone()).await.seq, 2);
    again.vanish();
    let mut third = Client::connect(server.address, &alice.token).await;
    assert_eq!(third.welcome().await.last_accepted, Some(message.msg_id));
    assert_eq!(server.head(chat).await, 2);
}

#[tokio::test]
async fn a_fetch_sends_again_what_was_sent_and_nothing_else() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let (group, chat) = (
        server.open_group(&[&alice, &bob]).await,
        server.open_direct(&alice, &bob).await,
    );
    for number in 1..=6 {
        server.append(&alice, plain(group, number, 10)).await;
        let message = server.sealed(chat, 100 + number, &[&bob]).await;
        server.append(&alice, message).await;
    }
    let mut client = server.connect(&bob).await;
    client.acknowledge(chat, 2).await;
    client.handled(group).await;
    for (conversation, from, to) in [
        (group, 3, 4),
        (group, 5, 900),
        (group, 0, 4),
        (group, 7, 900),
        (group, 4, 3),
        (unhidra_types::ConversationId::from_bytes([77; 16]), 1, 1),
        (chat, 3, 3),
    ] {
        client.fetch(conversation, from, to).await;
    }
    let again = client
        .through(|frame| range(frame).is_some_and(|(log, ..)| log == chat))
        .await;
    let again: Vec<_> = again.iter().filter_map(range).collect();
    let in_group = |seq| (group, seq, seq, true);
    assert_eq!(
        again,
        [
            in_group(3),
            in_group(4),
            in_group(5),
            in_group(6),
            (chat, 3, 3, true)
        ]
    );

    client.append(plain(group, 7, 10)).await;
    // What was acknowledged goes when its cursor is stored.
    server.messaging.write_cursors().await.unwrap();
    client.fetch(chat, 1, 6).await;
    let again = client
        .through(|frame| range(frame).is_some_and(|(_, _, to, _)| to == 6))
        .await;
    let again: Vec<_> = again
        .iter()
        .filter_map(range)
        .filter(|(log, ..)| *log == chat)
        .collect();
    let in_chat = |seq| (chat, seq, seq, true);
    assert_eq!(
        again,
        [
            (chat, 1, 2, false),
            in_chat(3),
            in_chat(4),
            in_chat(5),
            in_chat(6)
        ]
    );
}

#[tokio::test]
async fn a_grown_chain_is_told_to_the_users_own_devices_only() {
    let server = Server::start().await;
    let (mut person, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let group = server.open_group(&[&alice, &bob]).await;
    let mut own = server.connect(&alice).await;
    let mut peer = server.connect(&bob).await;
    server.phone(&mut person, 2).await;
    let ServerFrame::ListChanged(head) = own.frame().await else {
        panic!("not told");
    };
    assert_eq!((head.user, head.version), (alice.user, 2));
    server.append(&alice, plain(group, 1, 10)).await;
    assert_eq!(peer.delivery().await.seq, 1, "nothing came before it");
}

#[tokio::test]
async fn what_is_said_to_one_device_reaches_it_live_and_after_a_pause_and_nobody_else() {
    let server = Server::start().await;
    let (mut person, bob) = server.person(11).await;
    let tablet = server.phone(&mut person, 2).await;
    let (_, alice) = server.person(10).await;
    let chat = server.open_direct(&alice, &bob).await;
    let sealed_for = Capsule {
        device: bob.id,
        kind: CapsuleKind::Ratchet,
        sealed: vec![1; 170].into(),
    };
    let control = |number| Append {
        dest: Some(bob.id),
        body: bytes::Bytes::new(),
        capsules: vec![sealed_for.clone()],
        ..plain(ConversationId::CONTROL, number, 0)
    };
    let mut client = server.connect(&bob).await;
    let mut other = server.connect(&tablet).await;
    for number in 1..=2 {
        server.append(&alice, control(number)).await;
    }
    let conversation = ConversationId::CONTROL;
    assert_eq!(client.entries(conversation, 1, 2).await.len(), 2);
    let message = server.sealed(chat, 8, &[&bob]).await;
    server.append(&alice, message).await;
    client.entries(chat, 1, 1).await;
    client.acknowledge(conversation, 1).await;
    client.acknowledge(chat, 1).await;
    client.handled(chat).await;
    let mut again = Client::connect(server.address, &bob.token).await;
    again.welcome().await;
    let waited: Vec<_> = again.catch_up().await.iter().filter_map(range).collect();
    assert_eq!(waited, [(conversation, 2, 2, true)]);
    let message = server.sealed(chat, 9, &[&tablet]).await;
    server.append(&alice, message).await;
    // Nothing of the other device's log comes before it.
    let seen = other
        .through(|frame| range(frame) == Some((chat, 2, 2, true)))
        .await;
    assert!(seen.iter().filter_map(range).all(|(log, ..)| log == chat));
}
