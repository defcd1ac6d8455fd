//! One WebSocket connection of a device, from handshake to close.
//!
//! It carries frames and notices when the other side is gone; what frames mean is the engine's business, and when to
//! connect again that of [`crate::client`]. It never writes without reading: a server that waits for its own frames
//! to be read takes none.

mod duplex;

use std::{future::poll_fn, task::Poll, time::Duration};

use futures_util::FutureExt as _;
use http::{
    HeaderValue,
    header::{SEC_WEBSOCKET_PROTOCOL, USER_AGENT},
};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_websockets::{ClientBuilder, Config, Error as SocketError, Limits, MaybeTlsStream, Message};
use unhidra_types::limits::MAX_FRAME_BYTES;
use unhidra_wire::{
    close::Close,
    frame::{BEARER_PREFIX, ClientFrame, FRAME_OVERHEAD, FrameError, SUBPROTOCOL, ServerFrame},
    rest::Hidden,
};

use self::duplex::Duplex;
use crate::{authority::Untrusted, route::Route};

/// How every version's subprotocol begins.
const SUBPROTOCOL_FAMILY: &[u8] = b"unhidra.";

/// What the client says it is.
const AGENT: &str = concat!("unhidra/", env!("CARGO_PKG_VERSION"));

/// Bytes of frames that are written at once. By the library's own threshold, 8 KiB, a window of messages takes a write for
/// each ten of them, and on the other end a read.
const WRITE_BYTES: usize = 64 * 1024;

/// When silence means that the connection is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// A ping is sent after this much silence.
    pub ping_after: Duration,
    /// The connection is given up after this much silence.
    pub give_up_after: Duration,
    /// How long the handshake may take.
    pub handshake: Duration,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            ping_after: Duration::from_secs(20),
            give_up_after: Duration::from_secs(60),
            handshake: Duration::from_secs(15),
        }
    }
}

