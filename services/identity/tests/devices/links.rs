//! The linking channel: who may speak in it, how much, and how long.

use std::time::Duration;

use unhidra_audit::Act;
use unhidra_identity::{
    Caller,
    link::{Direction, LIFETIME, LinkError, MAX_MESSAGE_BYTES},
};
use unhidra_policy::Principal;
use unhidra_types::DeviceId;
use unhidra_wire::{base64::Base64, rest::LinkMessage};

use crate::fixture::{HOME, NOW, Phone, Server, after, caller};

const NEW: DeviceId = DeviceId::from_bytes([50; 16]);

async fn send(server: &Server, caller: &Caller, direction: Direction, bytes: &[u8]) -> Result<(), LinkError> {
    send_to(server, caller, NEW, direction, bytes).await
}

async fn send_to(
    server: &Server,
    caller: &Caller,
    device: DeviceId,
    direction: Direction,
    bytes: &[u8],
) -> Result<(), LinkError> {
    let body = LinkMessage {
        message: Base64(bytes.to_vec()),
    };
    let sending = server.identity.send_link_message(caller, device, direction, body);
    sending.await
}

async fn read(server: &Server, caller: &Caller, direction: Direction, after: u32) -> Vec<Vec<u8>> {
    let messages = server.identity.link_messages(caller, NEW, direction, after);
    let messages = messages.await.unwrap().messages;
    messages.into_iter().map(|Base64(bytes)| bytes).collect()
}

#[tokio::test]
async fn messages_arrive_in_order_and_each_side_reads_its_own() {
    let server = Server::new().await;
    let (alice, phone) = server.user_with_device(10).await;
    let (new, certifier) = (alice.enrolling(), alice.with(&phone, NOW));
    send(&server, &certifier, Direction::ToNewDevice, b"commitment")
        .await
        .unwrap();
    send(&server, &new, Direction::ToCertifier, b"request")
        .await
        .unwrap();
    send(&server, &certifier, Direction::ToNewDevice, b"reveal")
        .await
        .unwrap();
    assert_eq!(
        read(&server, &new, Direction::ToNewDevice, 0).await,
        [b"commitment".as_slice(), b"reveal"]
    );
    assert_eq!(
        read(&server, &new, Direction::ToNewDevice, 1).await,
        [b"reveal".as_slice()]
    );
    assert_eq!(
        read(&server, &certifier, Direction::ToCertifier, 0).await,
        [b"request".as_slice()]
    );
    assert_eq!(
        server.count(Act::LinkOpened).await,
        1,
        "and none for what is said"
    );
}

#[tokio::test]
async fn nobody_else_speaks_or_listens_in_a_users_channel() {
    let server = Server::new().await;
    let (alice, _) = server.user_with_device(10).await;
    let (bob, bobs) = server.user_with_device(11).await;
    send(&server, &alice.enrolling(), Direction::ToCertifier, b"hers")
        .await
        .unwrap();
    let nobody = caller(Principal::Anonymous, NOW);
    for stranger in [bob.enrolling(), bob.with(&bobs, NOW), nobody] {
        for direction in [Direction::ToCertifier, Direction::ToNewDevice] {
            let refused = send(&server, &stranger, direction, b"his").await;
            assert!(matches!(refused, Err(LinkError::NotFound)));
            assert!(read(&server, &stranger, direction, 0).await.is_empty());
        }
    }
    let kept = read(&server, &alice.enrolling(), Direction::ToCertifier, 0).await;
    assert_eq!(kept, [b"hers"]);
}

#[tokio::test]
async fn a_message_has_1_to_1024_bytes() {
    let server = Server::new().await;
    let (alice, _) = server.user_with_device(10).await;
    for length in [0, MAX_MESSAGE_BYTES + 1] {
        let refused = send(
            &server,
            &alice.enrolling(),
            Direction::ToCertifier,
            &vec![1; length],
        )
        .await;
        assert!(matches!(refused, Err(LinkError::Malformed)), "{length}");
    }
    for length in [1, 1_024] {
        send(
            &server,
            &alice.enrolling(),
            Direction::ToCertifier,
            &vec![1; length],
        )
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_channel_takes_eight_messages_in_each_direction() {
    let server = Server::new().await;
    let (alice, _) = server.user_with_device(10).await;
    let caller = alice.enrolling();
    for direction in [Direction::ToCertifier, Direction::ToNewDevice] {
        for number in 0..8 {
            send(&server, &caller, direction, &[number]).await.unwrap();
        }
        let refused = send(&server, &caller, direction, &[8]).await;
        assert!(matches!(refused, Err(LinkError::TooMany)));
        assert_eq!(read(&server, &caller, direction, 0).await.len(), 8);
    }
}

#[tokio::test]
async fn a_channel_is_over_after_two_minutes_and_never_used_again() {
    let server = Server::new().await;
    let (alice, _) = server.user_with_device(10).await;
    assert_eq!(LIFETIME, Duration::from_secs(120));
    let last = alice.enrolling_at(after(LIFETIME));
    let over = alice.enrolling_at(after(LIFETIME + Duration::from_millis(1)));
    send(&server, &alice.enrolling(), Direction::ToCertifier, b"1")
        .await
        .unwrap();
    send(&server, &last, Direction::ToCertifier, b"2").await.unwrap();
    assert_eq!(read(&server, &last, Direction::ToCertifier, 0).await.len(), 2);
    assert!(read(&server, &over, Direction::ToCertifier, 0).await.is_empty());
    let day = alice.enrolling_at(after(Duration::from_secs(86_400)));
    for caller in [over, day] {
        let refused = send(&server, &caller, Direction::ToCertifier, b"3").await;
        assert!(matches!(refused, Err(LinkError::NotFound)));
    }
}

#[tokio::test]
async fn a_device_that_was_ever_certified_has_no_channel() {
    let server = Server::new().await;
    let (mut alice, first) = server.user_with_device(10).await;
    let lost = Phone::new(10, 2);
    server.certify(&mut alice, &lost).await;
    server.revoke(&mut alice, &lost).await;
    for device in [first.id, lost.id] {
        let caller = alice.enrolling();
        let refused = send_to(&server, &caller, device, Direction::ToCertifier, b"again").await;
        assert!(matches!(refused, Err(LinkError::NotFound)));
    }
}

#[tokio::test]
async fn a_user_opens_sixteen_channels_an_hour() {
    let server = Server::new().await;
    let alice = server.user(10, HOME).await;
    let open = |number: u8, now| {
        let (server, caller) = (&server, alice.enrolling_at(now));
        async move {
            let device = DeviceId::from_bytes([number; 16]);
            send_to(server, &caller, device, Direction::ToCertifier, b"hello").await
        }
    };
    for number in 100..116 {
        open(number, NOW).await.unwrap();
    }
    assert!(matches!(open(116, NOW).await, Err(LinkError::TooMany)));
    open(100, NOW).await.unwrap();
    open(116, after(Duration::from_secs(3_600))).await.unwrap();
}
