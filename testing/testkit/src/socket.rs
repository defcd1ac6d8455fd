//! A raw WebSocket connection that reads only when it is told to.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_websockets::{
    ClientBuilder, Error as SocketError, Limits, MaybeTlsStream, Message, WebSocketStream, upgrade,
};
use unhidra_wire::frame::{BEARER_PREFIX, ClientFrame, SUBPROTOCOL, ServerFrame};

use crate::endpoint::Endpoint;

/// Larger than any frame.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// An open connection. Nothing is read from the network between two calls.
#[derive(Debug)]
pub struct Socket {
    runtime: Runtime,
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// How much the operating system may hold for a reader that does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveBuffer {
    /// As much as it likes.
    Usual,
    /// A few kilobytes.
    Small,
}

/// What came next.
#[derive(Debug)]
pub enum Event {
    /// A frame.
    Frame(ServerFrame),
    /// The server closed the connection, with a code and a reason.
    Closed(u16, String),
    /// The connection broke without a word.
    Lost,
    /// Nothing, within the time.
    Silence,
}

/// How a handshake went.
pub enum Handshake {
    /// The connection is open.
    Open(Box<Socket>),
    /// The server answered with another HTTP status than 101.
    Refused(u16),
}

impl Socket {
    /// Connects as a device does.
    ///
    /// # Errors
    /// When the server can't be reached or refuses.
    pub fn open(server: impl Into<Endpoint>, token: &str, buffer: ReceiveBuffer) -> anyhow::Result<Self> {
        let protocols = format!("{SUBPROTOCOL}, {BEARER_PREFIX}{token}");
        match Self::handshake(server, "/v1/ws", &protocols, buffer)? {
            Handshake::Open(socket) => Ok(*socket),
            Handshake::Refused(status) => bail!("the handshake was answered with {status}"),
        }
    }

    /// Offers `protocols` at `path`.
    ///
    /// # Errors
    /// When the server can't be reached, or breaks the protocol.
    pub fn handshake(
        server: impl Into<Endpoint>,
        path: &str,
        protocols: &str,
        buffer: ReceiveBuffer,
    ) -> anyhow::Result<Handshake> {
        let server = server.into();
        let runtime = crate::http::runtime()?;
        let shaken = runtime.block_on(async {
            timeout(HANDSHAKE_TIMEOUT, connect(&server, path, protocols, buffer))
                .await
                .context("the server did not answer the handshake")?
        })?;
        Ok(match shaken {
            Ok(stream) => Handshake::Open(Box::new(Self { runtime, stream })),
            Err(status) => Handshake::Refused(status),
        })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        let sent = self.stream.send(Message::binary(frame.encode()));
        self.runtime.block_on(sent).context("send a frame")
    }

    /// Waits for what comes next. Frames of a later version are passed over.
    ///
    /// # Errors
    /// When what comes is not a frame.
    pub fn next(&mut self, within: Duration) -> anyhow::Result<Event> {
        let stream = &mut self.stream;
        self.runtime.block_on(async {
            loop {
                let message = match timeout(within, stream.next()).await {
                    Err(_elapsed) => return Ok(Event::Silence),
                    Ok(None | Some(Err(_))) => return Ok(Event::Lost),
                    Ok(Some(Ok(message))) => message,
                };
                if let Some((code, reason)) = message.as_close() {
                    return Ok(Event::Closed(code.into(), reason.to_owned()));
                }
                if message.is_binary()
                    && let Some(frame) = ServerFrame::decode(message.into_payload().into())?
                {
                    return Ok(Event::Frame(frame));
                }
            }
        })
    }

    /// Waits until the server closes the connection; frames before that are passed over.
    ///
    /// # Errors
    /// When it does not within the time, or breaks off without a word.
    pub fn closed(&mut self, within: Duration) -> anyhow::Result<(u16, String)> {
        let begin = std::time::Instant::now();
        loop {
            let left = within.saturating_sub(begin.elapsed());
            match self.next(left)? {
                Event::Closed(code, reason) => return Ok((code, reason)),
                Event::Frame(_) if !left.is_zero() => {}
                Event::Lost => bail!("the connection was lost without a close frame"),
                Event::Frame(_) | Event::Silence => {
                    bail!("the connection was not closed within {within:?}")
                }
            }
        }
    }
}

async fn connect(
    server: &Endpoint,
    path: &str,
    protocols: &str,
    buffer: ReceiveBuffer,
) -> anyhow::Result<Result<WebSocketStream<MaybeTlsStream<TcpStream>>, u16>> {
    let socket = TcpSocket::new_v4().context("make a socket")?;
    if buffer == ReceiveBuffer::Small {
        socket
            .set_recv_buffer_size(4096)
            .context("shrink the receive buffer")?;
    }
    let stream = socket
        .connect(server.address)
        .await
        .context("connect to the server")?;
    let stream = match &server.authority {
        None => MaybeTlsStream::Plain(stream),
        Some(_) => {
            let connector = TlsConnector::from(Arc::new(server.tls()?));
            let name = ServerName::from(server.address.ip());
            let shaken = connector.connect(name, stream).await;
            MaybeTlsStream::Rustls(shaken.context("shake hands with the server")?)
        }
    };
    let builder = ClientBuilder::new()
        .uri(&format!("ws://{}{path}", server.address))
        .context("make an address")?
        .limits(Limits::default().max_payload_len(Some(MAX_MESSAGE_BYTES)))
        .add_header(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_str(protocols).context("offer protocols")?,
        )
        .context("offer protocols")?;
    match builder.connect_on(stream).await {
        Ok((stream, _response)) => Ok(Ok(stream)),
        Err(SocketError::Upgrade(upgrade::Error::DidNotSwitchProtocols(status))) => Ok(Err(status)),
        Err(error) => Err(error).context("upgrade the connection"),
    }
}
