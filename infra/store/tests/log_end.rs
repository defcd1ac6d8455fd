//! What a server does that finds the write-ahead log of its database cut, or ending within a commit.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;

use bytes::Bytes;
use unhidra_store::{
    CommitFeed, Store, StoreError, Tx,
    backup::VOID_NUMBERS,
    conversation::{Conversation, Kind},
    entry::{NewEntry, Recipients},
};
use unhidra_types::{ConversationId, DeviceId, MsgId, OrgId, Timestamp, UserId};

const ALICE: UserId = UserId::from_bytes([1; 16]);
const CONVERSATION: ConversationId = ConversationId::from_bytes([5; 16]);
const NOW: Timestamp = Timestamp::from_millis(1_000);

fn open(folder: &Path) -> (Store, CommitFeed) {
    Store::open(&folder.join("test.db"), 2).unwrap()
}

fn open_group(tx: &mut Tx<'_>) -> Result<Conversation, StoreError> {
    tx.open_conversation(
        CONVERSATION,
        OrgId::from_bytes([9; 16]),
        Kind::Group,
        &[ALICE],
        NOW,
    )
}

fn entry(number: u8) -> NewEntry {
    NewEntry {
        conversation: CONVERSATION,
        msg_id: MsgId::from_bytes([number; 16]),
        sender: ALICE,
        sender_device: DeviceId::from_bytes([3; 16]),
        dest: None,
        attempt: 0,
        server_time: NOW,
        recipients: Recipients::Members,
        body: Bytes::from(vec![number; 300]),
    }
}

/// The database of a server that crashed: its log is still there. Cut at `keep` bytes of the log.
fn crashed(from: &Path, to: &Path, keep: impl Fn(u64) -> u64) -> std::path::PathBuf {
    let path = to.join("test.db");
    std::fs::copy(from.join("test.db"), &path).unwrap();
    std::fs::copy(from.join("test.db-wal"), to.join("test.db-wal")).unwrap();
    let log = std::fs::File::options()
        .write(true)
        .open(to.join("test.db-wal"))
        .unwrap();
    log.set_len(keep(log.metadata().unwrap().len())).unwrap();
    path
}

#[tokio::test]
async fn a_log_that_was_cut_within_a_commit_leaves_a_gap_and_a_whole_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _feed) = open(folder.path());
    let log = store.write(open_group).await.unwrap().log;
    for number in 1..=3 {
        store
            .write(move |tx| tx.append_entry(log, &entry(number)))
            .await
            .unwrap();
    }
    let next = async |keep: &dyn Fn(u64) -> u64| {
        let copy = tempfile::tempdir().unwrap();
        let path = crashed(folder.path(), copy.path(), keep);
        let (store, _feed) = Store::open(&path, 1).unwrap();
        let seq = store
            .write(move |tx| tx.append_entry(log, &entry(9)))
            .await
            .unwrap();
        store.close().await;
        seq
    };
    assert_eq!(next(&|length| length).await, 4);
    // The third commit goes, and with it the number that was given.
    for cut in [1, 24, 4_000, 4_096 + 24] {
        assert_eq!(
            next(&|length| length - cut).await,
            VOID_NUMBERS + 3,
            "{cut} bytes"
        );
    }
    store.close().await;
}

/// Copies a database in use, its log and the mark beside it, as a process leaves them that is killed.
fn killed(from: &Path, to: &Path) -> std::path::PathBuf {
    let path = crashed(from, to, |length| length);
    std::fs::copy(from.join("test.db-mark"), to.join("test.db-mark")).unwrap();
    path
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_was_killed_within_a_commit_goes_on_without_a_gap() {
    let next = async |keep: &dyn Fn(u64, u64) -> u64, has_mark_of_first: bool| {
        let folder = tempfile::tempdir().unwrap();
        let (store, _feed) = open(folder.path());
        let log = store.write(open_group).await.unwrap().log;
        let first = tempfile::tempdir().unwrap();
        let append = |number| store.write(move |tx| tx.append_entry(log, &entry(number)));
        append(1).await.unwrap();
        killed(folder.path(), first.path());
        append(2).await.unwrap();
        let second = tempfile::tempdir().unwrap();
        let path = killed(folder.path(), second.path());
        store.close().await;
        if has_mark_of_first {
            std::fs::copy(
                first.path().join("test.db-mark"),
                second.path().join("test.db-mark"),
            )
            .unwrap();
        }
        let length = |folder: &Path| std::fs::metadata(folder.join("test.db-wal")).unwrap().len();
        let keep = keep(length(first.path()), length(second.path()));
        let wal = std::fs::File::options()
            .write(true)
            .open(second.path().join("test.db-wal"));
        wal.unwrap().set_len(keep).unwrap();
        let (store, _feed) = Store::open(&path, 1).unwrap();
        let seq = store
            .write(move |tx| tx.append_entry(log, &entry(9)))
            .await
            .unwrap();
        store.close().await;
        seq
    };
    // The second commit was on its way, and nobody was told.
    assert_eq!(next(&|_, second| second - 100, true).await, 2);
    assert_eq!(next(&|first, _| first, true).await, 2);
    assert_eq!(next(&|_, second| second, true).await, 3);
    // It was acknowledged, and is gone: also when the log was cut exactly between two commits.
    assert_eq!(next(&|_, second| second - 100, false).await, VOID_NUMBERS + 2);
    assert_eq!(next(&|first, _| first, false).await, VOID_NUMBERS + 2);
    assert_eq!(next(&|_, second| second, false).await, 3);
}
