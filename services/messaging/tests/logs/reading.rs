//! Pages, cursors, and bodies that nobody collects.

use std::time::Duration;

use unhidra_messaging::delivery::history;
use unhidra_runtime::{Clock, Stage, Tasks, Weight};
use unhidra_types::DeviceId;
use unhidra_wire::frame::{Append, ServerFrame};

use crate::fixture::{NOW, Server, decoded, plain, sender};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn skip(frame: &ServerFrame) -> Option<(u64, u64)> {
    match frame {
        ServerFrame::Skip { from, to, .. } => Some((*from, *to)),
        _ => None,
    }
}

#[tokio::test]
async fn what_holds_nothing_for_a_device_comes_as_one_skip() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    for (number, from) in [(1, alice), (2, bob), (3, alice), (4, alice), (5, alice), (6, bob)] {
        server.append(from, plain(group, number)).await.unwrap();
    }
    let to_alice = decoded(&server.page(alice, group, 1).await);
    let skips: Vec<_> = to_alice.iter().map(skip).collect();
    assert_eq!(skips, [Some((1, 1)), None, Some((3, 5)), None]);
}

#[tokio::test]
async fn numbers_that_a_restore_left_void_cost_one_skip_however_many_they_are() {
    const VOID: u64 = unhidra_store::backup::VOID_NUMBERS;
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    server.append(alice, plain(group, 1)).await.unwrap();
    server.restored().await;
    server.append(alice, plain(group, 2)).await.unwrap();
    let head = server.conversation(group).await.head;
    assert_eq!(head, VOID + 2);
    let page = server.page(bob, group, 1).await;
    let skips: Vec<_> = decoded(&page).iter().map(skip).collect();
    assert_eq!(
        (skips, page.through),
        (vec![None, Some((2, VOID + 1)), None], head)
    );
    // To its sender all of it is one.
    let to_alice = decoded(&server.page(alice, group, 1).await);
    assert_eq!(to_alice.iter().map(skip).collect::<Vec<_>>(), [Some((1, head))]);
    // Whoever asks for a few of them gets them all, as far as the connection has come.
    let fetched = server.fetch(bob, group, (2, 257), head).await;
    let skips: Vec<_> = decoded(&fetched).iter().map(skip).collect();
    assert_eq!((skips, fetched.through), (vec![Some((2, VOID + 1))], VOID + 1));
    assert_eq!(server.fetch(bob, group, (2, 257), 300).await.through, 300);
    // A history goes on behind them.
    let reading = server.store.read(move |db| history(db, bob.user, group, 1, 10));
    let history = reading.await.unwrap().unwrap();
    assert_eq!(
        history.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        [head]
    );
}

#[tokio::test]
async fn a_page_ends_at_256_entries() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    let append = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let mut id = [1; 16];
        id[..2].copy_from_slice(&[high, low]);
        let append = Append {
            msg_id: unhidra_types::MsgId::from_bytes(id),
            ..plain(group, 1)
        };
        server.append(alice, append)
    };
    futures_util::future::try_join_all((0..300).map(append))
        .await
        .unwrap();
    for (reader, frames) in [(bob, 256), (alice, 1)] {
        let page = server.page(reader, group, 1).await;
        assert_eq!((page.through, page.frames.len()), (256, frames));
        assert_eq!(server.page(reader, group, 257).await.through, 300);
    }
    assert_eq!(server.page(bob, group, 301).await.through, 300);
}

#[tokio::test]
async fn a_cursor_moves_forward_only() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    for number in 1..=5 {
        server.append(alice, plain(group, number)).await.unwrap();
    }
    for (seq, expected) in [(3, 3), (2, 3), (0, 3), (5, 5)] {
        server.acknowledge(bob, group, seq).await;
        let positions = server.messaging.positions(bob.user, bob.device).await.unwrap();
        let position = positions.iter().find(|position| position.conversation == group);
        assert_eq!(position.unwrap().acknowledged, expected);
    }
}

