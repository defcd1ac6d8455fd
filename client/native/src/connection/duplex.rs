//! Both directions of a socket at once: whatever arrives while something is being sent is kept here.
//!
//! The server reads no frame while its own write waits for this side, so writing without reading could last forever.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{net::TcpStream, time::Instant};
use tokio_websockets::{Error as SocketError, MaybeTlsStream, Message, WebSocketStream};

/// Messages, and bytes of them, that are kept while sending. When either is reached nothing more is read until some
/// were taken: [`Duplex::poll_exchange`] ends then, so that its caller can take them.
const MAX_ARRIVED: usize = 1_024;
const MAX_ARRIVED_BYTES: usize = 1024 * 1024;
/// Messages that wait to be sent; no more are taken then. Appends are bounded by the window of unanswered ones, and
/// acknowledgements by what is read between two reads of the server, so only a peer that never reads gets here.
const MAX_QUEUED: usize = 8_192;
/// Answers to pings that have not left; nothing more is read then. More than one, since a server that pings may be
/// waiting for its other frames to be read; and few, so that one which never reads makes nothing grow.
const MAX_PONGS_DUE: usize = 16;

/// A socket that is read while it is written.
pub(super) struct Duplex {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    reading: Reading,
    arrived: VecDeque<Message>,
    arrived_bytes: usize,
    queued: VecDeque<Message>,
    /// The socket has taken messages that it has not written yet.
    unflushed: bool,
    /// Pings that were read since everything was last written.
    pongs_due: usize,
    /// Since when the peer takes nothing of what is queued.
    blocked_since: Option<Instant>,
}

/// Whether more can arrive.
enum Reading {
    Open,
    Failed(SocketError),
    Over,
}

impl Duplex {
    pub(super) fn new(socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self {
            socket,
            reading: Reading::Open,
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            queued: VecDeque::new(),
            unflushed: false,
            pongs_due: 0,
            blocked_since: None,
        }
    }

    /// Takes a message to be sent; false when too many wait.
    pub(super) fn queue(&mut self, message: Message) -> bool {
        let has_room = self.queued.len() < MAX_QUEUED;
        if has_room {
            self.queued.push_back(message);
        }
        has_room
    }

    /// Since when the peer takes nothing of what is queued; `None` while nothing waits for it.
    pub(super) const fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since
    }

    /// The next message, from what is kept first; `None` when the connection is over.
    pub(super) fn poll_arrival(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, SocketError>>> {
        if self.arrived.is_empty() {
            self.poll_read(cx, 1)
        } else {
            Poll::Ready(())
        }
        .map(|()| match self.arrived.pop_front() {
            Some(message) => {
                self.arrived_bytes -= message.as_payload().len();
                Some(Ok(message))
            }
            None => match std::mem::replace(&mut self.reading, Reading::Over) {
                Reading::Failed(error) => Some(Err(error)),
                Reading::Open | Reading::Over => None,
            },
        })
    }

    /// Sends what is queued, without reading.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        let sent = self.poll_write(cx);
        if sent.is_pending() {
            self.blocked_since.get_or_insert_with(Instant::now);
        }
        sent
    }

    /// Sends what is queued and keeps what arrives meanwhile; ends early when nothing more can be kept or arrive.
    pub(super) fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        if let Poll::Ready(sent) = self.poll_send(cx) {
            return Poll::Ready(sent);
        }
        self.poll_read(cx, MAX_ARRIVED).map(Ok)
    }

    /// Sends what is queued and closes the connection.
    pub(super) async fn close(&mut self) -> Result<(), SocketError> {
        std::future::poll_fn(|cx| self.poll_exchange(cx)).await?;
        self.socket.close().await
    }

    /// Reads until `most` messages are kept, or their bytes are too many, or no more can come. Waits for answers to pings
    /// to leave when too many are due.
    fn poll_read(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<()> {
        while matches!(self.reading, Reading::Open)
            && self.arrived.len() < most
            && self.arrived_bytes < MAX_ARRIVED_BYTES
        {
            if self.pongs_due >= MAX_PONGS_DUE
                && let Err(error) = ready!(self.poll_send(cx))
            {
                self.reading = Reading::Failed(error);
                break;
            }
            match ready!(self.socket.poll_next_unpin(cx)) {
                Some(Ok(message)) => {
                    if message.is_close() {
                        self.reading = Reading::Over;
                    }
                    if message.is_ping() {
                        self.pongs_due += 1;
                        self.unflushed = true;
                    }
                    self.arrived_bytes += message.as_payload().len();
                    self.arrived.push_back(message);
                }
                Some(Err(error)) => self.reading = Reading::Failed(error),
                None => self.reading = Reading::Over,
            }
        }
        Poll::Ready(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        // Why the peer ended the connection is told by what has arrived, not by a write that fails after it.
        if !matches!(self.reading, Reading::Open) {
            self.queued.clear();
            return Poll::Ready(Ok(()));
        }
        while !self.queued.is_empty() {
            ready!(self.socket.poll_ready_unpin(cx))?;
            if let Some(message) = self.queued.pop_front() {
                self.socket.start_send_unpin(message)?;
                self.unflushed = true;
                self.blocked_since = None;
            }
        }
        if self.unflushed {
            ready!(self.socket.poll_flush_unpin(cx))?;
            self.unflushed = false;
            self.pongs_due = 0;
        }
        self.blocked_since = None;
        Poll::Ready(Ok(()))
    }
}
