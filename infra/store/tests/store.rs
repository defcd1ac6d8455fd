//! The store's promises, on a real database in a temporary folder.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use unhidra_store::{
    CommitFeed, Depth, Event, Health, Room, Store, StoreError, Tx,
    backup::{self, Restoration, VOID_NUMBERS},
    conversation::{Conversation, Kind},
    entry::{Capsule, EntryKey, NewEntry, PageLimit, Recipients, Swept},
    examine,
};
use unhidra_types::{ConversationId, DeviceId, MsgId, OrgId, Timestamp, UserId};

const ALICE: UserId = UserId::from_bytes([1; 16]);
const BOB: UserId = UserId::from_bytes([2; 16]);
const ALICES_DEVICE: DeviceId = DeviceId::from_bytes([3; 16]);
const BOBS_DEVICE: DeviceId = DeviceId::from_bytes([4; 16]);
const CONVERSATION: ConversationId = ConversationId::from_bytes([5; 16]);
const GROUP: ConversationId = ConversationId::from_bytes([6; 16]);
const ORG: OrgId = OrgId::from_bytes([9; 16]);
const LIMIT: PageLimit = PageLimit {
    entries: 100,
    bytes: 64 * 1024,
};
const NOW: Timestamp = Timestamp::from_millis(1_000);

fn open(folder: &Path) -> (Store, CommitFeed) {
    Store::open(&folder.join("test.db"), 2).unwrap()
}

fn open_direct(tx: &mut Tx<'_>) -> Result<Conversation, StoreError> {
    tx.open_conversation(CONVERSATION, ORG, Kind::Direct, &[ALICE, BOB], NOW)
}

fn open_group(tx: &mut Tx<'_>) -> Result<Conversation, StoreError> {
    tx.open_conversation(GROUP, ORG, Kind::Group, &[ALICE, BOB], NOW)
}

fn entry(number: u8) -> NewEntry {
    NewEntry {
        conversation: CONVERSATION,
        msg_id: MsgId::from_bytes([number; 16]),
        sender: ALICE,
        sender_device: ALICES_DEVICE,
        dest: None,
        attempt: 0,
        server_time: NOW,
        recipients: Recipients::Capsules(vec![Capsule {
            device: BOBS_DEVICE,
            kind: 2,
            sealed: Bytes::from(vec![number; 170]),
        }]),
        body: Bytes::from(vec![number; 300]),
    }
}

fn group_entry(number: u8) -> NewEntry {
    NewEntry {
        conversation: GROUP,
        recipients: Recipients::Members,
        ..entry(number)
    }
}

#[tokio::test]
async fn concurrent_appends_get_numbers_without_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let log = store.write(open_direct).await.unwrap().log;
    let appends = (1..=200).map(|number| store.write(move |tx| tx.append_entry(log, &entry(number))));
    let mut seqs = futures_util::future::try_join_all(appends).await.unwrap();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=200).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_failed_act_leaves_nothing_and_its_neighbours_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut feed) = open(folder.path());
    let log = store.write(open_direct).await.unwrap().log;
    let good = store.write(move |tx| tx.append_entry(log, &entry(1)));
    let bad = store.write(move |tx| {
        tx.append_entry(log, &entry(2))?;
        tx.emit(Event::DeviceRevoked(BOBS_DEVICE));
        Err::<(), _>(StoreError::Corrupt("on purpose"))
    });
    let (good, bad) = tokio::join!(good, bad);
    assert_eq!(good.unwrap(), 1);
    assert!(matches!(bad, Err(StoreError::Corrupt("on purpose"))));
    let head = store
        .read(|db| db.conversation(CONVERSATION))
        .await
        .unwrap()
        .unwrap()
        .head;
    assert_eq!(head, 1, "the failed append took no number");
    store.close().await;
    assert!(feed.recv().await.is_none(), "the failed act's event was not told");
}

