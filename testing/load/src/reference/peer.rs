//! One connection of the reference server: what it says, and what waits to be written to it.

use std::{
    collections::VecDeque,
    io::{ErrorKind, IoSlice},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, Bytes};
use tokio::{net::TcpStream, sync::Notify};

use super::{Room, Said, log::Log};
use crate::{
    dialect::{REFERENCE_ACCEPTED, REFERENCE_DELIVER, REFERENCE_SEND},
    websocket::{Inbox, Message, put_server_head},
};

/// Pieces that wait for a connection.
const MAX_WAITING: usize = 4_096;
/// Pieces that are written together.
const MAX_SLICES: usize = 64;

pub(super) struct Peer {
    waiting: Mutex<VecDeque<Bytes>>,
    came: Notify,
    is_full: AtomicBool,
}

impl Peer {
    pub(super) fn new(stream: TcpStream) -> (Arc<Self>, Arc<TcpStream>) {
        let peer = Self {
            waiting: Mutex::default(),
            came: Notify::new(),
            is_full: AtomicBool::new(false),
        };
        (Arc::new(peer), Arc::new(stream))
    }

    pub(super) fn leave(&self, pieces: &[Bytes]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = waiting.is_empty();
        if waiting.len() + pieces.len() > MAX_WAITING {
            self.is_full.store(true, Ordering::Relaxed);
        } else {
            waiting.extend(pieces.iter().cloned());
        }
        drop(waiting);
        if was_empty {
            self.came.notify_one();
        }
    }

    fn take(&self, pieces: &mut VecDeque<Bytes>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.is_empty() {
            std::mem::swap(pieces, &mut waiting);
        } else {
            pieces.append(&mut waiting);
        }
    }
}

/// Writes whatever comes until the connection fails.
pub(super) async fn write(peer: Arc<Peer>, stream: Arc<TcpStream>) -> anyhow::Result<()> {
    let mut pieces = VecDeque::new();
    loop {
        peer.take(&mut pieces);
        if pieces.is_empty() {
            peer.came.notified().await;
            continue;
        }
        ensure!(!peer.is_full.load(Ordering::Relaxed), "a reader is too slow");
        let slices: Vec<IoSlice<'_>> = pieces
            .iter()
            .take(MAX_SLICES)
            .map(|piece| IoSlice::new(piece))
            .collect();
        match stream.try_write_vectored(&slices) {
            Ok(written) => advance(&mut pieces, written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                stream.writable().await.context("wait for a socket")?;
            }
            Err(error) => return Err(error).context("write to a socket"),
        }
    }
}

fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = pieces.front_mut() {
        if written < first.len() {
            first.advance(written);
            return;
        }
        written -= first.len();
        pieces.pop_front();
    }
}

/// Passes on whatever comes until the connection ends. `rest` came with the handshake.
pub(super) async fn read(
    stream: &TcpStream,
    rest: &[u8],
    room: &Arc<Room>,
    peer: &Arc<Peer>,
    log: Option<&Log>,
) -> anyhow::Result<()> {
    let mut inbox = Inbox::holding(rest);
    loop {
        if let Some(said) = said(&mut inbox, room, peer)? {
            match log {
                None => said.pass_on(),
                Some(log) => log.append(said).await?,
            }
        }
        stream.readable().await.context("wait for a socket")?;
        match stream.try_read(inbox.room()) {
            Ok(0) => return Ok(()),
            Ok(read) => inbox.arrived(read),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("read from a socket"),
        }
    }
}

/// All messages that have come whole: a piece each, of one allocation.
fn said(inbox: &mut Inbox, room: &Arc<Room>, peer: &Arc<Peer>) -> anyhow::Result<Option<Said>> {
    let (mut entries, mut answers, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(message) = inbox.message()? {
        let Message::Binary(payload) = message else {
            continue;
        };
        let (kind, rest) = payload.split_first().context("a message has a kind")?;
        ensure!(*kind == REFERENCE_SEND, "a message of an unknown kind");
        let (counter, body) = rest.split_first_chunk::<8>().context("a message has a counter")?;
        put_server_head(&mut entries, 9 + body.len())?;
        entries.push(REFERENCE_DELIVER);
        entries.extend_from_slice(&room.take_places(1).to_be_bytes());
        entries.extend_from_slice(body);
        ends.push(entries.len());
        put_server_head(&mut answers, 9)?;
        answers.push(REFERENCE_ACCEPTED);
        answers.extend_from_slice(counter);
    }
    let mut rest = Bytes::from(entries);
    let mut begin = 0;
    let entries: Vec<Bytes> = ends
        .into_iter()
        .map(|end| rest.split_to(end - std::mem::replace(&mut begin, end)))
        .collect();
    Ok((!entries.is_empty()).then(|| Said {
        room: Arc::clone(room),
        by: Arc::clone(peer),
        entries,
        answers: answers.into(),
    }))
}
