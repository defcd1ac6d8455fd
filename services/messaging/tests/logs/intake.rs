//! What an envelope has to be to get a place, and that it gets one.

use std::sync::Arc;

use futures_util::future::join_all;
use unhidra_messaging::{append::AppendError, order::SendOrder};
use unhidra_types::{ConversationId, MsgId, Timestamp};
use unhidra_wire::frame::{Append, Refusal, ServerFrame};

use crate::fixture::{AWAY, HOME, NOW, Server, capsule, decoded, device, plain, refusal, sender, user};

#[tokio::test]
async fn the_same_envelope_again_gets_the_first_place_whatever_else_it_says() {
    let server = Server::new().await;
    let (alice, bob, chat) = server.two().await;
    let first = server.sealed(chat, 1, &[bob.device]).await;
    let place = server.append(alice, first.clone()).await.unwrap();
    let bobs = server.sealed(chat, 1, &[alice.device]).await;
    let of_another_device = server.append(bob, bobs).await.unwrap();
    assert_eq!((place.seq, of_another_device.seq), (1, 2));

    let later = Timestamp::from_millis(NOW.as_millis() + 5);
    let bare = Append {
        list_versions: Vec::new(),
        body: Vec::new().into(),
        capsules: Vec::new(),
        ..first.clone()
    };
    for again in [first, bare] {
        let repeated = server
            .messaging
            .append(alice, again, &Arc::default(), later)
            .await;
        assert_eq!(repeated.unwrap(), place);
    }
    assert_eq!(server.conversation(chat).await.head, 2);
}

#[tokio::test]
async fn the_same_envelope_many_times_at_once_is_taken_once() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    let crowd = (0..40).map(|number| server.append(alice, plain(group, 1 + number % 5)));
    let places = join_all(crowd).await;
    let mut seqs: Vec<_> = places.into_iter().map(|place| place.unwrap().seq).collect();
    assert_eq!(seqs[..5], seqs[35..]);
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
    assert_eq!(server.conversation(group).await.head, 5);
}

#[tokio::test]
async fn an_envelope_is_taken_also_when_nobody_waits_for_the_answer() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    let order = Arc::default();
    drop(server.messaging.append(alice, plain(group, 1), &order, NOW));
    assert_eq!(server.append(alice, plain(group, 2)).await.unwrap().seq, 2);
}

#[tokio::test]
async fn what_was_queued_behind_the_revocation_of_its_device_is_not_taken() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    server.revoke(alice.user, alice.device).await;
    let refused = server.append(alice, plain(group, 1)).await;
    assert_eq!(refusal(refused), Refusal::NotFound);
    assert_eq!(server.conversation(group).await.head, 0);
}

#[tokio::test]
async fn who_is_not_a_member_is_told_what_anyone_is_told_about_no_conversation() {
    let server = Server::new().await;
    let (alice, bob, chat) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    let carol = server.user(12, HOME).await;
    let carol = sender(carol, server.certify(carol, 1).await);
    let mut foreign = sender(server.user(13, AWAY).await, device(user(13), 1));
    foreign.org = AWAY;
    let mut disguised = foreign;
    disguised.org = HOME;
    let nowhere = ConversationId::from_bytes([77; 16]);
    let mut answers = Vec::new();
    for outsider in [carol, foreign, disguised] {
        for there in [chat, group, nowhere] {
            let fitting = server.sealed(chat, 1, &[bob.device]).await;
            for append in [
                plain(there, 1),
                Append {
                    conversation: there,
                    ..fitting
                },
            ] {
                answers.push(format!("{:?}", server.append(outsider, append).await));
            }
        }
    }
    answers.dedup();
    assert_eq!(answers, ["Err(Refused { reason: NotFound, heads: [] })"]);
    for untouched in [chat, group] {
        assert_eq!(server.conversation(untouched).await.head, 0);
    }
}