#[tokio::test]
async fn acts_that_wait_hold_a_bounded_number_of_bytes() {
    const MOST_OF_IT: usize = 40 * 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let (open_gate, gate) = std::sync::mpsc::sync_channel::<()>(1);
    let waiting = store.write(move |_| {
        gate.recv().unwrap();
        Ok::<_, StoreError>(())
    });
    let unsaved = Arc::new(AtomicUsize::new(0));
    let hold = || {
        let unsaved = Arc::clone(&unsaved);
        let told = move || {
            unsaved.fetch_add(1, Ordering::Relaxed);
        };
        store.write_holding(MOST_OF_IT, |_| Ok::<_, StoreError>(()), told)
    };
    let (first, second) = (hold(), hold());
    assert_eq!(unsaved.load(Ordering::Relaxed), 1, "told at once");
    assert!(matches!(second.await, Err(StoreError::Overloaded)));
    let small = store.write(|_| Ok::<_, StoreError>(()));
    open_gate.send(()).unwrap();
    for act in [waiting.await, first.await, small.await, hold().await] {
        act.unwrap();
    }
    assert_eq!(unsaved.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_was_acknowledged_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let log = store.write(open_direct).await.unwrap().log;
    store
        .write(move |tx| tx.append_entry(log, &entry(7)))
        .await
        .unwrap();
    store.close().await;
    assert!(matches!(store.write(open_direct).await, Err(StoreError::Closed)));

    let (store, _feed) = open(folder.path());
    let entries = store
        .read(move |db| db.entries(log, 1, 10, LIMIT))
        .await
        .unwrap()
        .entries;
    assert_eq!(entries[0].body.as_deref(), Some([7; 300].as_slice()));
}

#[tokio::test]
async fn a_retry_finds_the_first_append() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let log = store.write(open_direct).await.unwrap().log;
    store
        .write(move |tx| tx.append_entry(log, &entry(1)))
        .await
        .unwrap();
    let place = |dest| {
        let key = EntryKey {
            dest,
            ..entry(1).key()
        };
        store.write(move |tx| tx.place_of(log, &key))
    };
    assert_eq!(place(None).await.unwrap().unwrap().seq, 1);
    assert_eq!(place(Some(BOBS_DEVICE)).await.unwrap(), None);
}

#[tokio::test]
async fn the_same_message_id_in_another_conversation_is_another_message() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let direct = store.write(open_direct).await.unwrap().log;
    let group = store.write(open_group).await.unwrap().log;
    for number in 1..=2 {
        store
            .write(move |tx| tx.append_entry(direct, &entry(number)))
            .await
            .unwrap();
    }
    let place = |log| store.write(move |tx| tx.place_of(log, &entry(2).key()));
    assert_eq!(place(group).await.unwrap(), None);
    store
        .write(move |tx| tx.append_entry(group, &group_entry(2)))
        .await
        .unwrap();
    assert_eq!(place(direct).await.unwrap().unwrap().seq, 2);
    assert_eq!(place(group).await.unwrap().unwrap().seq, 1);
}

#[tokio::test]
async fn the_last_accepted_message_is_one_of_a_direct_conversation() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let direct = store.write(open_direct).await.unwrap().log;
    let group = store.write(open_group).await.unwrap().log;
    let last = || store.read(|db| db.last_accepted(ALICES_DEVICE));
    store
        .write(move |tx| tx.append_entry(group, &group_entry(1)))
        .await
        .unwrap();
    assert_eq!(last().await.unwrap(), None);
    store
        .write(move |tx| tx.append_entry(direct, &entry(2)))
        .await
        .unwrap();
    store
        .write(move |tx| tx.append_entry(group, &group_entry(3)))
        .await
        .unwrap();
    assert_eq!(last().await.unwrap(), Some(entry(2).msg_id));
}

