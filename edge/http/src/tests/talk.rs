//! Conversations over REST.

use http::StatusCode;
use serde_json::json;
use unhidra_types::MsgId;
use unhidra_wire::{
    base64::Base64,
    rest::{AppendedEntry, Conversation, Conversations, Entries, ProblemCode},
};

use super::world::World;

#[tokio::test]
async fn members_of_a_group_append_and_read_and_outsiders_do_neither() {
    let (world, root, alice) = World::with_two().await;
    let bob = world.member(&root, "bob").await;
    let open = json!({"kind": "group", "members": [alice.user]});
    let group: Conversation = world
        .post("/v1/conversations", Some(root.access()), open)
        .await
        .ok();
    let path = format!("/v1/conversations/{}/entries", group.conversation_id);
    let entry = json!({"msg_id": MsgId::from_bytes([1; 16]), "body": Base64(b"sealed".to_vec())});

    let first: AppendedEntry = world.post(&path, Some(alice.access()), &entry).await.ok();
    let again: AppendedEntry = world.post(&path, Some(alice.access()), &entry).await.ok();
    assert_eq!((first.seq, again), (1, first));
    let entries: Entries = world.get(&path, root.access()).await.ok();
    assert_eq!(entries.entries[0].body.as_ref().unwrap().0, b"sealed");
    let listed: Conversations = world.get("/v1/conversations", alice.access()).await.ok();
    assert_eq!(listed.conversations.len(), 1);
    let rest: Entries = world
        .get(&format!("{path}?after=1&limit=1"), root.access())
        .await
        .ok();
    assert_eq!((rest.entries.len(), rest.head), (0, 1));
    let nonsense = format!("{path}?limit=many");
    assert_eq!(
        world.get(&nonsense, root.access()).await.problem(),
        ProblemCode::Malformed
    );
    assert_eq!(
        world.get(&nonsense, bob.access()).await.problem(),
        ProblemCode::NotFound
    );

    assert_eq!(
        world.get(&path, bob.access()).await.problem(),
        ProblemCode::NotFound
    );
    assert_eq!(
        world.post(&path, Some(bob.access()), &entry).await.problem(),
        ProblemCode::NotFound
    );
}

#[tokio::test]
async fn a_direct_conversation_takes_nothing_over_rest_and_needs_a_peer_who_exists() {
    let (world, root, alice) = World::with_two().await;
    let open = json!({"kind": "direct", "peer": alice.user});
    let direct: Conversation = world
        .post("/v1/conversations", Some(root.access()), open)
        .await
        .ok();
    let path = format!("/v1/conversations/{}/entries", direct.conversation_id);
    let entry = json!({"msg_id": MsgId::from_bytes([1; 16]), "body": Base64(b"x".to_vec())});
    assert_eq!(
        world.post(&path, Some(root.access()), entry).await.problem(),
        ProblemCode::Forbidden
    );
    assert_eq!(world.get(&path, alice.access()).await.status, StatusCode::OK);
    let nobody = json!({"kind": "direct", "peer": unhidra_types::UserId::from_bytes([9; 16])});
    assert_eq!(
        world
            .post("/v1/conversations", Some(root.access()), nobody)
            .await
            .problem(),
        ProblemCode::NotFound
    );
}
