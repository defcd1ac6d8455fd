//! What a message costs the log, beside what the same bytes cost SQLite alone:
//! `cargo bench -p unhidra-messaging --bench log -- [NAME] [MESSAGES]`.
//!
//! 50 pairs with a device each, 32 envelopes of a sender in flight, 200-byte bodies, capsules of 100 bytes, the real store
//! on disk with `synchronous=FULL`. CPU time is that of the process; the writer's is what its main thread did not use.
//!
//! - `floor`: a prepared `INSERT` of the same bytes into one table, 512 in a transaction     - `group`, `direct`: appends
//! - `pair`: an append and its acknowledgement by the receiver, cursors stored ten times a second
//! - `page`: 50 messages read back from anywhere in a log of so many
#![expect(clippy::unwrap_used, reason = "a measurement that can't go on ends")]

mod people;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all, stream};
use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};
use tokio::{sync::watch, time::sleep};
use unhidra_messaging::{
    Messaging,
    delivery::{Log, history},
    order::SendOrder,
};
use unhidra_store::{CommitFeed, Event, Store};
use unhidra_types::{ConversationId, MsgId};
use unhidra_wire::frame::{Append, Capsule, CapsuleKind};

use self::people::{NOW, Pair, pairs};

const PAIRS: u8 = 50;
const IN_FLIGHT: usize = 32;
const BODY_BYTES: usize = 200;
const CAPSULE_BYTES: usize = 100;
const CURSORS_EACH: Duration = Duration::from_millis(100);
const PAGE: u64 = 50;
const PAGES: u64 = 4_000;
const ACTS_PER_COMMIT: u64 = 512;

type Run = fn(&Path, u64) -> Cost;

/// What a run cost.
struct Cost {
    units: u64,
    wall: Duration,
    cpu: Duration,
    /// Of it by the thread that asked.
    asking: Duration,
    disk: u64,
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'));
    let only = arguments.next();
    let messages = arguments.next().map_or(100_000, |count| count.parse().unwrap());
    println!("| | CPU us | of it the writer | units/s | disk bytes |\n|---|---|---|---|---|");
    let runs: [(&str, Run); 5] = [
        ("floor", floor),
        ("group", |path, messages| run(path, messages, Kind::Group)),
        ("direct", |path, messages| run(path, messages, Kind::Direct)),
        ("pair", |path, messages| run(path, messages, Kind::Pair)),
        ("page", page),
    ];
    for (name, measure) in runs {
        if only.as_deref().is_none_or(|only| only == name) {
            let folder = tempfile::tempdir().unwrap();
            let cost = measure(&folder.path().join("bench.db"), messages);
            #[expect(clippy::cast_precision_loss, reason = "figures to read")]
            let units = cost.units as f64;
            println!(
                "| {name} | {:.2} | {:.2} | {:.0} | {:.0} |",
                cost.cpu.as_secs_f64() * 1e6 / units,
                cost.cpu.saturating_sub(cost.asking).as_secs_f64() * 1e6 / units,
                units / cost.wall.as_secs_f64(),
                f64::from(u32::try_from(cost.disk).unwrap_or(u32::MAX)) / units,
            );
        }
    }
}

fn floor(path: &Path, messages: u64) -> Cost {
    let mut connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE floor (number INTEGER PRIMARY KEY, name BLOB NOT NULL, body BLOB NOT NULL) STRICT;",
        )
        .unwrap();
    let body = [7_u8; BODY_BYTES + CAPSULE_BYTES + 64];
    let asking = Timer::start();
    for commit in 0..messages.div_ceil(ACTS_PER_COMMIT) {
        let transaction = connection.transaction().unwrap();
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO floor (name, body) VALUES (?1, ?2)")
                .unwrap();
            for act in 0..ACTS_PER_COMMIT {
                let name = msg_id(0, commit * ACTS_PER_COMMIT + act);
                insert
                    .execute(rusqlite::params![name.as_bytes(), body.as_slice()])
                    .unwrap();
            }
        }
        transaction.commit().unwrap();
    }
    let cost = asking.stop(messages, path);
    Cost {
        asking: Duration::ZERO,
        ..cost
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Group,
    Direct,
    Pair,
}

