//! Device chains.

use http::StatusCode;
use serde_json::{Value, json};
use unhidra_audit::Act;
use unhidra_chain::{Genesis, ListVersion};
use unhidra_crypto::ed25519::SigningKey;
use unhidra_store::Event;
use unhidra_wire::{
    base64::Base64,
    rest::{ChainRecords, Devices, Enrolment, Invitation, ProblemCode, Recovery},
};

use super::{
    device::{Handset, Person, record},
    world::{PASSWORD, World},
};

/// An account without a chain.
async fn newcomer(world: &World, root: &Person) -> Person {
    let invite = json!({"role": "member", "expires_in": 60});
    let invitation: Invitation = world
        .post("/v1/admin/invitations", Some(root.access()), invite)
        .await
        .created();
    let body = json!({"invitation": invitation.token, "username": "new", "password": PASSWORD});
    let enrolment: Enrolment = world.post("/v1/accounts", None, body).await.created();
    assert!(!enrolment.has_chain);
    Person::new("new", &enrolment, world)
}

async fn extend(world: &World, person: &Person, body: Value) -> super::world::Answer {
    world.post("/v1/users/me/chain", Some(&person.enrol), body).await
}

#[tokio::test]
async fn a_chain_reads_back_as_it_was_signed_to_everyone_in_the_organisation() {
    let (world, root, alice) = World::with_two().await;
    let path = format!("/v1/users/{}/chain", alice.user);
    let chain: ChainRecords = world.get(&path, root.access()).await.ok();
    let records: Vec<_> = chain
        .records
        .iter()
        .map(|Base64(bytes)| bytes.as_slice())
        .collect();
    assert_eq!(
        records,
        alice.chain.as_ref().unwrap().records().collect::<Vec<_>>()
    );
    assert_eq!(
        (ListVersion(chain.head.version), chain.head.hash.0),
        (alice.head().version, alice.head().hash)
    );
    let rest: ChainRecords = world.get(&format!("{path}?from=1"), root.access()).await.ok();
    assert_eq!(rest.records.len(), 1);
}

#[tokio::test]
async fn a_first_upload_needs_a_proof_and_a_recovery_wrap_for_its_genesis() {
    let (world, root, _) = World::with_two().await;
    let new = newcomer(&world, &root).await;
    let good = new.first_upload(&world);
    let without = |key: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(key);
        body
    };
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    let other_genesis = Base64([[1].as_slice(), &[9; 32], &[7; 60]].concat());
    let stranger = Handset::new(&world);
    let mut proof_of_other = new.proof(&stranger);
    proof_of_other["device_id"] = json!(new.devices[0].id);
    for (why, body, code) in [
        ("no wrap", without("recovery"), ProblemCode::ChainRefused),
        (
            "wrap of another genesis",
            with("recovery", json!(other_genesis)),
            ProblemCode::ChainRefused,
        ),
        ("no proof", without("proofs"), ProblemCode::ChainRefused),
        (
            "proof by another key",
            with("proofs", json!([proof_of_other])),
            ProblemCode::ChainRefused,
        ),
        (
            "no device",
            with("records", json!([good["records"][0]])),
            ProblemCode::Malformed,
        ),
        (
            "no genesis",
            with("records", json!([good["records"][1], good["records"][1]])),
            ProblemCode::ChainRefused,
        ),
        ("no records", with("records", json!([])), ProblemCode::Malformed),
        (
            "not the length",
            with("expected", json!(1)),
            ProblemCode::ChainConflict,
        ),
    ] {
        let mut body = body;
        if why == "no device" {
            body["proofs"] = json!([]);
        }
        assert_eq!(extend(&world, &new, body).await.problem(), code, "{why}");
    }
    assert_eq!(extend(&world, &new, good).await.status, StatusCode::OK);
    let recovery: Recovery = world.get("/v1/users/me/recovery", &new.enrol).await.ok();
    assert_eq!(recovery.wrapped.0.len(), 93);
    assert_eq!(world.audited(Act::ChainBegun).await, 3);
}