#[tokio::test]
async fn a_body_goes_when_its_last_capsule_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let log = store.write(open_direct).await.unwrap().log;
    store
        .write(move |tx| tx.append_entry(log, &entry(1)))
        .await
        .unwrap();
    store
        .write(move |tx| tx.append_entry(log, &entry(2)))
        .await
        .unwrap();
    store
        .write(move |tx| tx.acknowledge(ALICES_DEVICE, log, Kind::Direct, 2))
        .await
        .unwrap();
    store
        .write(move |tx| tx.acknowledge(BOBS_DEVICE, log, Kind::Direct, 1))
        .await
        .unwrap();
    let entries = store
        .read(move |db| db.entries_for_device(log, BOBS_DEVICE, 1, 2, LIMIT))
        .await
        .unwrap()
        .entries;
    assert!(entries[0].capsule.is_none() && entries[0].body.is_none());
    assert!(entries[1].capsule.is_some() && entries[1].body.is_some());
    let bodies = store.read(move |db| db.entries(log, 1, 2, LIMIT)).await.unwrap();
    assert_eq!(
        bodies
            .entries
            .iter()
            .map(|e| e.body.is_some())
            .collect::<Vec<_>>(),
        [false, true]
    );
}

#[tokio::test]
async fn retention_takes_only_what_is_older_than_the_cutoff() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let log = store.write(open_direct).await.unwrap().log;
    store
        .write(move |tx| tx.append_entry(log, &entry(1)))
        .await
        .unwrap();
    let late = NewEntry {
        server_time: Timestamp::from_millis(9_000),
        ..entry(2)
    };
    store.write(move |tx| tx.append_entry(log, &late)).await.unwrap();
    let swept = store
        .write(|tx| tx.expire_bodies(0, Timestamp::from_millis(5_000), 100))
        .await
        .unwrap();
    assert_eq!(
        swept,
        Some(Swept {
            through: 2,
            settled: 1
        })
    );
    let bodies = store.read(move |db| db.entries(log, 1, 2, LIMIT)).await.unwrap();
    assert_eq!(
        bodies
            .entries
            .iter()
            .map(|e| e.body.is_some())
            .collect::<Vec<_>>(),
        [false, true]
    );
}

#[tokio::test]
async fn retention_goes_by_dates_when_the_clock_has_stepped_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let log = store.write(open_direct).await.unwrap().log;
    for (number, taken_at) in [(1, 1_000), (2, 9_000), (3, 2_000)] {
        let dated = NewEntry {
            server_time: Timestamp::from_millis(taken_at),
            ..entry(number)
        };
        store.write(move |tx| tx.append_entry(log, &dated)).await.unwrap();
    }
    let sweep =
        |after, cutoff| store.write(move |tx| tx.expire_bodies(after, Timestamp::from_millis(cutoff), 100));
    let swept = sweep(0, 5_000).await.unwrap();
    assert_eq!(
        swept,
        Some(Swept {
            through: 3,
            settled: 1
        })
    );
    let held = async || {
        let bodies = store.read(move |db| db.entries(log, 1, 3, LIMIT)).await.unwrap();
        bodies
            .entries
            .iter()
            .map(|e| e.body.is_some())
            .collect::<Vec<_>>()
    };
    assert_eq!(held().await, [false, true, false]);
    sweep(1, 10_000).await.unwrap();
    assert_eq!(held().await, [false, false, false]);
}

#[tokio::test]
async fn a_page_ends_at_its_budget_but_holds_at_least_one_entry() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let log = store.write(open_direct).await.unwrap().log;
    for number in 1..=4 {
        store
            .write(move |tx| tx.append_entry(log, &entry(number)))
            .await
            .unwrap();
    }
    let page = async |entries, bytes| {
        let page = store.read(move |db| db.entries(log, 1, 9, PageLimit { entries, bytes }));
        let page = page.await.unwrap();
        (page.entries.len(), page.through)
    };
    assert_eq!(page(100, 1).await, (1, 1));
    assert_eq!(page(100, 301).await, (2, 2));
    assert_eq!(page(3, usize::MAX).await, (3, 3));
    // Nothing is left out: what it covers beyond the last entry is void.
    assert_eq!(page(100, usize::MAX).await, (4, 9));
}

