//! Bytes on a socket from a chosen address of this machine, and what comes back.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of an answer that are looked at.
const MAX_ANSWER: usize = 64 * 1024;
const CLOSE: u8 = 8;

/// What a peer said in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// A status, a close code, or how it ended without one.
    pub(super) what: String,
    /// Whether it says when to come back, as 429 and 503 have to.
    pub(super) has_retry_after: bool,
}

impl Heard {
    pub(super) fn word(what: impl ToString) -> Self {
        Self {
            what: what.to_string(),
            has_retry_after: false,
        }
    }
}

/// Connects from `127.0.0.from`.
pub(super) async fn connect(from: u8, server: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4().context("make a socket")?;
    let source = SocketAddr::from(([127, 0, 0, from], 0));
    socket.bind(source).context("take an address of this machine")?;
    socket.connect(server).await.context("connect")
}

/// Sends `request` and reads the answer to it.
pub(super) async fn ask(from: u8, server: SocketAddr, request: &[u8]) -> Heard {
    let asking = async {
        let Ok(mut stream) = connect(from, server).await else {
            return Heard::word("no connection");
        };
        // An answer may come before everything is sent.
        let (mut reader, mut writer) = stream.split();
        let sending = async {
            if writer.write_all(request).await.is_err() {
                std::future::pending::<()>().await;
            }
            std::future::pending::<Heard>().await
        };
        tokio::select! {
            heard = answer(&mut reader) => heard,
            never = sending => never,
        }
    };
    timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| Heard::word("no answer"))
}

async fn answer(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Heard {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_ANSWER && !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let status = text
        .strip_prefix("http/1.1 ")
        .and_then(|rest| rest.split(' ').next());
    match status {
        Some(status) => Heard {
            what: status.to_owned(),
            has_retry_after: text.contains("\r\nretry-after: "),
        },
        None => Heard::word("closed"),
    }
}

/// A WebSocket handshake with `token`.
pub(super) fn handshake(token: &str) -> Vec<u8> {
    format!(
        "GET /v1/ws HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: unhidra.v1, bearer.{token}\r\n\r\n"
    )
    .into_bytes()
}

/// Shakes hands, sends `bytes` as they are, and waits for the close code.
pub(super) async fn closing(from: u8, server: SocketAddr, token: &str, bytes: &[u8]) -> Heard {
    let talking = async {
        let Ok(mut stream) = connect(from, server).await else {
            return Heard::word("no connection");
        };
        if stream.write_all(&handshake(token)).await.is_err() {
            return Heard::word("closed");
        }
        let (mut reader, mut writer) = stream.split();
        let shaken = answer(&mut reader).await;
        if shaken.what != "101" {
            return shaken;
        }
        let sending = async {
            // What is refused while it is sent breaks off.
            let _broken_off = writer.write_all(bytes).await;
            std::future::pending::<Heard>().await
        };
        tokio::select! {
            heard = close_code(&mut reader) => heard,
            never = sending => never,
        }
    };
    timeout(PATIENCE, talking)
        .await
        .unwrap_or_else(|_| Heard::word("stays open"))
}

/// Reads the frames of a server (RFC 6455 section 5.2) through its goodbye.
async fn close_code(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Heard {
    loop {
        let Ok(head) = stream.read_u16().await else {
            return Heard::word("closed");
        };
        let [first, second] = head.to_be_bytes();
        let length = match second & 0x7f {
            126 => stream.read_u16().await.map(u64::from),
            127 => stream.read_u64().await,
            short => Ok(u64::from(short)),
        };
        if first & 0x0f == CLOSE {
            return match stream.read_u16().await {
                Ok(code) => Heard::word(code),
                Err(_) => Heard::word("closed"),
            };
        }
        let Ok(length) = length else {
            return Heard::word("closed");
        };
        let mut payload = (&mut *stream).take(length);
        if tokio::io::copy(&mut payload, &mut tokio::io::sink())
            .await
            .is_err()
        {
            return Heard::word("closed");
        }
    }
}

/// A frame of a client: opcode and flags as given, masked by zeros unless it breaks that rule.
pub(super) fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(mask | u8::try_from(length).unwrap_or_default()),
        Ok(length) => {
            frame.push(mask | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(mask | 127);
            frame.extend(u64::try_from(payload.len()).unwrap_or_default().to_be_bytes());
        }
    }
    if masked {
        frame.extend([0; 4]);
    }
    frame.extend(payload);
    frame
}
