//! Accounts and passwords.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use http::StatusCode;
use serde_json::{Value, json};
use unhidra_audit::Act;
use unhidra_identity::Setup;
use unhidra_types::Role;
use unhidra_wire::rest::{Enrolment, Invitation, Me, ProblemCode};

use super::world::{PASSWORD, World};

#[tokio::test]
async fn the_set_up_token_opens_one_administrator_and_is_gone() {
    let world = World::start().await;
    let file = world.folder().join("setup-token");
    assert_eq!(world.setup, Setup::Needed(file.clone()));
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let token = std::fs::read_to_string(&file).unwrap();

    let root = world.administrator().await;
    let me: Me = world.get("/v1/me", root.access()).await.ok();
    assert_eq!((me.role, me.username.as_str()), (Role::SuperAdmin, "root"));
    assert!(!file.exists());

    let body = json!({"invitation": token.trim(), "username": "second", "password": PASSWORD});
    assert_eq!(
        world.post("/v1/accounts", None, body).await.problem(),
        ProblemCode::InvitationRefused
    );
    assert_eq!(world.restart().await.setup, Setup::Done);
}

#[tokio::test]
async fn a_restart_without_accounts_replaces_the_set_up_token() {
    let world = World::start().await;
    let old = std::fs::read_to_string(world.folder().join("setup-token")).unwrap();
    let world = world.restart().await;
    let body = json!({"invitation": old.trim(), "username": "root", "password": PASSWORD});
    assert_eq!(
        world.post("/v1/accounts", None, body).await.problem(),
        ProblemCode::InvitationRefused
    );
    world.administrator().await;
}

#[tokio::test]
async fn an_unknown_user_a_wrong_password_and_a_disabled_account_are_one_answer_for_one_computation() {
    let (world, root, alice) = World::with_two().await;
    let bob = world.member(&root, "bob").await;
    let now = world.now();
    let user = bob.user;
    world
        .store
        .write(move |tx| tx.disable_account(user, now))
        .await
        .unwrap();

    let mut answers = Vec::new();
    for (name, password) in [
        ("nobody", PASSWORD),
        ("alice", "wrong password"),
        ("bob", PASSWORD),
        ("bob", "wrong"),
    ] {
        let before = world.identity.password_computations();
        let answer = world.log_in(name, password).await;
        assert_eq!(world.identity.password_computations() - before, 1, "{name}");
        assert_eq!(answer.problem(), ProblemCode::Unauthenticated);
        let mut body = answer.body;
        body["request_id"] = Value::Null;
        let mut headers = answer.headers;
        headers.remove("x-request-id");
        answers.push((answer.status, body, headers));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    let enrolment: Enrolment = world.log_in("alice", PASSWORD).await.ok();
    assert_eq!((enrolment.user_id, enrolment.has_chain), (alice.user, true));
}

#[tokio::test]
async fn a_disabled_account_loses_its_sessions_and_tokens() {
    let (world, _, alice) = World::with_two().await;
    let (user, now) = (alice.user, world.now());
    world
        .store
        .write(move |tx| tx.disable_account(user, now))
        .await
        .unwrap();
    assert_eq!(
        world.get("/v1/me", alice.access()).await.problem(),
        ProblemCode::Unauthenticated
    );
    assert_eq!(
        world.get("/v1/users/me/recovery", &alice.enrol).await.problem(),
        ProblemCode::Unauthenticated
    );
    let refused = alice.devices[0]
        .refresh(&world, &alice.devices[0].refresh_token())
        .await;
    assert_eq!(refused.problem(), ProblemCode::Unauthenticated);
}

#[tokio::test]
async fn names_and_passwords_have_their_bounds() {
    let (world, root, _) = World::with_two().await;
    let invite = json!({"role": "member", "expires_in": 60});
    let invitation: Invitation = world
        .post("/v1/admin/invitations", Some(root.access()), invite)
        .await
        .created();
    let token = invitation.token.expose();
    let open = |name: &str, password: &str| {
        let body = json!({"invitation": token, "username": name, "password": password});
        world.post("/v1/accounts", None, body)
    };
    assert_eq!(
        open("carol", "123456789").await.problem(),
        ProblemCode::PasswordUnsuitable
    );
    assert_eq!(
        open("carol", &"x".repeat(1_025)).await.problem(),
        ProblemCode::PasswordUnsuitable
    );
    assert_eq!(open("Carol", PASSWORD).await.problem(), ProblemCode::Malformed);
    assert_eq!(
        open("alice", PASSWORD).await.problem(),
        ProblemCode::UsernameTaken
    );
    assert_eq!(open("carol", PASSWORD).await.status, StatusCode::CREATED);
    assert_eq!(
        open("dave", PASSWORD).await.problem(),
        ProblemCode::InvitationRefused
    );
}

#[tokio::test]
async fn an_invitation_ends_with_its_lifetime() {
    let (world, root, _) = World::with_two().await;
    let invite = |seconds: u64| {
        world.post(
            "/v1/admin/invitations",
            Some(root.access()),
            json!({"role": "member", "expires_in": seconds}),
        )
    };
    assert_eq!(invite(0).await.problem(), ProblemCode::Malformed);
    assert_eq!(invite(30 * 86_400 + 1).await.problem(), ProblemCode::Malformed);
    let invitation: Invitation = invite(60).await.created();
    world.hand.advance(Duration::from_secs(60));
    let body = json!({"invitation": invitation.token, "username": "late", "password": PASSWORD});
    assert_eq!(
        world.post("/v1/accounts", None, body).await.problem(),
        ProblemCode::InvitationRefused
    );
}

#[tokio::test]
async fn refusals_of_one_name_get_ten_records_a_minute_and_one_that_counts_the_rest() {
    let (world, _, _) = World::with_two().await;
    for _ in 0..25 {
        world.log_in("alice", "wrong password").await;
    }
    assert_eq!(world.audited(Act::LoginRefused).await, 10);
    assert_eq!(world.audited(Act::RefusalsCounted).await, 0);
    world.hand.advance(Duration::from_secs(60));
    world.identity.upkeep(&world.clock.context()).await.unwrap();
    assert_eq!(world.audited(Act::RefusalsCounted).await, 1);
    let counted = world.audit().await.pop().unwrap();
    let payload: Value = serde_json::from_slice(&counted.payload.unwrap()).unwrap();
    assert_eq!(payload["count"], 15);
}

#[tokio::test]
async fn a_mistyped_name_is_not_written_down() {
    let (world, _, _) = World::with_two().await;
    world.log_in("hunter2-secret", PASSWORD).await;
    let payloads: Vec<_> = world
        .audit()
        .await
        .into_iter()
        .filter_map(|record| record.payload)
        .collect();
    assert!(
        payloads
            .iter()
            .all(|payload| !String::from_utf8_lossy(payload).contains("hunter2"))
    );
}
