//! What no server of this machine can be faster than by much: a WebSocket relay without accounts, rules or storage, and
//! the same with one append and `fdatasync` before anything is passed on.
//!
//! A room is a path, `/room/NUMBER`; what one connection says goes to all others of the room. A message is encoded once,
//! for all of them, and lies once in memory; each connection has a bounded queue of messages, which its task writes
//! together. A connection whose queue is full is closed.
//!
//! One piece for everything that a read has brought would be cheaper by far in a fan-out at saturation, and would measure
//! how the generator bundles its own messages.

mod log;
mod peer;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::http::head_end;

use self::{log::Log, peer::Peer};

/// What RFC 6455 section 1.3 has both sides append to the key.
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const MAX_HEAD: usize = 16 * 1024;

/// When a message is passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durability {
    /// At once.
    None,
    /// When it is in this file, and the file on the disk.
    Synced(PathBuf),
}

/// What one read of a connection has brought.
struct Said {
    room: Arc<Room>,
    by: Arc<Peer>,
    /// For the others.
    entries: Vec<Bytes>,
    /// For who said it.
    answers: Bytes,
}

/// Who hears each other, and how many messages there were.
#[derive(Default)]
struct Room {
    state: Mutex<RoomState>,
}

#[derive(Default)]
struct RoomState {
    peers: Vec<Arc<Peer>>,
    seq: u64,
}

#[derive(Default)]
struct Rooms(Mutex<HashMap<String, Arc<Room>>>);

/// Serves until it is dropped.
///
/// # Errors
/// When the listener or the file of the log fails.
pub async fn serve(listener: TcpListener, durability: Durability) -> anyhow::Result<()> {
    let log = match durability {
        Durability::None => None,
        Durability::Synced(path) => Some(Log::open(&path)?),
    };
    let rooms = Arc::new(Rooms::default());
    let mut connections = JoinSet::new();
    loop {
        let (stream, _address) = listener.accept().await.context("accept a connection")?;
        let (rooms, log) = (Arc::clone(&rooms), log.clone());
        // One that fails concerns nobody else.
        connections.spawn(async move { connection(stream, &rooms, log).await.ok() });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(mut stream: TcpStream, rooms: &Rooms, log: Option<Log>) -> anyhow::Result<()> {
    stream.set_nodelay(true).context("send small frames at once")?;
    let mut head = Vec::with_capacity(1024);
    let rest = loop {
        if let Some(end) = head_end(&head) {
            break head.split_off(end);
        }
        let read = stream.read_buf(&mut head).await.context("read a handshake")?;
        anyhow::ensure!(read > 0 && head.len() < MAX_HEAD, "no handshake came");
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head
        .split(' ')
        .nth(1)
        .context("a handshake names a path")?
        .to_owned();
    let key = head
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, key)| key.trim().to_owned())
        .context("a handshake has a key")?;
    let accept = digest(
        &SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{ACCEPT_SUFFIX}").as_bytes(),
    );
    let accept = BASE64_STANDARD.encode(accept);
    let room = rooms.enter(path);
    let (peer, stream) = Peer::new(stream);
    room.join(&peer);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    peer.leave(&[Bytes::from(answer)]);
    let mut writing = JoinSet::new();
    writing.spawn(peer::write(Arc::clone(&peer), Arc::clone(&stream)));
    let read = peer::read(&stream, &rest, &room, &peer, log.as_ref()).await;
    room.part(&peer);
    read
}

impl Rooms {
    fn enter(&self, path: String) -> Arc<Room> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rooms.entry(path).or_default())
    }
}

impl Room {
    fn join(&self, peer: &Arc<Peer>) {
        self.lock().peers.push(Arc::clone(peer));
    }

    fn part(&self, peer: &Arc<Peer>) {
        self.lock().peers.retain(|other| !Arc::ptr_eq(other, peer));
    }

    /// Places in the log for `count` messages; the first one.
    fn take_places(&self, count: u64) -> u64 {
        let mut state = self.lock();
        let first = state.seq + 1;
        state.seq += count;
        first
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RoomState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    /// To everyone it is for.
    fn pass_on(self) {
        for peer in &self.room.lock().peers {
            if !Arc::ptr_eq(peer, &self.by) {
                peer.leave(&self.entries);
            }
        }
        self.by.leave(&[self.answers]);
    }
}