#[tokio::test]
async fn records_of_another_user_or_key_are_refused() {
    let (world, root, alice) = World::with_two().await;
    let mut new = newcomer(&world, &root).await;
    let foreign = Genesis::sign(&new.uik, alice.user, world.now(), None);
    let mut body = new.first_upload(&world);
    body["records"][0] = json!(record(foreign.as_bytes()));
    assert_eq!(
        extend(&world, &new, body).await.problem(),
        ProblemCode::ChainRefused
    );

    let own = std::mem::replace(&mut new.user, alice.user);
    assert_eq!(
        extend(&world, &new, new.first_upload(&world)).await.problem(),
        ProblemCode::ChainRefused
    );
    new.user = own;

    new.begin_chain(&world).await;
    new.begin_session(&world, 0).await;
    let uik = std::mem::replace(
        &mut new.uik,
        SigningKey::generate(&mut world.clock.context().rng()),
    );
    let forged = new.certify(Handset::new(&world), &world).await;
    assert_eq!(forged.problem(), ProblemCode::ChainRefused);
    new.uik = uik;
    assert_eq!(
        new.certify(Handset::new(&world), &world).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_device_id_belongs_to_one_user() {
    let (world, root, mut alice) = World::with_two().await;
    let mut thief = Handset::new(&world);
    thief.id = root.devices[0].id;
    assert_eq!(
        alice.certify(thief, &world).await.problem(),
        ProblemCode::ChainRefused
    );
}

#[tokio::test]
async fn of_two_uploads_at_once_one_wins_and_the_other_learns_the_head() {
    let (mut world, _, alice) = World::with_two().await;
    world.events();
    let upload = |device: &Handset| {
        let certificate = alice.certificate(device, &alice.head(), world.now());
        let body = json!({"expected": 2, "records": [record(certificate.as_bytes())], "proofs": [alice.proof(device)]});
        world.post("/v1/users/me/chain", Some(alice.access()), body)
    };
    let (one, other) = (Handset::new(&world), Handset::new(&world));
    let (one, other) = tokio::join!(upload(&one), upload(&other));
    let (winner, loser) = if one.status.is_success() {
        (one, other)
    } else {
        (other, one)
    };
    assert_eq!(winner.status, StatusCode::OK);
    assert_eq!(loser.problem(), ProblemCode::ChainConflict);
    assert_eq!(loser.body["head"], winner.body);
    assert!(matches!(
        world.events()[..],
        [Event::ListChanged { version: 2, .. }]
    ));
}

#[tokio::test]
async fn a_revoked_device_loses_its_session_its_prekeys_and_its_way_back() {
    let (mut world, _, mut alice) = World::with_two().await;
    assert_eq!(
        alice.certify(Handset::new(&world), &world).await.status,
        StatusCode::OK
    );
    alice.begin_session(&world, 1).await;
    let lost = alice.devices[1].id;
    let upload = alice.devices[1].prekeys(&alice, &world, 1, 1, 1);
    let path = format!("/v1/devices/{lost}/prekeys");
    let put = world
        .call(http::Method::PUT, &path, Some(alice.access_of(1)), Some(upload))
        .await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.body);
    world.events();

    assert_eq!(alice.revoke(lost, &world).await.status, StatusCode::OK);
    let events = world.events();
    assert!(
        matches!(events[..], [Event::DeviceRevoked(device), Event::ListChanged { .. }] if device == lost),
        "{events:?}"
    );
    assert_eq!(
        world.get("/v1/me", alice.access_of(1)).await.problem(),
        ProblemCode::DeviceRevoked
    );
    let back = alice.devices[1].begin_session(&world, &alice.enrol).await;
    assert_eq!(back.problem(), ProblemCode::Unauthenticated);
    let refreshed = alice.devices[1]
        .refresh(&world, &alice.devices[1].refresh_token())
        .await;
    assert_eq!(refreshed.problem(), ProblemCode::DeviceRevoked);
    let bundles = world
        .post(
            &format!("/v1/users/{}/bundles", alice.user),
            Some(alice.access()),
            json!({"devices": [lost]}),
        )
        .await;
    assert_eq!(bundles.body["bundles"], json!({}));
    assert_eq!(world.audited(Act::DeviceRevoked).await, 1);

    let devices: Devices = world.get("/v1/devices", alice.access()).await.ok();
    let revoked: Vec<_> = devices
        .devices
        .iter()
        .map(|device| device.revoked_at.is_some())
        .collect();
    assert_eq!(revoked.iter().filter(|revoked| **revoked).count(), 1);
}

#[tokio::test]
async fn a_user_has_at_most_as_many_devices_as_configured() {
    let (world, _, mut alice) = World::with_two().await;
    for _ in 0..3 {
        assert_eq!(
            alice.certify(Handset::new(&world), &world).await.status,
            StatusCode::OK
        );
    }
    assert_eq!(
        alice.certify(Handset::new(&world), &world).await.problem(),
        ProblemCode::TooMany
    );
    let oldest = alice.devices[1].id;
    alice.revoke(oldest, &world).await;
    assert_eq!(
        alice.certify(Handset::new(&world), &world).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_recovered_identity_certifies_a_new_device_with_the_enrolment_token_alone() {
    let (world, _, mut alice) = World::with_two().await;
    let device = Handset::new(&world);
    let certificate = alice.certificate(&device, &alice.head(), world.now());
    let body =
        json!({"expected": 2, "records": [record(certificate.as_bytes())], "proofs": [alice.proof(&device)]});
    assert_eq!(extend(&world, &alice, body).await.status, StatusCode::OK);
    alice.devices.push(device);
    alice.begin_session(&world, 1).await;
}
