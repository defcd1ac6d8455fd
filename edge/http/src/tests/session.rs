//! Sessions and refresh tokens.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use unhidra_audit::Act;
use unhidra_store::Event;
use unhidra_wire::rest::{Enrolment, Me, ProblemCode, Tokens};

use super::{
    device::Handset,
    world::{Answer, DAY, ORIGIN, PASSWORD, World},
};

#[tokio::test]
async fn a_device_begins_a_session_with_its_signature_and_is_known_by_it() {
    let (world, _, alice) = World::with_two().await;
    let me: Me = world.get("/v1/me", alice.access()).await.ok();
    assert_eq!((me.user_id, me.device_id), (alice.user, alice.devices[0].id));
    assert_eq!(
        Some(me.session_id),
        alice.devices[0].tokens.as_ref().map(|tokens| tokens.session_id)
    );
    assert_eq!(world.audited(Act::SessionBegun).await, 2);
}

#[tokio::test]
async fn a_session_needs_the_signature_of_its_own_device_for_this_server_over_this_token() {
    let (world, root, alice) = World::with_two().await;
    let device = &alice.devices[0];
    let path = format!("/v1/devices/{}/sessions", device.id);
    let other = Handset::new(&world);
    for (who, signature) in [
        ("another key", other.sign(ORIGIN, &alice.enrol)),
        (
            "another server",
            device.sign("https://other.example", &alice.enrol),
        ),
        ("another token", device.sign(ORIGIN, &root.enrol)),
    ] {
        let refused = world
            .post(&path, Some(&alice.enrol), json!({"signature": signature}))
            .await;
        assert_eq!(refused.problem(), ProblemCode::Unauthenticated, "{who}");
    }
    // Another user's device, and one that nobody certified.
    for device in [&root.devices[0], &other] {
        assert_eq!(
            device.begin_session(&world, &alice.enrol).await.problem(),
            ProblemCode::Unauthenticated
        );
    }
    assert_eq!(world.audited(Act::SessionRefused).await, 5);
}

