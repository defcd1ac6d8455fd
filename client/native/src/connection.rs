//! One WebSocket connection of a device, from handshake to close.
//!
//! It carries frames and notices when the other side is gone; what frames mean is the engine's business, and when to
//! connect again that of [`crate::client`].

use std::time::Duration;

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_websockets::{
    ClientBuilder, Error as SocketError, Limits, MaybeTlsStream, Message, WebSocketStream,
};
use unhidra_types::limits::MAX_FRAME_BYTES;
use unhidra_wire::{
    close::Close,
    frame::{BEARER_PREFIX, ClientFrame, FRAME_OVERHEAD, FrameError, SUBPROTOCOL, ServerFrame},
    rest::Hidden,
};

use crate::server_url::ServerUrl;

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
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    heartbeat: Heartbeat,
    last_heard: Instant,
    last_ping: Instant,
    /// An answer to a ping is queued; until it has left, nothing more is read.
    pong_due: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The access token is not accepted: refresh it, or log in again.
    #[error("the server does not accept this session")]
    Unauthenticated,
    /// The server answered the handshake with this HTTP status.
    #[error("the server refused the connection with status {0}")]
    Refused(u16),
    /// The server speaks another protocol than `unhidra.v1`.
    #[error("the server did not select the subprotocol {SUBPROTOCOL}")]
    OtherProtocol,
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
    #[error("the server broke the protocol")]
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
    pub async fn open(
        server: &ServerUrl,
        token: &Hidden,
        heartbeat: Heartbeat,
    ) -> Result<Self, ConnectError> {
        let protocols = format!("{SUBPROTOCOL}, {BEARER_PREFIX}{}", token.expose());
        let mut protocols =
            HeaderValue::try_from(protocols).map_err(|_unprintable| ConnectError::Unauthenticated)?;
        protocols.set_sensitive(true);
        let builder = ClientBuilder::new()
            .uri(&server.websocket())
            .map_err(|_not_a_uri| ConnectError::OtherProtocol)?
            .limits(Limits::default().max_payload_len(Some(MAX_FRAME_BYTES + FRAME_OVERHEAD)))
            .add_header(SEC_WEBSOCKET_PROTOCOL, protocols)
            .map_err(ConnectError::Unreachable)?;
        let (socket, response) = timeout(heartbeat.handshake, builder.connect())
            .await
            .map_err(|_elapsed| ConnectError::TimedOut)?
            .map_err(connect_error)?;
        let selected = response.headers().get(SEC_WEBSOCKET_PROTOCOL);
        if selected.is_none_or(|selected| selected != SUBPROTOCOL) {
            return Err(ConnectError::OtherProtocol);
        }
        let MaybeTlsStream::Plain(stream) = socket.get_ref();
        // Small frames must not wait for the acknowledgement of earlier ones.
        stream
            .set_nodelay(true)
            .map_err(|error| ConnectError::Unreachable(SocketError::Io(error)))?;
        let now = Instant::now();
        Ok(Self {
            socket,
            heartbeat,
            last_heard: now,
            last_ping: now,
            pong_due: false,
        })
    }

    /// Queues a frame; [`Connection::flush`] sends what is queued.
    ///
    /// # Errors
    /// See [`Disconnect`].
    pub async fn feed(&mut self, frame: &ClientFrame) -> Result<(), Disconnect> {
        self.socket
            .feed(Message::binary(frame.encode()))
            .await
            .map_err(Disconnect::Lost)
    }

    /// Sends what is queued. A peer that does not read for the heartbeat's bound counts as gone.
    ///
    /// # Errors
    /// See [`Disconnect`].
    pub async fn flush(&mut self) -> Result<(), Disconnect> {
        timeout(self.heartbeat.give_up_after, self.socket.flush())
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
            if self.pong_due {
                self.flush().await?;
                self.pong_due = false;
            }
            let ping_at = self.last_heard.max(self.last_ping) + self.heartbeat.ping_after;
            let give_up_at = self.last_heard + self.heartbeat.give_up_after;
            match timeout_at(ping_at.min(give_up_at), self.socket.next()).await {
                Ok(message) => {
                    if let Some(frame) = self.accept(message)? {
                        return Ok(frame);
                    }
                }
                Err(_elapsed) if Instant::now() >= give_up_at => return Err(Disconnect::Silent),
                Err(_elapsed) => {
                    self.last_ping = Instant::now();
                    self.socket
                        .feed(Message::ping(Vec::new()))
                        .await
                        .map_err(Disconnect::Lost)?;
                    self.flush().await?;
                }
            }
        }
    }

    /// The next frame, if one has arrived already.
    ///
    /// # Errors
    /// See [`Disconnect`].
    pub fn receive_now(&mut self) -> Result<Option<ServerFrame>, Disconnect> {
        while !self.pong_due
            && let Some(message) = self.socket.next().now_or_never()
        {
            if let Some(frame) = self.accept(message)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Says goodbye. The server keeps everything that was not acknowledged.
    pub async fn close(mut self) {
        // The goodbye is a courtesy: a server that is gone needs none.
        if timeout(self.heartbeat.handshake, self.socket.close())
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
        self.pong_due = message.is_ping();
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
        SocketError::Upgrade(Upgrade::DidNotSwitchProtocols(status)) => ConnectError::Refused(status),
        error => ConnectError::Unreachable(error),
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_websockets::{CloseCode, ServerBuilder};
    use unhidra_types::ConversationId;

    use super::*;

    const FAST: Heartbeat = Heartbeat {
        ping_after: Duration::from_millis(50),
        give_up_after: Duration::from_millis(500),
        handshake: Duration::from_secs(5),
    };

    async fn listen() -> (TcpListener, ServerUrl) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, url.parse().unwrap())
    }

    /// Accepts one connection and answers the handshake with `protocol`; gives what the client had offered.
    async fn accept(listener: &TcpListener, protocol: &'static str) -> (String, WebSocketStream<TcpStream>) {
        let (stream, _) = listener.accept().await.unwrap();
        let name: HeaderName = SEC_WEBSOCKET_PROTOCOL;
        let builder = ServerBuilder::new()
            .add_header(name, HeaderValue::from_static(protocol))
            .unwrap();
        let (request, socket) = builder.accept(stream).await.unwrap();
        let offered = request.headers()[SEC_WEBSOCKET_PROTOCOL].to_str().unwrap();
        (offered.to_owned(), socket)
    }

    fn token() -> Hidden {
        Hidden::new("the.access-token".into())
    }

    #[tokio::test]
    async fn the_token_is_offered_beside_the_protocol_and_frames_pass_both_ways() {
        let (listener, url) = listen().await;
        let token = token();
        let (opened, (offered, mut server)) = tokio::join!(
            Connection::open(&url, &token, FAST),
            accept(&listener, SUBPROTOCOL)
        );
        assert_eq!(offered, "unhidra.v1, bearer.the.access-token");
        let mut connection = opened.unwrap();
        let frame = ClientFrame::Acknowledge {
            conversation: ConversationId::from_bytes([1; 16]),
            seq: 7,
        };
        connection.feed(&frame).await.unwrap();
        connection.flush().await.unwrap();
        let arrived = server.next().await.unwrap().unwrap();
        assert_eq!(ClientFrame::decode(arrived.into_payload().into()).unwrap(), frame);
        let caught_up = Message::binary(ServerFrame::CaughtUp.encode());
        server.send(caught_up).await.unwrap();
        assert_eq!(connection.receive().await.unwrap(), ServerFrame::CaughtUp);
    }

    #[tokio::test]
    async fn a_server_that_selects_another_protocol_is_left() {
        let (listener, url) = listen().await;
        let token = token();
        let (opened, _server) = tokio::join!(Connection::open(&url, &token, FAST), accept(&listener, "chat"));
        assert!(matches!(opened, Err(ConnectError::OtherProtocol)));
    }

    #[tokio::test]
    async fn a_refused_token_is_told_apart_from_other_refusals() {
        for (status, is_token) in [("401 Unauthorized", true), ("503 Service Unavailable", false)] {
            let (listener, url) = listen().await;
            let token = token();
            let refuse = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                assert!(read > 0);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            };
            let (opened, ()) = tokio::join!(Connection::open(&url, &token, FAST), refuse);
            match opened {
                Err(ConnectError::Unauthenticated) => assert!(is_token),
                Err(ConnectError::Refused(503)) => assert!(!is_token),
                _ => panic!("{status}"),
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_answers_pings_is_kept_and_a_silent_one_is_given_up() {
        let (listener, url) = listen().await;
        let token = token();
        let (opened, (_, mut server)) = tokio::join!(
            Connection::open(&url, &token, FAST),
            accept(&listener, SUBPROTOCOL)
        );
        let mut connection = opened.unwrap();
        let serving = async { while server.next().await.is_some() {} };
        let waiting = async { tokio::join!(connection.receive(), serving) };
        let outcome = timeout(FAST.give_up_after * 3, waiting).await;
        assert!(outcome.is_err(), "a living connection waits");
        // From now on nobody reads on the other side.
        assert!(matches!(connection.receive().await, Err(Disconnect::Silent)));
    }

    #[tokio::test]
    async fn a_server_that_pings_and_does_not_read_is_left() {
        let (listener, url) = listen().await;
        let token = token();
        let (opened, (_, mut server)) = tokio::join!(
            Connection::open(&url, &token, FAST),
            accept(&listener, SUBPROTOCOL)
        );
        let mut connection = opened.unwrap();
        // More answers than the buffers of both sides hold.
        let flood = async {
            for _ in 0..256 * 1024 {
                server.feed(Message::ping(vec![0; 125])).await?;
            }
            server.flush().await
        };
        tokio::select! {
            ended = connection.receive() => assert!(matches!(ended, Err(Disconnect::Silent))),
            flooded = flood => panic!("{flooded:?}: answers were kept for nobody"),
        }
    }

    #[tokio::test]
    async fn the_reason_of_a_close_is_told() {
        let (listener, url) = listen().await;
        let token = token();
        let (opened, (_, mut server)) = tokio::join!(
            Connection::open(&url, &token, FAST),
            accept(&listener, SUBPROTOCOL)
        );
        let mut connection = opened.unwrap();
        let code = CloseCode::try_from(Close::DeviceRevoked.code()).unwrap();
        server.send(Message::close(Some(code), "")).await.unwrap();
        let ended = connection.receive().await;
        assert!(matches!(
            ended,
            Err(Disconnect::Closed(Some(Close::DeviceRevoked)))
        ));
    }
}
