//! How connections end: whose fault it is, and what still happens before (docs/protocol/frames.md, "Close codes").

use std::time::Duration;

use tokio::time::{Instant, advance, pause, resume};
use tokio_websockets::Message;
use unhidra_bus::Notice;
use unhidra_types::{ConversationId, limits::MAX_FRAME_BYTES};
use unhidra_wire::frame::{ClientFrame, ServerFrame};

use crate::server::{Server, plain};

#[tokio::test]
async fn what_is_no_frame_closes_with_4400() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let group = server.open_group(&[&phone]).await;
    let good = ClientFrame::Append(plain(group, 1, 10)).encode();
    let wrong = [
        Message::text("hello"),
        Message::binary(good[..good.len() - 1].to_vec()),
        Message::binary(vec![0xff; 40]),
        Message::binary(Vec::new()),
        // A field of a kind that no client of this version sends.
        Message::binary(vec![0x9a, 0x06, 0x00]),
        Message::binary(vec![0; MAX_FRAME_BYTES]),
    ];
    for message in wrong {
        let mut client = server.connect(&phone).await;
        client.send_message(message.clone()).await;
        assert_eq!(client.close_code().await, 4400, "{message:?}");
    }
    server.until(|registry| registry.connections() == 0).await;
    assert_eq!(server.head(group).await, 0);
}

#[tokio::test]
async fn a_message_beyond_the_bound_closes_with_4400_however_long_it_is() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    for bytes in [MAX_FRAME_BYTES + 1, 2 * 1024 * 1024] {
        let mut client = server.connect(&phone).await;
        client.send_message(Message::binary(vec![0; bytes])).await;
        assert_eq!(client.close_code().await, 4400, "{bytes}");
    }
}

#[tokio::test]
async fn what_breaks_rfc_6455_closes_with_4400() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let not_masked = [0x82, 0x01, 0x00];
    let reserved_opcode = [0x83, 0x80, 1, 2, 3, 4];
    let reserved_bit = [0xc2, 0x80, 1, 2, 3, 4];
    for bytes in [not_masked.as_slice(), &reserved_opcode, &reserved_bit] {
        let mut client = server.connect(&phone).await;
        client.send_bytes(bytes).await;
        assert_eq!(client.close_code().await, 4400, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_frame_of_exactly_the_bound_is_taken() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let group = server.open_group(&[&phone]).await;
    let overhead = ClientFrame::Append(plain(group, 1, MAX_FRAME_BYTES))
        .encode()
        .len()
        - MAX_FRAME_BYTES;
    let append = plain(group, 1, MAX_FRAME_BYTES - overhead);
    assert_eq!(
        ClientFrame::Append(append.clone()).encode().len(),
        MAX_FRAME_BYTES
    );
    let mut client = server.connect(&phone).await;
    assert_eq!(client.append(append).await.seq, 1);
}

#[tokio::test]
async fn appends_before_a_broken_frame_are_answered() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let group = server.open_group(&[&phone]).await;
    server.append(&phone, plain(group, 1, 10)).await;
    let mut client = server.connect(&phone).await;
    let gate = server.gate();
    client.send(ClientFrame::Append(plain(group, 2, 10))).await;
    client.handled(group).await;
    client.send_message(Message::text("hello")).await;
    gate.open();
    let (frames, code) = client.closed().await;
    assert!(
        frames
            .iter()
            .any(|frame| matches!(frame, ServerFrame::Appended(answer) if answer.seq == 2))
    );
    assert_eq!(code, 4400);
}

#[tokio::test]
async fn a_session_that_ends_closes_its_connections_with_4401_and_no_others() {
    let server = Server::start().await;
    let (mut person, phone) = server.person(10).await;
    let tablet = server.phone(&mut person, 2).await;
    let group = server.open_group(&[&phone]).await;
    let mut ended = [server.connect(&phone).await, server.connect(&phone).await];
    let mut other = server.connect(&tablet).await;
    let began = Instant::now();
    server.end_session(&person, &phone).await;
    for client in &mut ended {
        assert_eq!(client.close_code().await, 4401);
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(other.append(plain(group, 1, 10)).await.seq, 1);
    drop(ended);
    server.until(|registry| registry.connections() == 1).await;
}

#[tokio::test]
async fn a_revoked_device_is_told_so_with_4403_and_its_siblings_that_the_list_grew() {
    let server = Server::start().await;
    let (mut person, phone) = server.person(10).await;
    let tablet = server.phone(&mut person, 2).await;
    let mut lost = server.connect(&tablet).await;
    let mut kept = server.connect(&phone).await;
    let began = Instant::now();
    server.revoke(&mut person, &tablet).await;
    assert_eq!(lost.close_code().await, 4403);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert!(matches!(kept.frame().await, ServerFrame::ListChanged(head) if head.version == 3));
}

#[tokio::test]
async fn shutdown_answers_what_was_read_and_says_1001() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let group = server.open_group(&[&phone]).await;
    server.append(&phone, plain(group, 1, 10)).await;
    let mut client = server.connect(&phone).await;
    let mut idle = server.connect(&phone).await;
    let gate = server.gate();
    client
        .send_all((2..=40).map(|number| ClientFrame::Append(plain(group, number, 10))))
        .await;
    client.handled(group).await;
    let reading = async {
        assert_eq!(
            idle.close_code().await,
            1001,
            "one that waits for nothing goes first"
        );
        gate.open();
        client.closed().await
    };
    let (ended, (frames, code)) = tokio::join!(server.tasks.shutdown(Duration::from_secs(10)), reading);
    let answered = frames.iter().filter_map(|frame| match frame {
        ServerFrame::Appended(answer) => Some(answer.seq),
        _ => None,
    });
    assert!(answered.eq(2..=40));
    assert_eq!(code, 1001);
    assert!(ended.aborted.is_empty(), "{ended:?}");
    assert_eq!(server.head(group).await, 40);
}

#[tokio::test]
async fn an_append_that_was_read_is_durable_although_its_client_is_gone() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let group = server.open_group(&[&phone]).await;
    server.append(&phone, plain(group, 1, 10)).await;
    let mut client = server.connect(&phone).await;
    let gate = server.gate();
    client.send(ClientFrame::Append(plain(group, 2, 10))).await;
    client.handled(group).await;
    client.vanish();
    gate.open();
    server.until(|registry| registry.connections() == 0).await;
    assert_eq!(server.head(group).await, 2);
}

#[tokio::test]
async fn silence_is_pinged_after_30_seconds_and_closed_after_75() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let mut client = server.connect(&phone).await;
    after(31).await;
    assert!(client.message().await.unwrap().is_ping());
    // It has answered by itself; from now on it does not listen.
    after(80).await;
    server.until(|registry| registry.connections() == 0).await;
    assert_eq!(client.close_code().await, 4408);
}

/// Lets so many seconds pass for every timer.
async fn after(seconds: u64) {
    pause();
    advance(Duration::from_secs(seconds)).await;
    resume();
}

#[tokio::test]
async fn a_log_that_is_not_there_ends_the_connection_and_is_not_followed() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let mut client = server.connect(&phone).await;
    let opened = Notice::Opened {
        conversation: ConversationId::from_bytes([77; 16]),
        members: vec![phone.user],
    };
    server.bus.publish(vec![opened]).await.unwrap();
    assert_eq!(client.close_code().await, 4503);
    drop(client);
    server.until(|registry| registry.connections() == 0).await;
    assert_eq!(server.registry.logs(), 0);
}
