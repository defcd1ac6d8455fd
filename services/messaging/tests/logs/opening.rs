//! Opening conversations, and finding them again.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use unhidra_audit::{Act, Actor, Details, Record, Subject};
use unhidra_messaging::{
    access::{Sender, facts},
    conversation::{MAX_MEMBERS, OpenError},
    delivery::history,
};
use unhidra_store::{CommitFeed, Event, audit::AuditRecord};
use unhidra_types::{ConversationId, UserId};
use unhidra_wire::rest::{ConversationKind, OpenConversation};

use crate::fixture::{AWAY, HOME, NOW, Server, context, plain, sender, user};

fn opened(feed: &mut CommitFeed) -> Vec<(ConversationId, Vec<UserId>)> {
    std::iter::from_fn(|| feed.try_recv().ok())
        .flatten()
        .filter_map(|event| match event {
            Event::Opened {
                conversation,
                members,
            } => Some((conversation, members)),
            _ => None,
        })
        .collect()
}

async fn records(server: &Server) -> Vec<AuditRecord> {
    server.store.read(|db| db.audit_records(0, 10_000)).await.unwrap()
}

async fn refused(server: &Server, caller: Sender, request: OpenConversation) -> OpenError {
    let error = server
        .messaging
        .open(caller, request, &context())
        .await
        .unwrap_err();
    assert!(
        records(server).await.is_empty(),
        "a refusal was recorded as opened"
    );
    let listed = server
        .messaging
        .conversations(caller.user, ConversationId::CONTROL, 256);
    assert!(listed.await.unwrap().conversations.is_empty());
    error
}

#[tokio::test]
async fn a_direct_conversation_opened_again_from_either_side_is_the_same_one() {
    let (server, mut feed) = Server::with_feed().await;
    let alice = sender(server.user(10, HOME).await, crate::fixture::device(user(10), 1));
    let bob = sender(server.user(11, HOME).await, crate::fixture::device(user(11), 1));
    let context = context();
    let many = (0..6).map(|number| {
        let (caller, peer) = if number % 2 == 0 {
            (alice, bob.user)
        } else {
            (bob, alice.user)
        };
        let request = OpenConversation::Direct { peer };
        server.messaging.open(caller, request, &context)
    });
    let mut ids = BTreeSet::new();
    for answer in join_all(many).await {
        let answer = answer.unwrap();
        assert_eq!(answer.members, [alice.user, bob.user]);
        assert!(matches!(answer.kind, ConversationKind::Direct));
        ids.insert(answer.conversation_id);
    }
    let expected = unhidra_chain::direct::direct_conversation(alice.user, bob.user);
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), [expected]);
    assert_eq!(opened(&mut feed), [(expected, vec![alice.user, bob.user])]);
    assert_eq!(records(&server).await.len(), 1);
}

#[tokio::test]
async fn an_opened_conversation_is_in_the_audit_log_with_who_when_and_which() {
    let server = Server::new().await;
    let (alice, bob) = (server.user(10, HOME).await, server.user(11, HOME).await);
    let alice = sender(alice, server.certify(alice, 1).await);
    let context = context();
    let request = OpenConversation::Group { members: vec![bob] };
    let opened = server.messaging.open(alice, request, &context).await.unwrap();
    let expected = Record {
        at: NOW,
        org: Some(HOME),
        actor: Actor::Device {
            user: alice.user,
            device: alice.device,
        },
        act: Act::ConversationOpened,
        subject: Subject::Conversation(opened.conversation_id),
        request: *context.request_id.as_bytes(),
        details: Details::default(),
    };
    let records = records(&server).await;
    let headers: Vec<_> = records.iter().map(|record| record.header.clone()).collect();
    assert_eq!(headers, [expected.header()]);
}

