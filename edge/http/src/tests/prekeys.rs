//! The prekey directory.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use unhidra_audit::Act;
use unhidra_chain::{Bundle, Capabilities, Expected, prekey::Generation};
use unhidra_wire::rest::{Bundles, ProblemCode, Stock};

use super::{
    device::Person,
    world::{Answer, DAY, World},
};

async fn upload(world: &World, person: &Person, body: Value) -> Answer {
    let path = format!("/v1/devices/{}/prekeys", person.devices[0].id);
    world
        .call(Method::PUT, &path, Some(person.access()), Some(body))
        .await
}

async fn take(world: &World, by: &Person, of: &Person) -> Bundle {
    let device = of.devices[0].id;
    let path = format!("/v1/users/{}/bundles", of.user);
    let bundles: Bundles = world
        .post(&path, Some(by.access()), json!({"devices": [device]}))
        .await
        .ok();
    Bundle::parse(&bundles.bundles[&device].0).unwrap()
}

#[tokio::test]
async fn a_bundle_passes_every_check_of_its_receiver() {
    let (world, root, alice) = World::with_two().await;
    let stock: Stock = upload(&world, &alice, alice.devices[0].prekeys(&alice, &world, 1, 1, 2))
        .await
        .ok();
    assert_eq!(
        (stock.generation, stock.one_time.len(), stock.one_time_kem.len()),
        (1, 2, 2)
    );
    let bundle = take(&world, &root, &alice).await;
    let expected = Expected {
        device: alice.devices[0].id,
        generation_floor: Generation(1),
        own: Capabilities::PQ,
    };
    let verified = bundle
        .verify(alice.chain.as_ref().unwrap(), &expected, world.now())
        .unwrap();
    assert!(verified.one_time().is_some() && !verified.is_last_resort());
}

#[tokio::test]
async fn a_user_answers_for_their_own_devices_only() {
    let (world, root, alice) = World::with_two().await;
    upload(&world, &alice, alice.devices[0].prekeys(&alice, &world, 1, 1, 1))
        .await
        .ok::<Stock>();
    let path = format!("/v1/users/{}/bundles", root.user);
    let body = json!({"devices": [alice.devices[0].id]});
    let bundles: Bundles = world.post(&path, Some(root.access()), body).await.ok();
    assert!(bundles.bundles.is_empty());
}

#[tokio::test]
async fn one_time_keys_are_handed_out_once_and_then_the_last_resort() {
    let (world, root, alice) = World::with_two().await;
    upload(&world, &alice, alice.devices[0].prekeys(&alice, &world, 1, 1, 2)).await;
    let (first, second) = (
        take(&world, &root, &alice).await,
        take(&world, &root, &alice).await,
    );
    let third = take(&world, &root, &alice).await;
    assert_ne!(
        first.one_time.map(|key| key.id),
        second.one_time.map(|key| key.id)
    );
    assert_ne!(first.kem.map(|key| key.id), second.kem.map(|key| key.id));
    assert_eq!(
        (third.one_time, third.kem.map(|key| key.id.to_u32())),
        (None, Some(1_001))
    );
    let path = format!("/v1/devices/{}/prekeys", alice.devices[0].id);
    let stock: Stock = world.get(&path, alice.access()).await.ok();
    assert_eq!((stock.one_time.len(), stock.one_time_kem.len()), (0, 0));
}

#[tokio::test]
async fn one_requester_gets_five_one_time_bundles_of_a_device_in_an_hour() {
    let (world, root, alice) = World::with_two().await;
    let bob = world.member(&root, "bob").await;
    upload(&world, &alice, alice.devices[0].prekeys(&alice, &world, 1, 1, 8)).await;
    for _ in 0..5 {
        assert!(take(&world, &root, &alice).await.one_time.is_some());
    }
    assert!(take(&world, &root, &alice).await.one_time.is_none());
    assert!(take(&world, &bob, &alice).await.one_time.is_some());
    // The access token ends before the hour does.
    let tokens: unhidra_wire::rest::Tokens = root.devices[0]
        .refresh(&world, &root.devices[0].refresh_token())
        .await
        .ok();
    world.hand.advance(DAY / 24);
    let tokens: unhidra_wire::rest::Tokens = root.devices[0]
        .refresh(&world, tokens.refresh_token.expose())
        .await
        .ok();
    let path = format!("/v1/users/{}/bundles", alice.user);
    let body = json!({"devices": [alice.devices[0].id]});
    let bundles: Bundles = world
        .post(&path, Some(tokens.access_token.expose()), body)
        .await
        .ok();
    assert!(
        Bundle::parse(&bundles.bundles[&alice.devices[0].id].0)
            .unwrap()
            .one_time
            .is_some()
    );
}

#[tokio::test]
async fn a_higher_generation_replaces_the_set_and_a_lower_one_is_refused() {
    let (world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    upload(&world, &alice, device.prekeys(&alice, &world, 2, 1, 2)).await;
    let added: Stock = upload(&world, &alice, device.prekeys(&alice, &world, 2, 10, 1))
        .await
        .ok();
    assert_eq!(added.one_time, [1, 2, 10]);
    let replaced: Stock = upload(&world, &alice, device.prekeys(&alice, &world, 3, 1, 1))
        .await
        .ok();
    assert_eq!((replaced.generation, replaced.one_time), (3, vec![1]));
    let lower = upload(&world, &alice, device.prekeys(&alice, &world, 2, 20, 1)).await;
    assert_eq!(lower.problem(), ProblemCode::PrekeysRefused);
    assert_eq!(world.audited(Act::PrekeysReplaced).await, 2);
}

#[tokio::test]
async fn uploads_that_no_receiver_would_accept_are_refused() {
    let (world, root, alice) = World::with_two().await;
    let good = alice.devices[0].prekeys(&alice, &world, 1, 1, 2);
    let change = |path: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    let foreign = root.devices[0].prekeys(&root, &world, 1, 1, 1);
    for (why, body) in [
        (
            "signature of another",
            change("/signed/signature", foreign["signed"]["signature"].clone()),
        ),
        (
            "kem signature of another",
            change(
                "/one_time_kem/0/signature",
                foreign["one_time_kem"][0]["signature"].clone(),
            ),
        ),
        (
            "last resort as one-time",
            change("/one_time_kem/0", good["last_resort"].clone()),
        ),
        (
            "another certificate",
            change("/cert_hash", foreign["cert_hash"].clone()),
        ),
        ("no last resort", change("/last_resort", Value::Null)),
        ("zero id", change("/one_time/0/id", json!(0))),
        ("id twice", change("/one_time/0/id", json!(2))),
        ("generation zero", change("/generation", json!(0))),
        ("expired", change("/signed/not_after", json!(world.now()))),
    ] {
        assert_eq!(
            upload(&world, &alice, body).await.problem(),
            ProblemCode::PrekeysRefused,
            "{why}"
        );
    }
    assert_eq!(upload(&world, &alice, good.clone()).await.status, StatusCode::OK);
    assert_eq!(
        upload(&world, &alice, good).await.problem(),
        ProblemCode::PrekeysRefused,
        "ids in stock"
    );
}

#[tokio::test]
async fn a_stock_has_its_bound() {
    let (world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    upload(&world, &alice, device.prekeys(&alice, &world, 1, 1, 50))
        .await
        .ok::<Stock>();
    let more = upload(&world, &alice, device.prekeys(&alice, &world, 1, 100, 1)).await;
    assert_eq!(more.problem(), ProblemCode::TooMany);
}