#[tokio::test]
async fn a_cursor_counts_at_once_and_is_stored_before_the_server_stops() {
    let server = Server::new().await;
    let (alice, bob, _) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    server.append(alice, plain(group, 1)).await.unwrap();
    let log = server.log(bob, group).await;
    let tasks = Tasks::new();
    let keeper = server.messaging.clone();
    tasks.spawn(Stage::Worker, "cursors", Weight::Critical, async move |stop| {
        keeper.keep_cursors(stop).await
    });
    server.messaging.acknowledge(bob.device, log, 1);
    let position = server.messaging.position(bob.user, bob.device, group).await;
    assert_eq!(position.unwrap().unwrap().acknowledged, 1);
    let ended = tasks.shutdown(HOUR).await;
    assert!(ended.aborted.is_empty(), "{ended:?}");
    let stored = server
        .store
        .read(move |db| db.acknowledged(bob.device, log.number));
    assert_eq!(stored.await.unwrap(), 1);
}

#[tokio::test]
async fn a_body_stays_until_the_last_device_with_a_capsule_has_it() {
    let server = Server::new().await;
    let (alice, bob, chat) = server.two().await;
    let tablet = sender(bob.user, server.certify(bob.user, 2).await);
    let append = server.sealed(chat, 1, &[bob.device, tablet.device]).await;
    server.append(alice, append).await.unwrap();
    let left = async || {
        let (entry, capsules) = server.stored(chat).await.remove(0);
        (entry.body.is_some(), capsules)
    };
    server.acknowledge(alice, chat, 1).await;
    assert_eq!(left().await, (true, 2), "the sender's cursor deletes nothing");
    server.acknowledge(bob, chat, 1).await;
    assert_eq!(left().await, (true, 1));
    server.acknowledge(tablet, chat, 1).await;
    assert_eq!(left().await, (false, 0));
    assert_eq!(
        decoded(&server.page(bob, chat, 1).await)
            .iter()
            .map(skip)
            .collect::<Vec<_>>(),
        [Some((1, 1))]
    );
}

#[tokio::test]
async fn a_new_device_begins_at_the_head_of_every_log_and_at_the_start_of_later_ones() {
    let server = Server::new().await;
    let (alice, bob, chat) = server.two().await;
    let append = server.sealed(chat, 1, &[bob.device]).await;
    server.append(alice, append).await.unwrap();
    let tablet: DeviceId = server.certify(bob.user, 2).await;
    let group = server.open_group(alice, &[bob.user]).await;
    server.append(alice, plain(group, 2)).await.unwrap();
    let positions = server.messaging.positions(bob.user, tablet).await.unwrap();
    let mut places: Vec<_> = positions
        .iter()
        .map(|position| (position.conversation, position.acknowledged, position.head))
        .collect();
    places.sort_unstable_by_key(|(conversation, ..)| *conversation != chat);
    assert_eq!(places, [(chat, 1, 1), (group, 0, 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_hourly_sweep_takes_bodies_of_direct_messages_once_they_are_too_old() {
    let server = Server::new().await;
    let (alice, bob, chat) = server.two().await;
    let group = server.open_group(alice, &[bob.user]).await;
    server.append(alice, plain(group, 9)).await.unwrap();
    for number in 1..=2 {
        let append = server.sealed(chat, number, &[bob.device]).await;
        let at = NOW.saturating_add(DAY * u32::from(number));
        server
            .messaging
            .append(alice, append, &std::sync::Arc::default(), at)
            .await
            .unwrap();
    }
    let (clock, hand) = Clock::manual(NOW);
    let tasks = Tasks::new();
    let sweeper = server.messaging.clone();
    tasks.spawn(Stage::Worker, "retention", Weight::Ordinary, async move |stop| {
        sweeper.expire_bodies(clock, 30 * DAY, stop).await
    });
    let bodies = async |conversation| -> Vec<bool> {
        // The clock stands still for no writer: a sweep is over when acts behind each of its own are.
        for _ in 0..4 {
            tokio::time::sleep(HOUR).await;
            for _ in 0..4 {
                server.write(|_| Ok(())).await;
            }
        }
        let entries = server.stored(conversation).await;
        entries
            .iter()
            .map(|(entry, capsules)| {
                assert!(conversation == group || entry.body.is_some() == (*capsules > 0));
                entry.body.is_some()
            })
            .collect()
    };
    hand.advance(31 * DAY);
    assert_eq!(bodies(chat).await, [true, true], "exactly at the bound it stays");
    hand.advance(Duration::from_millis(1));
    assert_eq!(bodies(chat).await, [false, true]);
    hand.advance(DAY);
    assert_eq!(bodies(chat).await, [false, false]);
    assert_eq!(bodies(group).await, [true]);
    tokio::time::resume();
    let ended = tasks.shutdown(HOUR).await;
    assert!(ended.aborted.is_empty());
}