#[tokio::test]
async fn whoever_is_not_of_the_callers_organisation_is_an_unknown_user() {
    let server = Server::new().await;
    let alice = sender(server.user(10, HOME).await, crate::fixture::device(user(10), 1));
    let (bob, stranger) = (server.user(11, HOME).await, server.user(12, AWAY).await);
    for peer in [stranger, user(99)] {
        let error = refused(&server, alice, OpenConversation::Direct { peer }).await;
        assert!(matches!(error, OpenError::UnknownUser), "{error:?}");
        let members = vec![bob, peer];
        let error = refused(&server, alice, OpenConversation::Group { members }).await;
        assert!(matches!(error, OpenError::UnknownUser), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_opens_a_direct_conversation_alone() {
    let server = Server::new().await;
    let alice = sender(server.user(10, HOME).await, crate::fixture::device(user(10), 1));
    let request = OpenConversation::Direct { peer: alice.user };
    assert!(matches!(
        refused(&server, alice, request).await,
        OpenError::WithSelf
    ));
}

#[tokio::test]
async fn a_group_beyond_its_bound_is_refused() {
    let server = Server::new().await;
    let alice = sender(server.user(10, HOME).await, crate::fixture::device(user(10), 1));
    let mut members: Vec<_> = (0..MAX_MEMBERS)
        .map(|number| UserId::from_bytes(number.to_be_bytes().repeat(2).try_into().unwrap()))
        .collect();
    let group = |members: &[UserId]| OpenConversation::Group {
        members: members.to_vec(),
    };
    let error = refused(&server, alice, group(&members)).await;
    assert!(matches!(error, OpenError::TooManyMembers));
    // The caller is one of them, named or not.
    members[0] = alice.user;
    let error = refused(&server, alice, group(&members)).await;
    assert!(matches!(error, OpenError::UnknownUser), "{error:?}");
}

#[tokio::test]
async fn a_group_names_each_member_once_and_its_creator_too() {
    let (server, mut feed) = Server::with_feed().await;
    let alice = sender(server.user(10, HOME).await, crate::fixture::device(user(10), 1));
    let bob = server.user(11, HOME).await;
    let group = server.open_group(alice, &[bob, alice.user, bob]).await;
    assert_eq!(opened(&mut feed), [(group, vec![alice.user, bob])]);
    assert_ne!(
        server.open_group(alice, &[bob]).await,
        group,
        "each group is a new one"
    );
}

#[tokio::test]
async fn a_listing_comes_in_pages_and_holds_everything_once() {
    const PAGE: u32 = 5;
    let server = Server::new().await;
    let alice = sender(server.user(10, HOME).await, crate::fixture::device(user(10), 1));
    let bob = server.user(11, HOME).await;
    let total = PAGE as usize + 1;
    let others = [bob];
    let opening = (0..total).map(|_| server.open_group(alice, &others));
    let groups: BTreeSet<_> = join_all(opening).await.into_iter().collect();
    assert_eq!(groups.len(), total);
    let first = server.messaging.conversations(bob, ConversationId::CONTROL, PAGE);
    let first = first.await.unwrap();
    let second = server.messaging.conversations(bob, first.next.unwrap(), PAGE);
    let second = second.await.unwrap();
    assert_eq!(
        (first.conversations.len(), second.conversations.len()),
        (PAGE as usize, 1)
    );
    assert_eq!(second.next, None);
    let listed = first.conversations.iter().chain(&second.conversations);
    assert!(listed.map(|one| one.conversation_id).eq(groups));
}

#[tokio::test]
async fn a_history_is_a_members_and_comes_in_bounded_pages() {
    let server = Server::new().await;
    let alice = server.user(10, HOME).await;
    let alice = sender(alice, server.certify(alice, 1).await);
    let carol = server.user(12, HOME).await;
    let group = server.open_group(alice, &[server.user(11, HOME).await]).await;
    for number in 1..=3 {
        server.append(alice, plain(group, number)).await.unwrap();
    }
    let page = async |user, after, limit| {
        let reading = server
            .store
            .read(move |db| history(db, user, group, after, limit));
        let page = reading.await.unwrap();
        page.map(|page| {
            (
                page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
                page.head,
            )
        })
    };
    assert_eq!(page(carol, 0, 10).await, None);
    assert_eq!(page(alice.user, 0, 2).await, Some((vec![1, 2], 3)));
    assert_eq!(page(alice.user, 2, u64::MAX).await, Some((vec![3], 3)));
    assert_eq!(page(alice.user, 0, 0).await, Some((vec![1], 3)));
    assert_eq!(page(alice.user, u64::MAX, u64::MAX).await, Some((vec![], 3)));
}

#[tokio::test]
async fn an_account_of_later_is_not_in_what_was_opened_before() {
    let server = Server::new().await;
    let (alice, _, chat) = server.two().await;
    let late = sender(server.user(12, HOME).await, crate::fixture::device(user(12), 1));
    let position = server.messaging.position(late.user, late.device, chat).await;
    assert_eq!(position.unwrap(), None);
    let of = async |user| server.store.read(move |db| facts(db, chat, user)).await.unwrap();
    assert_ne!(of(late.user).await, of(alice.user).await);
}
