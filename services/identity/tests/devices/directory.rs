//! Users and devices as others see them.

use unhidra_identity::Caller;
use unhidra_policy::{Action, Decision, Denial, decide};
use unhidra_types::{DeviceId, SessionId, UserId};

use crate::fixture::{AWAY, HOME, NOW, Phone, Server};

async fn by_name(server: &Server, caller: &Caller, name: &str) -> Option<UserId> {
    let found = server.identity.user_by_name(caller, name.parse().unwrap());
    found.await.unwrap().map(|user| user.user_id)
}

#[tokio::test]
async fn a_name_is_found_in_the_callers_organisation_only() {
    let server = Server::new().await;
    let (alice, phone) = server.user_with_device(10).await;
    let bob = server.user(11, HOME).await;
    let stranger = server.user(12, AWAY).await;
    let caller = alice.with(&phone, NOW);
    assert_eq!(by_name(&server, &caller, "user11").await, Some(bob.id));
    assert_eq!(by_name(&server, &caller, "user12").await, None);
    assert_eq!(by_name(&server, &caller, "nobody").await, None);
    let away = stranger.with(&Phone::new(12, 1), NOW);
    assert_eq!(by_name(&server, &away, "user12").await, Some(stranger.id));
    assert_eq!(by_name(&server, &away, "user11").await, None);
}

#[tokio::test]
async fn what_is_another_organisations_looks_like_what_does_not_exist() {
    let server = Server::new().await;
    let (alice, phone) = server.user_with_device(10).await;
    let stranger = server.user(12, AWAY).await;
    let caller = alice.with(&phone, NOW);
    let nobody = UserId::from_bytes([99; 16]);
    for user in [stranger.id, nobody] {
        let facts = server.identity.user_facts(user).await.unwrap();
        for action in [Action::ReadUser, Action::ReadChain, Action::TakeBundles] {
            assert_eq!(
                decide(&caller.principal, action, &facts),
                Decision::Deny(Denial::NotFound)
            );
        }
    }
    let facts = server.identity.device_facts(DeviceId::from_bytes([99; 16])).await;
    assert_eq!(
        decide(&caller.principal, Action::ReadStock, &facts.unwrap()),
        Decision::Deny(Denial::NotFound)
    );
    let facts = server
        .identity
        .session_facts(SessionId::from_bytes([99; 16]))
        .await;
    assert_eq!(
        decide(&caller.principal, Action::EndSession, &facts.unwrap()),
        Decision::Deny(Denial::NotFound)
    );
}

#[tokio::test]
async fn a_device_list_holds_every_device_ever_certified() {
    let server = Server::new().await;
    let (mut alice, first) = server.user_with_device(10).await;
    let (_, others) = server.user_with_device(11).await;
    let lost = Phone::new(10, 2);
    server.certify(&mut alice, &lost).await;
    server.begin_session(&alice, &first).await;
    server.revoke(&mut alice, &lost).await;
    let devices = server.identity.devices(alice.id).await.unwrap().devices;
    let seen: Vec<_> = devices
        .iter()
        .map(|device| {
            (
                device.device_id,
                device.name.as_str(),
                device.last_seen_at,
                device.revoked_at,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (first.id, "phone 1", Some(NOW), None),
            (lost.id, "phone 2", None, Some(NOW)),
        ]
    );
    assert!(devices.iter().all(|device| device.device_id != others.id));
}

#[tokio::test]
async fn a_session_knows_who_it_speaks_for() {
    let server = Server::new().await;
    let (alice, phone) = server.user_with_device(10).await;
    let tokens = server.begin_session(&alice, &phone).await;
    let context = alice.enrolling().context;
    let principal = server
        .identity
        .authenticate(tokens.access_token.expose(), &context)
        .await
        .unwrap();
    let caller = crate::fixture::caller(principal, NOW);
    let me = server.identity.me(&caller).await.unwrap().unwrap();
    assert_eq!(
        (me.user_id, me.device_id, me.session_id, me.org_id),
        (alice.id, phone.id, tokens.session_id, HOME)
    );
    assert!(
        server.identity.me(&alice.enrolling()).await.unwrap().is_none(),
        "a password alone is no session"
    );
}