#[tokio::test]
async fn a_new_session_of_a_device_ends_the_old_one() {
    let (mut world, _, mut alice) = World::with_two().await;
    let old = alice.access().to_owned();
    world.events();
    alice.begin_session(&world, 0).await;
    assert_eq!(
        world.get("/v1/me", &old).await.problem(),
        ProblemCode::Unauthenticated
    );
    assert_eq!(world.get("/v1/me", alice.access()).await.status, StatusCode::OK);
    assert!(matches!(world.events()[..], [Event::SessionEnded(_)]));
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_successor_works() {
    let (world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    let first: Tokens = device.refresh(&world, &device.refresh_token()).await.ok();
    let second: Tokens = device.refresh(&world, first.refresh_token.expose()).await.ok();
    assert_ne!(first.refresh_token.expose(), second.refresh_token.expose());
    assert_eq!(first.session_id, second.session_id);
    assert_eq!(
        world.get("/v1/me", second.access_token.expose()).await.status,
        StatusCode::OK
    );
    assert_eq!(world.audited(Act::SessionRefreshed).await, 2);
}

#[tokio::test]
async fn a_crash_between_refresh_and_store_returns_the_same_successor() {
    let (world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    let token = device.refresh_token();
    let lost: Tokens = device.refresh(&world, &token).await.ok();
    // The device lost the answer, and the server was restarted in between.
    let world = world.restart().await;
    let again: Tokens = device.refresh(&world, &token).await.ok();
    assert_eq!(lost.refresh_token.expose(), again.refresh_token.expose());
    assert_eq!(
        device.refresh(&world, again.refresh_token.expose()).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn reuse_of_a_spent_refresh_token_ends_the_session_and_everything_from_it() {
    let (mut world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    let spent = device.refresh_token();
    let first: Tokens = device.refresh(&world, &spent).await.ok();
    let second: Tokens = device.refresh(&world, first.refresh_token.expose()).await.ok();
    world.events();

    assert_eq!(
        device.refresh(&world, &spent).await.problem(),
        ProblemCode::Unauthenticated
    );
    assert!(matches!(world.events()[..], [Event::SessionEnded(session)] if session == second.session_id));
    assert_eq!(world.audited(Act::RefreshTokenReused).await, 1);
    for token in [
        &spent,
        first.refresh_token.expose(),
        second.refresh_token.expose(),
    ] {
        assert_eq!(
            device.refresh(&world, token).await.problem(),
            ProblemCode::Unauthenticated
        );
    }
    assert_eq!(
        world.get("/v1/me", second.access_token.expose()).await.problem(),
        ProblemCode::Unauthenticated
    );
}

#[tokio::test]
async fn a_stolen_refresh_token_is_worth_nothing_without_its_device_and_does_no_harm() {
    let (world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    let token = device.refresh_token();
    let thief = Handset::new(&world);
    let stolen = json!({"refresh_token": token, "signature": thief.sign(ORIGIN, &token)});
    let refused = world.post("/v1/sessions/refresh", None, stolen).await;
    assert_eq!(refused.problem(), ProblemCode::Unauthenticated);
    assert_eq!(device.refresh(&world, &token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_invented_refresh_token_ends_no_session() {
    let (world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    let mut invented = device.refresh_token();
    invented.replace_range(40..41, if &invented[40..41] == "A" { "B" } else { "A" });
    assert_eq!(
        device.refresh(&world, &invented).await.problem(),
        ProblemCode::Unauthenticated
    );
    assert_eq!(world.audited(Act::RefreshTokenReused).await, 0);
    assert_eq!(
        device.refresh(&world, &device.refresh_token()).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn two_refreshes_at_once_get_the_same_successor() {
    let (world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    let token = device.refresh_token();
    let (one, other) = tokio::join!(device.refresh(&world, &token), device.refresh(&world, &token));
    let (one, other): (Tokens, Tokens) = (one.ok(), other.ok());
    assert_eq!(one.refresh_token.expose(), other.refresh_token.expose());
}

#[tokio::test]
async fn a_session_ends_after_thirty_idle_days_and_after_ninety_in_any_case() {
    let (world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    let mut token = device.refresh_token();
    for _ in 0..3 {
        world.hand.advance(30 * DAY);
        let tokens: Tokens = device.refresh(&world, &token).await.ok();
        token = tokens.refresh_token.expose().into();
    }
    world.hand.advance(Duration::from_millis(1));
    assert_eq!(
        device.refresh(&world, &token).await.problem(),
        ProblemCode::Unauthenticated
    );

    let (world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    world.hand.advance(30 * DAY + Duration::from_millis(1));
    assert_eq!(
        device.refresh(&world, &device.refresh_token()).await.problem(),
        ProblemCode::Unauthenticated
    );
}

#[tokio::test]
async fn logging_out_ends_the_session_at_once_and_twice_is_no_error() {
    let (mut world, _, alice) = World::with_two().await;
    let session = alice.devices[0].tokens.as_ref().unwrap().session_id;
    world.events();
    let path = format!("/v1/sessions/{session}");
    assert_eq!(
        world
            .call(Method::DELETE, &path, Some(alice.access()), None)
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    assert!(matches!(world.events()[..], [Event::SessionEnded(ended)] if ended == session));
    assert_eq!(
        world.get("/v1/me", alice.access()).await.problem(),
        ProblemCode::Unauthenticated
    );
}

#[tokio::test]
async fn an_administrator_ends_sessions_of_others_and_a_member_does_not() {
    let (world, root, alice) = World::with_two().await;
    let path = |person: &super::device::Person| {
        format!(
            "/v1/sessions/{}",
            person.devices[0].tokens.as_ref().unwrap().session_id
        )
    };
    let refused = world
        .call(Method::DELETE, &path(&root), Some(alice.access()), None)
        .await;
    assert_eq!(refused.problem(), ProblemCode::Forbidden);
    let ended = world
        .call(Method::DELETE, &path(&alice), Some(root.access()), None)
        .await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    assert_eq!(
        world.get("/v1/me", alice.access()).await.problem(),
        ProblemCode::Unauthenticated
    );
}

#[tokio::test]
async fn tokens_end_with_their_lifetime_and_survive_a_key_rotation() {
    let (world, _, alice) = World::with_two().await;
    world.hand.advance(90 * DAY);
    world.identity.upkeep(&world.clock.context()).await.unwrap();
    assert_eq!(world.audited(Act::KeyRotated).await, 1);
    assert_eq!(
        world.get("/v1/me", alice.access()).await.problem(),
        ProblemCode::Unauthenticated
    );

    let enrolment: Enrolment = world.log_in("alice", PASSWORD).await.ok();
    let tokens: Tokens = alice.devices[0]
        .begin_session(&world, enrolment.enrol_token.expose())
        .await
        .created();
    world.identity.keys().rotate(&world.clock.context()).unwrap();
    assert_eq!(
        world.get("/v1/me", tokens.access_token.expose()).await.status,
        StatusCode::OK
    );
    world.hand.advance(Duration::from_secs(661));
    assert_eq!(
        world.get("/v1/me", tokens.access_token.expose()).await.problem(),
        ProblemCode::Unauthenticated
    );
}

#[tokio::test]
async fn upkeep_ends_the_sessions_whose_time_is_over_and_tells_their_connections() {
    let (mut world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    world.hand.advance(30 * DAY);
    let kept: Tokens = device.refresh(&world, &device.refresh_token()).await.ok();
    world.events();
    world.hand.advance(Duration::from_millis(1));
    world.identity.upkeep(&world.clock.context()).await.unwrap();
    assert!(matches!(world.events()[..], [Event::SessionEnded(ended)] if ended != kept.session_id));
    world.identity.upkeep(&world.clock.context()).await.unwrap();
    assert!(world.events().is_empty());
}

#[tokio::test]
async fn an_enrolment_token_begins_one_session() {
    let (world, _, alice) = World::with_two().await;
    let device = &alice.devices[0];
    let _: Tokens = device.begin_session(&world, &alice.enrol).await.created();
    let again = device.begin_session(&world, &alice.enrol).await;
    assert_eq!(again.problem(), ProblemCode::Unauthenticated);
    // A restart does not forget it.
    let world = world.restart().await;
    let again = alice.devices[0].begin_session(&world, &alice.enrol).await;
    assert_eq!(again.problem(), ProblemCode::Unauthenticated);
    assert_eq!(world.audited(Act::SessionRefused).await, 2);
}

#[tokio::test]
async fn answers_say_how_much_is_left_and_too_much_is_told_when_to_come_back() {
    let (world, _, alice) = World::with_two().await;
    let first = world.get("/v1/me", alice.access()).await;
    let left = |answer: &Answer| {
        let value = answer.headers["ratelimit-remaining"].to_str().unwrap();
        value.parse::<u32>().unwrap()
    };
    assert_eq!(first.headers["ratelimit-limit"], "400");
    let second = world.get("/v1/me", alice.access()).await;
    assert!(
        left(&second) < 400 && left(&second) <= left(&first) + 1,
        "{}",
        left(&second)
    );
    let mut last = second;
    for _ in 0..2_000 {
        last = world.get("/v1/me", alice.access()).await;
        if !last.status.is_success() {
            break;
        }
    }
    assert_eq!(last.problem(), ProblemCode::RateLimited);
    assert_eq!(
        (left(&last), &last.headers["retry-after"]),
        (0, &"1".parse().unwrap())
    );
}

#[tokio::test]
async fn a_head_beyond_its_bound_is_refused() {
    let (world, _, alice) = World::with_two().await;
    let ask = |bytes: usize| {
        let request = http::Request::get("/v1/me")
            .header("authorization", format!("Bearer {}", alice.access()))
            .header("x-padding", "x".repeat(bytes));
        world.send(request.body(axum::body::Body::empty()).unwrap())
    };
    assert!(ask(30 * 1024).await.status.is_success());
    let refused = ask(33 * 1024).await;
    assert_eq!(refused.problem(), ProblemCode::HeadTooLarge);
    assert_eq!(refused.status, 431);
}
