//! One reader that stops reading costs the server nothing, and misses nothing.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use unhidra_testkit::{
    group::Group,
    memory::resident_bytes,
    socket::{Event, ReceiveBuffer, Socket},
};
use unhidra_types::{ConversationId, MsgId};
use unhidra_wire::frame::{ClientFrame, Deliver, ServerFrame};

use crate::world;

/// Enough that no buffer of a kernel or a connection holds it: 96 MiB.
const ENTRIES: u64 = 768;
const BODY_BYTES: usize = 128 * 1024;
/// How much the server may grow while all of that waits for one reader: an inbox of 256 notices that share their
/// bodies with the log's pages (32 MiB), SQLite's caches, and what an allocator keeps. Far below the 96 MiB.
const GROWTH_BOUND: u64 = 56 << 20;
/// The reader may be away this long between two frames.
const PATIENCE: Duration = Duration::from_secs(30);

fn body(number: u64) -> Vec<u8> {
    let filler = number.to_be_bytes().into_iter().cycle();
    filler.take(BODY_BYTES).collect()
}

fn msg_id(number: u64) -> MsgId {
    MsgId::from_bytes(u128::from(number).to_be_bytes())
}

/// The next entry of `group` on a connection; `None` when the connection has ended.
fn entry(socket: &mut Socket, group: ConversationId) -> anyhow::Result<Option<Deliver>> {
    loop {
        match socket.next(PATIENCE)? {
            Event::Frame(ServerFrame::Deliver(entry)) if entry.conversation == group => {
                return Ok(Some(entry));
            }
            Event::Frame(_) => {}
            Event::Closed(..) | Event::Lost => return Ok(None),
            Event::Silence => bail!("nothing came for {PATIENCE:?}"),
        }
    }
}

/// Reads and acknowledges until entry `last` has come, on new connections when one ends; what came, in order.
fn catch_up(
    connect: impl Fn() -> anyhow::Result<Socket>,
    mut socket: Socket,
    group: ConversationId,
    last: u64,
) -> anyhow::Result<Vec<u64>> {
    let (mut seen, mut connections) = (Vec::new(), 1);
    while seen.last() != Some(&last) {
        let Some(entry) = entry(&mut socket, group)? else {
            connections += 1;
            ensure!(connections < 10, "cut again and again at {:?}", seen.last());
            socket = connect()?;
            continue;
        };
        let seq = entry.seq;
        ensure!(
            entry.msg_id == msg_id(seq) && entry.body == body(seq),
            "entry {seq} has changed"
        );
        // After a reconnection the server begins at the last acknowledgement it knows.
        if seen.last().is_none_or(|&newest| seq > newest) {
            seen.push(seq);
        }
        // A connection that is gone shows at the next read.
        let _gone = socket.send(&ClientFrame::Acknowledge {
            conversation: group,
            seq,
        });
    }
    println!("caught up on {connections} connections");
    Ok(seen)
}

#[test]
fn a_reader_that_stops_reading_is_left_behind_in_bounded_memory_and_catches_up_completely() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let (sender, reader) = (alice.first().unwrap(), bob.first().unwrap());
    let address = world.server.address();
    let group = Group::open(address, sender, &[reader]).unwrap();
    let connect = || Socket::open(address, &reader.access_token()?, ReceiveBuffer::Small);
    let mut stalled = connect().unwrap();
    group.append(msg_id(1), body(1)).unwrap();
    assert_eq!(entry(&mut stalled, group.id()).unwrap().unwrap().seq, 1);

    // From here on nobody reads the connection.
    let pid = world.server.pid().unwrap();
    let before = resident_bytes(pid).unwrap();
    let mut most = before;
    let begin = Instant::now();
    for number in 2..=ENTRIES {
        assert_eq!(group.append(msg_id(number), body(number)).unwrap(), number);
        most = most.max(resident_bytes(pid).unwrap());
    }
    println!(
        "{ENTRIES} entries of {BODY_BYTES} bytes in {:?}; resident {} MiB before, at most {} MiB",
        begin.elapsed(),
        before >> 20,
        most >> 20
    );
    assert!(most - before < GROWTH_BOUND, "grew by {} bytes", most - before);
    assert!(
        world.server.log().unwrap().contains("lagging"),
        "the log names no lagging connection"
    );

    let seen = catch_up(connect, stalled, group.id(), ENTRIES).unwrap();
    // Entry 1 was not acknowledged, so it may come once more.
    assert!(
        seen.first().is_some_and(|&first| first <= 2),
        "began at {:?}",
        seen.first()
    );
    assert!(
        seen.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "entries are missing"
    );
}