#[tokio::test]
async fn a_stale_list_is_answered_with_the_current_heads_and_consumes_nothing() {
    let server = Server::new().await;
    let (alice, bob, chat) = server.two().await;
    let old = server.sealed(chat, 1, &[bob.device]).await;
    let tablet = server.certify(bob.user, 2).await;
    let current = server.heads(chat).await;
    assert_ne!(old.list_versions, current);

    let one_only = current[..1].to_vec();
    let twice = vec![current[0], current[0]];
    let mut other_hash = current.clone();
    other_hash[1].head_hash[31] ^= 1;
    let mut ahead = current.clone();
    ahead[0].version += 1;
    let mut of_another = current.clone();
    of_another[0].user = user(99);
    for lists in [
        old.list_versions.clone(),
        Vec::new(),
        one_only,
        twice,
        other_hash,
        ahead,
        of_another,
    ] {
        let stale = Append {
            list_versions: lists.clone(),
            ..old.clone()
        };
        let Err(AppendError::Refused { reason, heads }) = server.append(alice, stale).await else {
            panic!("taken under {lists:?}");
        };
        assert_eq!(
            (reason, heads),
            (Refusal::StaleList, current.clone()),
            "{lists:?}"
        );
    }
    assert_eq!(server.conversation(chat).await.head, 0);
    assert_eq!(server.messaging.arrival(alice).await.unwrap().last_accepted, None);

    let mut sealed_anew = server.sealed(chat, 1, &[bob.device, tablet]).await;
    sealed_anew.list_versions.reverse();
    assert_eq!(server.append(alice, sealed_anew).await.unwrap().seq, 1);
}

#[tokio::test]
async fn a_capsule_reaches_only_live_devices_of_both_users_and_never_the_sending_one() {
    let server = Server::new().await;
    let (alice, bob, chat) = server.two().await;
    let tablet = server.certify(alice.user, 2).await;
    let lost = server.certify(bob.user, 2).await;
    server.revoke(bob.user, lost).await;
    let carol = server.user(12, HOME).await;
    let elses = server.certify(carol, 1).await;
    for wrong in [lost, elses, alice.device, device(bob.user, 77)] {
        for devices in [vec![wrong], vec![bob.device, tablet, wrong]] {
            let append = server.sealed(chat, 1, &devices).await;
            assert_eq!(
                refusal(server.append(alice, append).await),
                Refusal::UnknownDevice,
                "{wrong}"
            );
        }
    }
    assert_eq!(server.conversation(chat).await.head, 0);
    let good = server.sealed(chat, 1, &[bob.device, tablet]).await;
    assert_eq!(server.append(alice, good).await.unwrap().seq, 1);
}

#[tokio::test]
async fn nothing_is_taken_for_a_user_without_a_chain() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let newcomer = server.account(12, HOME).await;
    let chat = server.open_direct(alice, newcomer).await;
    let append = Append {
        capsules: vec![capsule(bob.device)],
        ..plain(chat, 1)
    };
    assert_eq!(
        refusal(server.append(alice, append).await),
        Refusal::UnknownDevice
    );
}

#[tokio::test]
async fn a_groups_envelope_is_a_body_and_nothing_else() {
    let server = Server::new().await;
    let (alice, bob, chat) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    let good = plain(group, 1);
    let wrong = [
        Append {
            capsules: vec![capsule(bob.device)],
            ..good.clone()
        },
        Append {
            list_versions: server.heads(chat).await,
            ..good.clone()
        },
        Append {
            dest: Some(bob.device),
            ..good.clone()
        },
        Append {
            attempt: 1,
            ..good.clone()
        },
        Append {
            body: Vec::new().into(),
            ..good.clone()
        },
    ];
    for append in wrong {
        assert_eq!(refusal(server.append(alice, append).await), Refusal::Malformed);
    }
    assert_eq!(server.append(alice, good).await.unwrap().seq, 1);
}