/// An open connection.
pub struct Connection {
    duplex: Duplex,
    heartbeat: Heartbeat,
    last_heard: Instant,
    last_ping: Instant,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The access token is not accepted: refresh it, or log in again.
    #[error("the server does not accept this session")]
    Unauthenticated,
    /// The server can't take the connection now, and answered with this HTTP status.
    #[error("the server refused the connection with status {0}")]
    Refused(u16),
    /// The server speaks no `unhidra.v1`.
    #[error("the server speaks another version of the protocol")]
    OtherVersion,
    /// Whatever answered is no Unhidra server.
    #[error("this is not an Unhidra server")]
    NotOurServer,
    /// Nobody who is trusted vouches for the server, or it speaks no TLS.
    #[error(transparent)]
    Untrusted(Untrusted),
    /// The handshake took too long.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The network or the handshake failed.
    #[error("the server can't be reached")]
    Unreachable(#[source] SocketError),
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnect {
    /// The server closed it, with a code of the protocol if it gave one.
    #[error("the server closed the connection: {}", .0.map_or("without a reason", Close::reason))]
    Closed(Option<Close>),
    /// The server sent something that is not a frame.
    #[error("the server speaks another version of the protocol")]
    Malformed(#[from] FrameError),
    /// Nothing was heard for too long.
    #[error("the server has gone silent")]
    Silent,
    /// The network failed.
    #[error("the connection was lost")]
    Lost(#[source] SocketError),
}

impl Connection {
    /// Connects with `token` and waits until the server has selected the subprotocol.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn open(route: &Route, token: &Hidden, heartbeat: Heartbeat) -> Result<Self, ConnectError> {
        let protocols = format!("{SUBPROTOCOL}, {BEARER_PREFIX}{}", token.expose());
        let mut protocols =
            HeaderValue::try_from(protocols).map_err(|_unprintable| ConnectError::Unauthenticated)?;
        protocols.set_sensitive(true);
        let connector = route.connector();
        let builder = ClientBuilder::new()
            .connector(&connector)
            .uri(&route.server().websocket())
            .map_err(|_not_a_uri| ConnectError::NotOurServer)?
            .limits(Limits::default().max_payload_len(Some(MAX_FRAME_BYTES + FRAME_OVERHEAD)))
            .config(Config::default().flush_threshold(WRITE_BYTES))
            .add_header(SEC_WEBSOCKET_PROTOCOL, protocols)
            .and_then(|builder| builder.add_header(USER_AGENT, HeaderValue::from_static(AGENT)))
            .map_err(ConnectError::Unreachable)?;
        let (socket, response) = timeout(heartbeat.handshake, builder.connect())
            .await
            .map_err(|_elapsed| ConnectError::TimedOut)?
            .map_err(connect_error)?;
        let selected = response.headers().get(SEC_WEBSOCKET_PROTOCOL);
        match selected.map(HeaderValue::as_bytes) {
            Some(selected) if selected == SUBPROTOCOL.as_bytes() => {}
            Some(other) if other.starts_with(SUBPROTOCOL_FAMILY) => return Err(ConnectError::OtherVersion),
            Some(_) | None => return Err(ConnectError::NotOurServer),
        }
        let stream = match socket.get_ref() {
            MaybeTlsStream::Plain(stream) => stream,
            MaybeTlsStream::Rustls(stream) => stream.get_ref().0,
        };
        // Small frames must not wait for the acknowledgement of earlier ones.
        stream
            .set_nodelay(true)
            .map_err(|error| ConnectError::Unreachable(SocketError::Io(error)))?;
        let now = Instant::now();
        Ok(Self {
            duplex: Duplex::new(socket),
            heartbeat,
            last_heard: now,
            last_ping: now,
        })
    }

    /// Queues a frame; [`Connection::flush`] sends what is queued, and so does [`Connection::receive`] while it waits.
    ///
    /// # Errors
    /// [`Disconnect::Silent`] when more is queued than a peer that still reads leaves lying.
    pub fn feed(&mut self, frame: &ClientFrame) -> Result<(), Disconnect> {
        if self.duplex.queue(Message::binary(frame.encode())) {
            Ok(())
        } else {
            Err(Disconnect::Silent)
        }
    }

    /// Sends what is queued, and keeps what arrives meanwhile for [`Connection::receive`]. It returns early when that
    /// is as much as it keeps: the rest leaves while frames are received. A peer that reads nothing for the heartbeat's
    /// bound counts as gone.
    ///
    /// # Errors
    /// See [`Disconnect`].
    ///
    /// # Cancellation safety
    /// Nothing is lost: what was not sent is still queued.
    pub async fn flush(&mut self) -> Result<(), Disconnect> {
        let blocked_since = self.duplex.blocked_since().unwrap_or_else(Instant::now);
        let give_up_at = blocked_since + self.heartbeat.give_up_after;
        timeout_at(give_up_at, poll_fn(|cx| self.duplex.poll_exchange(cx)))
            .await
            .map_err(|_elapsed| Disconnect::Silent)?
            .map_err(Disconnect::Lost)
    }

    /// The next frame, while pings keep the connection alive. Frames of a later version are passed over.
    ///
    /// # Errors
    /// See [`Disconnect`].
    ///
    /// # Cancellation safety
    /// Nothing is lost: a frame is either returned or still unread.
    pub async fn receive(&mut self) -> Result<ServerFrame, Disconnect> {
        loop {
            let ping_at = self.last_heard.max(self.last_ping) + self.heartbeat.ping_after;
            let give_up_after = self.heartbeat.give_up_after;
            let mut give_up_at = self.last_heard + give_up_after;
            if let Some(blocked_since) = self.duplex.blocked_since() {
                give_up_at = give_up_at.min(blocked_since + give_up_after);
            }
            let arrival = poll_fn(|cx| match self.duplex.poll_arrival(cx) {
                Poll::Pending => match self.duplex.poll_send(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                },
                arrival => arrival,
            });
            match timeout_at(ping_at.min(give_up_at), arrival).await {
                Ok(message) => {
                    if let Some(frame) = self.accept(message)? {
                        return Ok(frame);
                    }
                }
                Err(_elapsed) if Instant::now() >= give_up_at => return Err(Disconnect::Silent),
                Err(_elapsed) => {
                    self.last_ping = Instant::now();
                    if !self.duplex.queue(Message::ping(Vec::new())) {
                        return Err(Disconnect::Silent);
                    }
                }
            }
        }
    }

    /// The next frame, if one has arrived already.
    ///
    /// # Errors
    /// See [`Disconnect`].
    pub fn receive_now(&mut self) -> Result<Option<ServerFrame>, Disconnect> {
        while let Some(message) = poll_fn(|cx| self.duplex.poll_arrival(cx)).now_or_never() {
            if let Some(frame) = self.accept(message)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Says goodbye. The server keeps everything that was not acknowledged.
    pub async fn close(mut self) {
        // The goodbye is a courtesy: a server that is gone needs none.
        if timeout(self.heartbeat.handshake, self.duplex.close())
            .await
            .is_err()
        {
            tracing::debug!("the server did not take the goodbye in time");
        }
    }

    fn accept(
        &mut self,
        message: Option<Result<Message, SocketError>>,
    ) -> Result<Option<ServerFrame>, Disconnect> {
        let message = message
            .ok_or(Disconnect::Closed(None))?
            .map_err(Disconnect::Lost)?;
        self.last_heard = Instant::now();
        if let Some((code, _reason)) = message.as_close() {
            return Err(Disconnect::Closed(Close::from_code(code.into())));
        }
        if !message.is_binary() {
            return Ok(None);
        }
        Ok(ServerFrame::decode(message.into_payload().into())?)
    }
}

fn connect_error(error: SocketError) -> ConnectError {
    use tokio_websockets::upgrade::Error as Upgrade;
    match error {
        SocketError::Upgrade(Upgrade::DidNotSwitchProtocols(401)) => ConnectError::Unauthenticated,
        // The server speaks no protocol that was offered.
        SocketError::Upgrade(Upgrade::DidNotSwitchProtocols(426)) => ConnectError::OtherVersion,
        SocketError::Upgrade(Upgrade::DidNotSwitchProtocols(status @ (429 | 500..600))) => {
            ConnectError::Refused(status)
        }
        // Nothing else is said to a handshake of this client (`docs/protocol/frames.md`).
        SocketError::Upgrade(_) => ConnectError::NotOurServer,
        error => match Untrusted::find(&error) {
            Some(untrusted) => ConnectError::Untrusted(untrusted),
            None => ConnectError::Unreachable(error),
        },
    }
}

#[cfg(test)]
mod tests;
