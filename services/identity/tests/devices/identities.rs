//! Replacing an identity: what is refused, and what takes effect with it.

use std::time::Duration;

use unhidra_audit::Act;
use unhidra_chain::{Capabilities, Chain, Genesis};
use unhidra_crypto::{ed25519::SigningKey, hash::sha256};
use unhidra_identity::{
    caller::AuthenticateError,
    device_chain::ExtendError,
    identity_change::{CHANGE_WINDOW, MAX_ROTATIONS, ReplaceError},
};
use unhidra_store::Event;
use unhidra_types::{Secret, Timestamp};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    rest::{ChainHead, ReplaceIdentity, ReplaceRecovery},
};

use crate::fixture::{DAY, NOW, Person, Phone, Server, after, context};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new(sha256(&[b"another identity", &[seed]])))
}

/// `person` under another identity, with certificates for `phones`, and its upload with the proofs of `proved`.
fn successor(
    person: &Person,
    uik: SigningKey,
    previous: Option<&SigningKey>,
    phones: &[&Phone],
    proved: &[&Phone],
) -> (Person, ReplaceIdentity) {
    let genesis = Genesis::sign(&uik, person.id, after(Duration::from_secs(1)), previous);
    let mut next = Person {
        id: person.id,
        org: person.org,
        chain: Chain::begin(genesis.as_bytes()).unwrap(),
        uik,
    };
    let mut records = vec![Base64(genesis.as_bytes().to_vec())];
    records.extend(phones.iter().map(|phone| next.certify(phone)));
    let head = person.chain.head();
    let body = ReplaceIdentity {
        replaces: ChainHead {
            version: head.version.0,
            hash: Base64Array(head.hash),
        },
        records,
        proofs: proved.iter().map(|phone| phone.proof(&next)).collect(),
        recovery: Base64(next.wrapped()),
    };
    (next, body)
}

fn rotation(person: &Person, seed: u8, phones: &[&Phone]) -> (Person, ReplaceIdentity) {
    successor(person, key(seed), Some(&person.uik), phones, &[])
}

async fn refused(server: &Server, person: &Person, phone: &Phone, body: ReplaceIdentity) -> ReplaceError {
    let before = (server.head(person.id).await, server.acts().await);
    server.events();
    let caller = person.with(phone, NOW);
    let refused = server.identity.rotate_identity(&caller, body).await.unwrap_err();
    assert_eq!(before, (server.head(person.id).await, server.acts().await));
    assert!(server.events().is_empty(), "a refused rotation told someone");
    refused
}

#[tokio::test]
async fn a_rotation_carries_devices_over_and_revokes_the_others() {
    let server = Server::new().await;
    let (mut alice, first) = server.user_with_device(10).await;
    let (second, lost) = (Phone::new(10, 2), Phone::new(10, 3));
    server.certify(&mut alice, &second).await;
    server.certify(&mut alice, &lost).await;
    let kept = server.begin_session(&alice, &second).await;
    let ended = server.begin_session(&alice, &lost).await;
    let prekeys = alice.prekeys(&second, 1, &[1, 2]);
    let caller = alice.with(&second, NOW);
    server
        .identity
        .upload_prekeys(&caller, second.id, prekeys)
        .await
        .unwrap();
    let (next, body) = rotation(&alice, 1, &[&first, &second]);
    server.events();
    let caller = alice.with(&first, NOW);
    let head = server.identity.rotate_identity(&caller, body).await.unwrap();
    assert_eq!((head.version, head.hash.0), (2, next.chain.head().hash));
    assert!(matches!(
        server.events().as_slice(),
        [Event::DeviceRevoked(device), Event::ListChanged { version: 2, .. }] if *device == lost.id
    ));
    let speaks = |token: &str| {
        let (identity, token) = (server.identity.clone(), token.to_owned());
        async move { identity.authenticate(&token, &context(NOW)).await }
    };
    assert!(speaks(kept.access_token.expose()).await.is_ok());
    let refused = speaks(ended.access_token.expose()).await;
    assert!(matches!(refused, Err(AuthenticateError::Revoked)));
    // The prekeys of a device that stays are handed out under its new certificate.
    let bob = server.user_with_device(11).await;
    let take = unhidra_wire::rest::TakeBundles {
        devices: vec![second.id],
    };
    let taken = server
        .identity
        .take_bundles(&bob.0.with(&bob.1, NOW), alice.id, take)
        .await
        .unwrap();
    let bundle = &taken.bundles[&second.id].0;
    assert_eq!(bundle[16..48], next.certificate_hash(&second));
    let recovery = server.identity.recovery(alice.id).await.unwrap().unwrap();
    assert_eq!(recovery.wrapped.0, next.wrapped());
    assert_eq!(server.count(Act::IdentityRotated).await, 1);
    assert_eq!(server.count(Act::DeviceRevoked).await, 1);
}