fn run(path: &Path, messages: u64, kind: Kind) -> Cost {
    block_on(async {
        let (store, feed) = Store::open(path, 2).unwrap();
        let messaging = Messaging::new(store.clone());
        let pairs = pairs(&store, &messaging, PAIRS).await;
        let each = messages / u64::from(PAIRS);
        let asking = Timer::start();
        let heads: Vec<_> = pairs.iter().map(|_| watch::channel(0)).collect();
        let (told, heard): (Vec<_>, Vec<_>) = heads.into_iter().unzip();
        let logs: Vec<_> = pairs.iter().map(|pair| log_of(pair, kind).conversation).collect();
        let senders = pairs.iter().zip(0..).map(async |(pair, number)| {
            let order = Arc::<SendOrder>::default();
            stream::iter(0..each)
                .map(|act| messaging.append(pair.sender, envelope(pair, kind, number, act), &order, NOW))
                .buffered(IN_FLIGHT)
                .for_each(async |taken| {
                    taken.unwrap();
                })
                .await;
        });
        let receivers = pairs.iter().zip(heard).map(async |(pair, mut head)| {
            let mut acknowledged = 0;
            while kind == Kind::Pair && acknowledged < each {
                head.changed().await.unwrap();
                acknowledged = *head.borrow_and_update();
                messaging.acknowledge(pair.receiver.device, pair.direct, acknowledged);
            }
        });
        let cursors = async {
            loop {
                sleep(CURSORS_EACH).await;
                messaging.write_cursors().await.unwrap();
            }
        };
        let measured = async {
            let all = async { tokio::join!(join_all(senders), join_all(receivers)) };
            tokio::select! {
                _ = all => {}
                () = cursors => {}
            }
            messaging.write_cursors().await.unwrap();
            let cost = asking.stop(each * u64::from(PAIRS), path);
            store.close().await;
            cost
        };
        let ((), cost) = tokio::join!(tell(feed, logs, told), measured);
        Cost {
            disk: std::fs::metadata(path).unwrap().len(),
            ..cost
        }
    })
}

/// Tells each receiver the head of its log.
async fn tell(mut feed: CommitFeed, logs: Vec<ConversationId>, heads: Vec<watch::Sender<u64>>) {
    while let Some(events) = feed.recv().await {
        for event in events {
            if let Event::Appended(appended) = event
                && let Some(at) = logs.iter().position(|log| *log == appended.entry.conversation)
            {
                heads[at].send_replace(appended.seq);
            }
        }
    }
}

fn page(path: &Path, messages: u64) -> Cost {
    block_on(async {
        let (store, feed) = Store::open(path, 2).unwrap();
        drop(feed);
        let messaging = Messaging::new(store.clone());
        let pairs = pairs(&store, &messaging, PAIRS).await;
        let order = Arc::<SendOrder>::default();
        // Not in turn with other logs: as many as those have by the way, beside one that is long.
        stream::iter(0..messages)
            .map(|act| {
                let pair = &pairs[if act % 2 == 0 {
                    0
                } else {
                    usize::from((act % 50) as u8)
                }];
                messaging.append(pair.sender, envelope(pair, Kind::Group, 0, act), &order, NOW)
            })
            .buffered(ACTS_PER_COMMIT.try_into().unwrap())
            .for_each(async |taken| {
                taken.unwrap();
            })
            .await;
        let (reader, log) = (pairs[0].receiver, pairs[0].group.conversation);
        let page = async |after, limit| {
            let reading = store.read(move |db| history(db, reader.user, log, after, limit));
            reading.await.unwrap().unwrap()
        };
        let head = page(0, 1).await.head;
        let asking = Timer::start();
        for read in 0..PAGES {
            // Anywhere: a step that has no divisor in common with the length.
            let after = read * 1_000_003 % (head - PAGE);
            assert_eq!(page(after, PAGE).await.entries.len() as u64, PAGE);
        }
        let cost = asking.stop(PAGES, path);
        store.close().await;
        cost
    })
}

const fn log_of(pair: &Pair, kind: Kind) -> Log {
    match kind {
        Kind::Group => pair.group,
        Kind::Direct | Kind::Pair => pair.direct,
    }
}

fn envelope(pair: &Pair, kind: Kind, sender: u64, act: u64) -> Append {
    let is_direct = kind != Kind::Group;
    let capsule = Capsule {
        device: pair.receiver.device,
        kind: CapsuleKind::Ratchet,
        sealed: Bytes::from_static(&[8; CAPSULE_BYTES]),
    };
    Append {
        conversation: log_of(pair, kind).conversation,
        msg_id: msg_id(sender, act),
        attempt: 0,
        dest: None,
        list_versions: if is_direct { pair.lists.clone() } else { Vec::new() },
        body: Bytes::from_static(&[7; BODY_BYTES]),
        capsules: if is_direct { vec![capsule] } else { Vec::new() },
    }
}

/// Spread as random ones are.
fn msg_id(sender: u64, act: u64) -> MsgId {
    let mixed = (act ^ sender << 40)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    MsgId::from_bytes((u128::from(mixed) << 64 | u128::from(act)).to_be_bytes())
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(work)
}

struct Timer {
    wall: Instant,
    cpu: Duration,
    asking: Duration,
}

impl Timer {
    fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: time(ClockId::ProcessCPUTime),
            asking: time(ClockId::ThreadCPUTime),
        }
    }

    fn stop(&self, units: u64, path: &Path) -> Cost {
        Cost {
            units,
            wall: self.wall.elapsed(),
            cpu: time(ClockId::ProcessCPUTime) - self.cpu,
            asking: time(ClockId::ThreadCPUTime) - self.asking,
            disk: std::fs::metadata(path).unwrap().len(),
        }
    }
}

fn time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}
