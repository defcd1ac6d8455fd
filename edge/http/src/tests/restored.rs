//! A server that was restored from a backup takes back whoever it does not know any more, once (ADR 0012).

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use unhidra_audit::Act;
use unhidra_wire::rest::{Me, ProblemCode, Tokens};

use super::{
    device::Handset,
    world::{DAY, ORIGIN, World},
};

/// Shorter than an enrolment token lives, longer than what counts as the same moment.
const PAUSE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_later_token_is_taken_once_and_a_spent_one_ends_the_session_again() {
    let (world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    let backup = world.back_up();
    let first: Tokens = device.refresh(&world, &device.refresh_token()).await.ok();
    let second: Tokens = device.refresh(&world, first.refresh_token.expose()).await.ok();
    let world = world.restore(backup).await;
    let later = second.refresh_token.expose();
    let third: Tokens = device.refresh(&world, later).await.ok();
    // The answer may be lost, as ever.
    let again: Tokens = device.refresh(&world, later).await.ok();
    assert_eq!(third.refresh_token.expose(), again.refresh_token.expose());
    let fourth: Tokens = device.refresh(&world, third.refresh_token.expose()).await.ok();
    assert_eq!(
        world.get("/v1/me", fourth.access_token.expose()).await.status,
        StatusCode::OK
    );
    let reused = device.refresh(&world, first.refresh_token.expose()).await;
    assert_eq!(reused.problem(), ProblemCode::Unauthenticated);
    assert_eq!(world.audited(Act::RefreshTokenReused).await, 1);
}

#[tokio::test]
async fn a_later_token_without_the_signature_of_its_device_changes_nothing() {
    let (world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    let backup = world.back_up();
    let first: Tokens = device.refresh(&world, &device.refresh_token()).await.ok();
    let second: Tokens = device.refresh(&world, first.refresh_token.expose()).await.ok();
    let world = world.restore(backup).await;
    let later = second.refresh_token.expose();
    let other = Handset::new(&world);
    let forged =
        json!({"refresh_token": later, "signature": other.sign(ORIGIN, later), "device_id": device.id});
    let refused = world.post("/v1/sessions/refresh", None, forged).await;
    assert_eq!(refused.problem(), ProblemCode::Unauthenticated);
    assert_eq!(device.refresh(&world, later).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_that_the_backup_lacks_begins_again_once() {
    let (world, _, mut alice) = World::with_two().await;
    let backup = world.back_up();
    world.hand.advance(PAUSE);
    alice.begin_session(&world, 0).await;
    world.hand.advance(PAUSE);
    let world = world.restore(backup).await;
    let device = &alice.devices[0];
    let lost = device.refresh_token();
    let taken: Tokens = device.refresh(&world, &lost).await.ok();
    assert_eq!(taken.session_id, device.tokens.as_ref().unwrap().session_id);
    let path = format!("/v1/sessions/{}", taken.session_id);
    let ended = world
        .call(Method::DELETE, &path, Some(taken.access_token.expose()), None)
        .await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    assert_eq!(
        device.refresh(&world, &lost).await.problem(),
        ProblemCode::Unauthenticated
    );
    // Nor when a login has made the server forget the ended one.
    world.hand.advance(PAUSE);
    alice.begin_session(&world, 0).await;
    let device = &alice.devices[0];
    assert_eq!(
        device.refresh(&world, &lost).await.problem(),
        ProblemCode::Unauthenticated
    );
    assert_eq!(
        device.refresh(&world, &device.refresh_token()).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_session_from_before_the_backup_does_not_begin_again_and_a_lost_one_is_its_signers() {
    let (world, root, mut alice) = World::with_two().await;
    let before = alice.devices[0].refresh_token();
    world.hand.advance(PAUSE);
    alice.begin_session(&world, 0).await;
    world.hand.advance(PAUSE);
    let backup = world.back_up();
    world.hand.advance(PAUSE);
    alice.begin_session(&world, 0).await;
    let world = world.restore(backup).await;
    let device = &alice.devices[0];
    assert_eq!(
        device.refresh(&world, &before).await.problem(),
        ProblemCode::Unauthenticated
    );
    // A stolen one speaks for the device that signs, and for nobody else.
    let stolen: Tokens = root.devices[0]
        .refresh(&world, &device.refresh_token())
        .await
        .ok();
    let me: Me = world.get("/v1/me", stolen.access_token.expose()).await.ok();
    assert_eq!((me.user_id, me.device_id), (root.user, root.devices[0].id));
}

#[tokio::test]
async fn a_lost_session_is_not_taken_back_for_ever() {
    let (world, _, mut alice) = World::with_two().await;
    let backup = world.back_up();
    world.hand.advance(PAUSE);
    alice.begin_session(&world, 0).await;
    let world = world.restore(backup).await;
    world.hand.advance(31 * DAY);
    let device = &alice.devices[0];
    let late = device.refresh(&world, &device.refresh_token()).await;
    assert_eq!(late.problem(), ProblemCode::Unauthenticated);
}
