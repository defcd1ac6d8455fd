//! The linking channel.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use unhidra_types::DeviceId;
use unhidra_wire::{
    base64::Base64,
    rest::{LinkMessages, ProblemCode},
};

use super::{
    device::{Handset, Person},
    world::{Answer, World},
};

fn path(device: DeviceId, direction: &str) -> String {
    format!("/v1/links/{device}/{direction}")
}

async fn send(world: &World, device: DeviceId, direction: &str, token: &str, message: &[u8]) -> Answer {
    world
        .post(
            &path(device, direction),
            Some(token),
            json!({"message": Base64(message.to_vec())}),
        )
        .await
}

async fn read(world: &World, device: DeviceId, direction: &str, token: &str, after: u32) -> Vec<Vec<u8>> {
    let path = format!("{}?after={after}", path(device, direction));
    let messages: LinkMessages = world.get(&path, token).await.ok();
    messages
        .messages
        .into_iter()
        .map(|Base64(message)| message)
        .collect()
}

async fn start() -> (World, Person, Person, DeviceId) {
    let (world, root, alice) = World::with_two().await;
    let device = Handset::new(&world).id;
    (world, root, alice, device)
}

#[tokio::test]
async fn messages_go_either_way_and_are_read_in_order() {
    let (world, _, alice, new) = start().await;
    assert!(
        read(&world, new, "to-new-device", &alice.enrol, 0)
            .await
            .is_empty()
    );
    assert_eq!(
        send(&world, new, "to-new-device", alice.access(), b"one")
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    send(&world, new, "to-new-device", alice.access(), b"two").await;
    assert_eq!(
        send(&world, new, "to-certifier", &alice.enrol, b"three")
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        read(&world, new, "to-new-device", &alice.enrol, 0).await,
        [b"one", b"two"]
    );
    assert_eq!(
        read(&world, new, "to-new-device", &alice.enrol, 1).await,
        [b"two"]
    );
    assert_eq!(
        read(&world, new, "to-certifier", alice.access(), 0).await,
        [b"three"]
    );
}

#[tokio::test]
async fn each_side_speaks_and_hears_its_own_way_only() {
    let (world, _, alice, new) = start().await;
    let forbidden = send(&world, new, "to-new-device", &alice.enrol, b"x").await;
    assert_eq!(forbidden.problem(), ProblemCode::Forbidden);
    let forbidden = send(&world, new, "to-certifier", alice.access(), b"x").await;
    assert_eq!(forbidden.problem(), ProblemCode::Forbidden);
}

#[tokio::test]
async fn another_user_neither_reads_nor_writes() {
    let (world, root, alice, new) = start().await;
    send(&world, new, "to-new-device", alice.access(), b"one").await;
    assert!(
        read(&world, new, "to-new-device", &root.enrol, 0)
            .await
            .is_empty()
    );
    assert_eq!(
        send(&world, new, "to-certifier", &root.enrol, b"x")
            .await
            .problem(),
        ProblemCode::NotFound
    );
}

#[tokio::test]
async fn a_channel_ends_after_two_minutes_and_is_not_opened_again() {
    let (world, _, alice, new) = start().await;
    send(&world, new, "to-new-device", alice.access(), b"one").await;
    world.hand.advance(Duration::from_secs(120));
    assert_eq!(read(&world, new, "to-new-device", &alice.enrol, 0).await.len(), 1);
    world.hand.advance(Duration::from_millis(1));
    assert!(
        read(&world, new, "to-new-device", &alice.enrol, 0)
            .await
            .is_empty()
    );
    assert_eq!(
        send(&world, new, "to-new-device", alice.access(), b"x")
            .await
            .problem(),
        ProblemCode::NotFound
    );
}

#[tokio::test]
async fn messages_and_channels_have_their_bounds() {
    let (world, _, alice, new) = start().await;
    for message in [vec![], vec![0; 1_025]] {
        let refused = send(&world, new, "to-new-device", alice.access(), &message).await;
        assert_eq!(refused.problem(), ProblemCode::Malformed);
    }
    for _ in 0..8 {
        let sent = send(&world, new, "to-new-device", alice.access(), &[0; 1_024]).await;
        assert_eq!(sent.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(
        send(&world, new, "to-new-device", alice.access(), b"x")
            .await
            .problem(),
        ProblemCode::TooMany
    );
    for _ in 1..16 {
        let other = Handset::new(&world).id;
        assert_eq!(
            send(&world, other, "to-new-device", alice.access(), b"x")
                .await
                .status,
            StatusCode::NO_CONTENT
        );
    }
    let other = Handset::new(&world).id;
    assert_eq!(
        send(&world, other, "to-new-device", alice.access(), b"x")
            .await
            .problem(),
        ProblemCode::TooMany
    );
}

#[tokio::test]
async fn a_certified_device_is_not_linked_again() {
    let (world, _, alice, _) = start().await;
    let known = alice.devices[0].id;
    assert_eq!(
        send(&world, known, "to-new-device", alice.access(), b"x")
            .await
            .problem(),
        ProblemCode::NotFound
    );
}