#[tokio::test]
async fn only_the_current_identity_key_makes_its_successor() {
    let server = Server::new().await;
    let (alice, phone) = server.user_with_device(10).await;
    for previous in [None, Some(key(7))] {
        let (_, body) = successor(&alice, key(1), previous.as_ref(), &[&phone], &[]);
        let refusal = refused(&server, &alice, &phone, body).await;
        assert!(matches!(refusal, ReplaceError::Unvouched), "{refusal:?}");
    }
    // The genesis names Alice's key, which has not signed it.
    let (_, mut body) = successor(&alice, key(1), Some(&key(7)), &[&phone], &[]);
    let place = 13 + 16 + 32;
    let uik = alice.uik.verifying_key();
    body.records[0].0[place..place + 32].copy_from_slice(uik.as_bytes());
    let refusal = refused(&server, &alice, &phone, body).await;
    assert!(
        matches!(refusal, ReplaceError::Chain(ExtendError::Chain(_))),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_rotation_fits_the_chain_that_is_there_and_brings_no_device_back() {
    let server = Server::new().await;
    let (mut alice, phone) = server.user_with_device(10).await;
    let lost = Phone::new(10, 2);
    let (_, stale) = rotation(&alice, 1, &[&phone]);
    server.certify(&mut alice, &lost).await;
    let refusal = refused(&server, &alice, &phone, stale).await;
    assert!(matches!(
        refusal,
        ReplaceError::Chain(ExtendError::Conflict(Some(_)))
    ));
    server.revoke(&mut alice, &lost).await;
    let (_, body) = rotation(&alice, 1, &[&phone, &lost]);
    let refusal = refused(&server, &alice, &phone, body).await;
    assert!(matches!(refusal, ReplaceError::Chain(ExtendError::Chain(_))));
    // A device that the server never saw has to prove its keys.
    let new = Phone::new(10, 3);
    let (_, body) = rotation(&alice, 1, &[&phone, &new]);
    let refusal = refused(&server, &alice, &phone, body).await;
    assert!(matches!(refusal, ReplaceError::Chain(ExtendError::Unproved(_))));
    let (_, mut body) = rotation(&alice, 1, &[&phone]);
    body.recovery = Base64(alice.wrapped());
    let refusal = refused(&server, &alice, &phone, body).await;
    assert!(matches!(refusal, ReplaceError::Chain(ExtendError::Recovery)));
}

#[tokio::test]
async fn a_reset_revokes_everything_and_happens_once_a_day() {
    let server = Server::new().await;
    let (alice, old) = server.user_with_device(10).await;
    let session = server.begin_session(&alice, &old).await;
    let new = Phone::new(10, 2);
    // What a rotation brings is no reset, and a reset carries nothing over.
    let (_, signed) = successor(&alice, key(1), Some(&alice.uik), &[&new], &[&new]);
    let (_, carried) = successor(&alice, key(1), None, &[&old], &[]);
    for body in [signed, carried] {
        let reset = server.identity.reset_identity(&alice.enrolling(), body).await;
        assert!(reset.is_err());
    }
    let (reset, body) = successor(&alice, key(1), None, &[&new], &[&new]);
    server.events();
    server
        .identity
        .reset_identity(&alice.enrolling(), body)
        .await
        .unwrap();
    assert!(matches!(
        server.events().as_slice(),
        [Event::DeviceRevoked(device), Event::ListChanged { version: 1, .. }] if *device == old.id
    ));
    let token = session.access_token.expose();
    let speaks = server.identity.authenticate(token, &context(NOW)).await;
    assert!(matches!(speaks, Err(AuthenticateError::Revoked)));
    assert_eq!(server.count(Act::ChainReset).await, 1);

    let third = Phone::new(10, 3);
    let (_, again) = successor(&reset, key(2), None, &[&third], &[&third]);
    let reset_at = |now: Timestamp, body: ReplaceIdentity| {
        let (identity, caller) = (server.identity.clone(), reset.enrolling_at(now));
        async move { identity.reset_identity(&caller, body).await }
    };
    let refused = reset_at(NOW, again.clone()).await;
    assert!(
        matches!(refused, Err(ReplaceError::TooSoon(wait)) if wait <= CHANGE_WINDOW),
        "{refused:?}"
    );
    // The identity that was given up does not come back, even with a password and on the next day.
    let mut back = again.clone();
    let fourth = Phone::new(10, 4);
    let mut former = Person::new(10, alice.org);
    let certificate = former.certify(&fourth);
    back.records = vec![Base64(former.chain.genesis().as_bytes().to_vec()), certificate];
    back.proofs = vec![fourth.proof(&former)];
    back.recovery = Base64(former.wrapped());
    let refused = reset_at(after(DAY), back).await;
    assert!(matches!(refused, Err(ReplaceError::UsedBefore)), "{refused:?}");
    reset_at(after(DAY), again).await.unwrap();
}

#[tokio::test]
async fn rotations_of_a_day_are_bounded() {
    let server = Server::new().await;
    let (mut alice, phone) = server.user_with_device(10).await;
    for seed in 0..u8::try_from(MAX_ROTATIONS).unwrap() {
        let (next, body) = rotation(&alice, seed, &[&phone]);
        let caller = alice.with(&phone, NOW);
        server.identity.rotate_identity(&caller, body).await.unwrap();
        alice = next;
    }
    let (_, body) = rotation(&alice, 99, &[&phone]);
    let refusal = refused(&server, &alice, &phone, body).await;
    assert!(matches!(refusal, ReplaceError::TooSoon(_)));
}

#[tokio::test]
async fn only_a_certifying_device_gives_other_recovery_words_for_the_current_genesis() {
    let server = Server::new().await;
    let (mut alice, phone) = server.user_with_device(10).await;
    let linked = Phone {
        capabilities: Capabilities::PQ,
        ..Phone::new(10, 2)
    };
    server.certify(&mut alice, &linked).await;
    let mut wrapped = alice.wrapped();
    wrapped[92] ^= 1;
    let body = |wrapped: &[u8]| ReplaceRecovery {
        wrapped: Base64(wrapped.to_vec()),
    };
    let caller = alice.with(&linked, NOW);
    let by_linked = server.identity.replace_recovery(&caller, body(&wrapped)).await;
    assert!(matches!(by_linked, Err(ReplaceError::NotACertifier)));
    let mut of_another = wrapped.clone();
    of_another[1] ^= 1;
    let caller = alice.with(&phone, NOW);
    let refused = server.identity.replace_recovery(&caller, body(&of_another)).await;
    assert!(matches!(refused, Err(ReplaceError::Chain(ExtendError::Recovery))));
    server
        .identity
        .replace_recovery(&caller, body(&wrapped))
        .await
        .unwrap();
    let recovery = server.identity.recovery(alice.id).await.unwrap().unwrap();
    assert_eq!(recovery.wrapped.0, wrapped);
    assert_eq!(server.count(Act::RecoveryReplaced).await, 1);
}