#[tokio::test]
async fn a_direct_envelope_has_capsules_and_a_body_that_only_a_repair_lacks() {
    let server = Server::new().await;
    let (alice, bob, chat) = server.two().await;
    let good = server.sealed(chat, 1, &[bob.device]).await;
    let wrong = [
        Append {
            capsules: Vec::new(),
            ..good.clone()
        },
        Append {
            body: Vec::new().into(),
            ..good.clone()
        },
        Append {
            attempt: 1,
            dest: Some(bob.device),
            ..good.clone()
        },
    ];
    for append in wrong {
        assert_eq!(refusal(server.append(alice, append).await), Refusal::Malformed);
    }
    let repair = Append {
        attempt: 1,
        dest: Some(bob.device),
        body: Vec::new().into(),
        ..good.clone()
    };
    assert_eq!(server.append(alice, good).await.unwrap().seq, 1);
    assert_eq!(server.append(alice, repair).await.unwrap().seq, 2);
}

#[tokio::test]
async fn the_id_that_means_no_message_names_none() {
    let server = Server::new().await;
    let (alice, bob, chat) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    for append in [plain(group, 1), server.sealed(chat, 1, &[bob.device]).await] {
        let nameless = Append {
            msg_id: MsgId::NONE,
            ..append
        };
        assert_eq!(refusal(server.append(alice, nameless).await), Refusal::Malformed);
    }
}

#[tokio::test]
async fn an_owed_capsule_has_a_place_of_its_own_and_reaches_its_device_alone() {
    let server = Server::new().await;
    let (alice, phone, chat) = server.two().await;
    let tablet = sender(phone.user, server.certify(phone.user, 2).await);
    let first = server.sealed(chat, 1, &[phone.device]).await;
    let owed = Append {
        dest: Some(tablet.device),
        ..server.sealed(chat, 1, &[tablet.device]).await
    };
    for _ in 0..2 {
        assert_eq!(server.append(alice, first.clone()).await.unwrap().seq, 1);
        assert_eq!(server.append(alice, owed.clone()).await.unwrap().seq, 2);
    }
    let delivered = |frames: Vec<ServerFrame>| -> Vec<_> {
        let deliveries = frames.into_iter().filter_map(|frame| match frame {
            ServerFrame::Deliver(entry) => {
                Some((entry.seq, entry.msg_id, entry.capsule.unwrap().device, entry.body))
            }
            _ => None,
        });
        deliveries.collect()
    };
    let to_phone = delivered(decoded(&server.page(phone, chat, 1).await));
    assert_eq!(to_phone, [(1, first.msg_id, phone.device, first.body)]);
    let to_tablet = delivered(decoded(&server.page(tablet, chat, 1).await));
    assert_eq!(to_tablet, [(2, owed.msg_id, tablet.device, owed.body)]);
}

#[tokio::test]
async fn the_last_accepted_message_is_the_last_one_that_has_a_place() {
    let server = Server::new().await;
    let (alice, bob, chat) = server.two().await;
    for number in [1, 2] {
        let append = server.sealed(chat, number, &[bob.device]).await;
        server.append(alice, append).await.unwrap();
    }
    let refused = server.sealed(chat, 3, &[alice.device]).await;
    refusal(server.append(alice, refused).await);
    let arrival = server.messaging.arrival(alice).await.unwrap();
    assert_eq!(arrival.last_accepted, Some(crate::fixture::msg(2)));
    let own_list = arrival.own_list;
    assert!(server.heads(chat).await.contains(&own_list) && own_list.user == alice.user);
}

#[tokio::test]
async fn what_follows_an_envelope_that_was_put_off_waits_until_that_comes_again() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    let order = Arc::new(SendOrder::default());
    let send = |number| server.messaging.append(alice, plain(group, number), &order, NOW);
    server.messaging.put_off(&plain(group, 1), &order);
    for number in [2, 3, 2] {
        assert!(matches!(send(number).await, Err(AppendError::OutOfTurn)));
    }
    for (number, seq) in [(1, 1), (2, 2), (3, 3)] {
        assert_eq!(send(number).await.unwrap().seq, seq);
    }
}

#[tokio::test]
async fn another_connection_that_brings_what_was_put_off_ends_the_waiting() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    let order = Arc::new(SendOrder::default());
    server.messaging.put_off(&plain(group, 1), &order);
    assert_eq!(server.append(alice, plain(group, 1)).await.unwrap().seq, 1);
    let next = server.messaging.append(alice, plain(group, 2), &order, NOW);
    assert_eq!(next.await.unwrap().seq, 2);
}
