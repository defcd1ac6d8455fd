//! The figures of `docs/adr/0001` for rusqlite: `cargo bench -p unhidra-store --bench writer`.
//!
//! The same act (raise the head of a log, insert an entry with a body of 300 bytes; two indexes, WAL,
//! `synchronous=FULL`) by 1 and by 50 writers that each wait for their commit, through the store's one writing thread.
#![expect(clippy::unwrap_used, reason = "a measurement that can't go on ends")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use rustix::time::{ClockId, clock_gettime};
use unhidra_store::{
    Store, Tx,
    conversation::Kind,
    entry::{NewEntry, Recipients},
};
use unhidra_types::{ConversationId, DeviceId, MsgId, OrgId, Timestamp, UserId};

const CONVERSATION: ConversationId = ConversationId::from_bytes([5; 16]);
const USER: UserId = UserId::from_bytes([1; 16]);
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn main() {
    println!("| writers | acts a second | CPU an act |\n|---|---|---|");
    for (writers, acts) in [(1_u32, 20_000_u32), (50, 4_000)] {
        let (wall, cpu) = run(writers, acts);
        let count = f64::from(writers) * f64::from(acts);
        let (rate, cost) = (count / wall.as_secs_f64(), cpu.as_secs_f64() * 1e6 / count);
        println!("| {writers} | {rate:.0} | {cost:.1} us |");
    }
}

fn run(writers: u32, acts: u32) -> (Duration, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (store, feed) = Store::open(&folder.path().join("bench.db"), 1).unwrap();
        // Nobody is told: what is measured is the writing.
        drop(feed);
        let open = |tx: &mut Tx<'_>| {
            tx.open_conversation(
                CONVERSATION,
                OrgId::from_bytes([9; 16]),
                Kind::Group,
                &[USER],
                NOW,
            )
        };
        let log = store.write(open).await.unwrap().log;
        let (begin, cpu_before) = (Instant::now(), cpu());
        let write = async |writer: u32| {
            for act in 0..acts {
                let entry = entry(writer, act);
                store.write(move |tx| tx.append_entry(log, &entry)).await.unwrap();
            }
        };
        join_all((0..writers).map(write)).await;
        let measured = (begin.elapsed(), cpu() - cpu_before);
        store.close().await;
        measured
    })
}

fn entry(writer: u32, act: u32) -> NewEntry {
    let id = u128::from(writer) << 64 | u128::from(act);
    NewEntry {
        conversation: CONVERSATION,
        msg_id: MsgId::from_bytes(id.to_be_bytes()),
        sender: USER,
        sender_device: DeviceId::from_bytes([3; 16]),
        dest: None,
        attempt: 0,
        server_time: NOW,
        recipients: Recipients::Members,
        body: Bytes::from(vec![7; 300]),
    }
}

/// CPU time of the whole process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}
