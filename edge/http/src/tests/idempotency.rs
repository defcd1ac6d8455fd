//! `Idempotency-Key`: what is sent again is done once.

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use unhidra_audit::Act;
use unhidra_crypto::hash::sha256;
use unhidra_store::{
    StoreError,
    idempotency::{MAX_KEYS, RepeatError, Repeatable},
};
use unhidra_types::OrgId;
use unhidra_wire::rest::{Conversation, Enrolment, Invitation, ProblemCode, Role};

use super::world::{Answer, DAY, PASSWORD, World};

async fn keyed(world: &World, path: &str, token: Option<&str>, key: &str, body: &Value) -> Answer {
    let mut request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    world
        .send(request.body(Body::from(body.to_string())).unwrap())
        .await
}

/// Why a key was not kept.
#[derive(Debug)]
#[expect(dead_code, reason = "shown when the test fails")]
enum Refused {
    Store(StoreError),
    Repeat(RepeatError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RepeatError> for Refused {
    fn from(error: RepeatError) -> Self {
        Self::Repeat(error)
    }
}

fn invite(expires_in: u32) -> Value {
    json!({"role": Role::Member, "expires_in": expires_in})
}

#[tokio::test]
async fn an_invitation_that_is_asked_for_again_is_the_same_one() {
    let (world, root, _) = World::with_two().await;
    let before = world.audited(Act::InvitationMade).await;
    let path = "/v1/admin/invitations";
    let first: Invitation = keyed(&world, path, Some(root.access()), "one", &invite(60))
        .await
        .created();
    let again: Invitation = keyed(&world, path, Some(root.access()), "one", &invite(60))
        .await
        .created();
    assert_eq!(first.token.expose(), again.token.expose());
    assert_eq!(first.invitation_id, again.invitation_id);
    assert_eq!(world.audited(Act::InvitationMade).await, before + 1);

    let other: Invitation = keyed(&world, path, Some(root.access()), "two", &invite(60))
        .await
        .created();
    assert_ne!(first.token.expose(), other.token.expose());
    let refused = keyed(&world, path, Some(root.access()), "one", &invite(61)).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            ProblemCode::IdempotencyKeyReused
        )
    );
}

#[tokio::test]
async fn of_many_at_once_one_opens_the_group_and_all_get_it() {
    let (world, root, alice) = World::with_two().await;
    let body = json!({"kind": "group", "members": [alice.user]});
    let ask = || keyed(&world, "/v1/conversations", Some(root.access()), "same", &body);
    let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
    let opened: Vec<Conversation> = [a, b, c, d].into_iter().map(Answer::ok).collect();
    assert!(
        opened
            .iter()
            .all(|one| one.conversation_id == opened[0].conversation_id && one.members.len() == 2)
    );
    assert_eq!(world.audited(Act::ConversationOpened).await, 1);

    let others = keyed(&world, "/v1/conversations", Some(alice.access()), "same", &body).await;
    let others: Conversation = others.ok();
    assert_ne!(
        others.conversation_id, opened[0].conversation_id,
        "a key is its user's alone"
    );
}

#[tokio::test]
async fn an_account_is_opened_once_and_only_its_password_gets_the_answer_again() {
    let (world, root, _) = World::with_two().await;
    let invitation: Invitation = world
        .post("/v1/admin/invitations", Some(root.access()), invite(60))
        .await
        .created();
    let body = |password: &str| json!({"invitation": invitation.token.expose(), "username": "bob", "password": password});
    let path = "/v1/accounts";
    let first: Enrolment = keyed(&world, path, None, "k", &body(PASSWORD)).await.created();
    let again: Enrolment = keyed(&world, path, None, "k", &body(PASSWORD)).await.created();
    assert_eq!(first.user_id, again.user_id);
    assert_eq!(
        keyed(&world, path, None, "k", &body("another password"))
            .await
            .problem(),
        ProblemCode::IdempotencyKeyReused
    );
    assert_eq!(
        keyed(&world, path, None, "other", &body(PASSWORD))
            .await
            .problem(),
        ProblemCode::InvitationRefused
    );
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day_and_nothing_of_an_answer_lies_in_the_database_in_clear() {
    let (world, root, _) = World::with_two().await;
    let path = "/v1/admin/invitations";
    let first: Invitation = keyed(&world, path, Some(root.access()), "one", &invite(60))
        .await
        .created();
    for file in ["unhidra.db", "unhidra.db-wal"] {
        let bytes = std::fs::read(world.folder().join(file)).unwrap_or_default();
        let token = first.token.expose().as_bytes();
        assert!(
            !bytes.windows(token.len()).any(|window| window == token),
            "{file}"
        );
    }
    world.hand.advance(DAY);
    world.identity.upkeep(&world.clock.context()).await.unwrap();
    let enrolment: Enrolment = world.log_in("root", PASSWORD).await.ok();
    let tokens = root.devices[0]
        .begin_session(&world, enrolment.enrol_token.expose())
        .await;
    let tokens: unhidra_wire::rest::Tokens = tokens.created();
    let token = tokens.access_token.expose();
    let again: Invitation = keyed(&world, path, Some(token), "one", &invite(60))
        .await
        .created();
    assert_ne!(first.token.expose(), again.token.expose());
}

#[tokio::test]
async fn keys_have_a_form_and_a_bound() {
    let (world, root, alice) = World::with_two().await;
    let body = json!({"kind": "group", "members": [alice.user]});
    let long = "x".repeat(129);
    for key in ["", "two words", long.as_str()] {
        let refused = keyed(&world, "/v1/conversations", Some(root.access()), key, &body).await;
        assert_eq!(refused.problem(), ProblemCode::Malformed, "{key:?}");
    }
    let first = keyed(&world, "/v1/conversations", Some(root.access()), "0", &body).await;
    assert_eq!(first.status, StatusCode::OK);
    let (owner, now) = (root.user, world.now());
    let filling = world.store.write::<_, Refused, _>(move |tx| {
        for number in 1..MAX_KEYS {
            let asked = Repeatable {
                key: sha256(&[&number.to_be_bytes()]),
                request: [0; 32],
                owner: *owner.as_bytes(),
                org: OrgId::from_bytes([0; 16]),
            };
            tx.keep_answer::<Refused>(Some(&asked), b"", now)?;
        }
        Ok(())
    });
    filling.await.unwrap();
    let refused = keyed(&world, "/v1/conversations", Some(root.access()), "more", &body).await;
    assert_eq!(refused.problem(), ProblemCode::TooMany);
    assert_eq!(
        keyed(&world, "/v1/conversations", Some(root.access()), "0", &body)
            .await
            .status,
        StatusCode::OK
    );
}