#[tokio::test]
async fn a_new_device_begins_at_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let log = store.write(open_direct).await.unwrap().log;
    store
        .write(move |tx| tx.append_entry(log, &entry(1)))
        .await
        .unwrap();
    let new = DeviceId::from_bytes([8; 16]);
    store
        .write(move |tx| tx.begin_cursors_at_head(new, BOB))
        .await
        .unwrap();
    let positions = store.read(move |db| db.positions(BOB, new, 10)).await.unwrap();
    assert_eq!((positions[0].acknowledged, positions[0].head), (1, 1));
}

#[tokio::test]
async fn a_copy_is_one_moment_of_a_database_that_is_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let log = store.write(open_direct).await.unwrap().log;
    // Both logs of an act or none: what is committed together is copied together.
    let other = store.write(open_group).await.unwrap().log;
    let appending = async {
        for number in 1..=100 {
            let act = move |tx: &mut Tx<'_>| {
                tx.append_entry(log, &entry(number))?;
                tx.append_entry(other, &entry(number))
            };
            store.write(act).await.unwrap();
        }
    };
    let (from, to) = (folder.path().join("test.db"), folder.path().join("copy.db"));
    let copying = tokio::task::spawn_blocking(move || {
        let copied = backup::copy(&from, &to).unwrap();
        (copied, to)
    });
    let ((), copied) = futures_util::join!(appending, copying);
    let (copied, to) = copied.unwrap();
    assert_eq!(
        (copied.schema, copied.audit_records),
        (examine(&to, Depth::Full).unwrap().known, 0)
    );
    let (copy, _feed) = Store::open(&to, 1).unwrap();
    let heads =
        copy.read(|db| Ok::<_, StoreError>((db.conversation(CONVERSATION)?, db.conversation(GROUP)?)));
    let (one, two) = heads.await.unwrap();
    assert_eq!(one.unwrap().head, two.unwrap().head);
    store.close().await;
}

#[tokio::test]
async fn no_number_is_given_twice_after_a_restore() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let log = store.write(open_direct).await.unwrap().log;
    let append = |number| store.write(move |tx| tx.append_entry(log, &entry(number)));
    append(1).await.unwrap();
    let restoration = |at| Restoration {
        backup_at: Timestamp::from_millis(at),
        restored_at: Timestamp::from_millis(at + 1),
    };
    for (round, at) in [(1, 10), (2, 20)] {
        let resumed = store
            .write(move |tx| tx.resume_from_backup(restoration(at)))
            .await
            .unwrap();
        assert_eq!(resumed.logs, 1);
        assert_eq!(
            append(round + 1).await.unwrap(),
            u64::from(round) * VOID_NUMBERS + 1 + u64::from(round)
        );
    }
    let last = store.read(|db| db.last_restoration()).await.unwrap();
    assert_eq!(last, Some(restoration(20)));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    store.close().await;
    let path = folder.path().join("test.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 9_999)
        .unwrap();
    let error = Store::open(&path, 1).err().unwrap();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("newer"), "{cause}");
}

/// Anyone of the organisation can put a user into any number of groups.
#[tokio::test]
async fn groups_displace_no_direct_conversation_from_what_a_device_follows() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    store.write(open_group).await.unwrap();
    store.write(open_direct).await.unwrap();
    let positions = store.read(|db| db.positions(BOB, BOBS_DEVICE, 1)).await.unwrap();
    assert_eq!(positions[0].conversation, CONVERSATION);
}

#[tokio::test]
async fn a_disk_that_is_short_of_room_takes_what_holds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let log = store.write(open_direct).await.unwrap().log;
    store.set_room(Room::Short);
    let refused = store
        .write_holding(1, move |tx| tx.append_entry(log, &entry(1)), || ())
        .await;
    assert!(matches!(refused, Err(StoreError::DiskFull)));
    store
        .write(move |tx| tx.found_organisation(ORG, NOW))
        .await
        .unwrap();
    assert_eq!(store.health(), Health::Short);
    store.set_room(Room::Ample);
    store
        .write_holding(1, move |tx| tx.append_entry(log, &entry(1)), || ())
        .await
        .unwrap();
    store.probe().await.unwrap();
    assert_eq!(store.health(), Health::Good);
}
