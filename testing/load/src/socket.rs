//! A WebSocket connection that reads and writes in large pieces.

use std::{
    future::poll_fn,
    io,
    net::Ipv4Addr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf},
    time::timeout,
};

use crate::{
    http::{Head, head_end},
    target::{Stream, Target},
    websocket::{Inbox, Outbox},
};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_HEAD: usize = 16 * 1024;
/// RFC 6455 section 1.3: any 16 bytes in base64. No proxy stands between a generator and its server.
const KEY: &str = "dW5oaWRyYS1sb2FkLWtleQ==";

/// An open connection.
pub(crate) struct Socket {
    stream: Stream,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    has_unflushed: bool,
}

/// The server answered the handshake with another status than 101.
#[derive(Debug, thiserror::Error)]
#[error("the handshake was answered with {status}")]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
}

impl Socket {
    /// Opens `path`, offering `protocols` if there are any. [`Refused`] can be found in the error.
    pub(crate) async fn open(
        target: &Target,
        source: Option<Ipv4Addr>,
        path: &str,
        protocols: Option<&str>,
    ) -> anyhow::Result<Self> {
        let authority = target.authority();
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nhost: {authority}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             user-agent: unhidra-load\r\nsec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n"
        );
        if let Some(protocols) = protocols {
            request.push_str(&format!("sec-websocket-protocol: {protocols}\r\n"));
        }
        request.push_str("\r\n");
        let mut stream = target.connect(source).await?;
        let shaken = timeout(HANDSHAKE_TIMEOUT, shake(&mut stream, request.as_bytes()));
        let rest = shaken.await.context("the handshake was not answered in time")??;
        Ok(Self {
            stream,
            inbox: Inbox::holding(&rest),
            outbox: Outbox::new(u64::from(source.map_or(1, u32::from))),
            has_unflushed: false,
        })
    }

    /// Writes what is queued and reads what has come, until either gets on. Nothing is lost when it is dropped.
    pub(crate) async fn exchange(&mut self) -> anyhow::Result<()> {
        poll_fn(|cx| self.poll_exchange(cx))
            .await
            .context("talk to the server")
    }

    /// Writes everything that is queued; what comes meanwhile is kept.
    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        while !self.outbox.waiting().is_empty() || self.has_unflushed {
            self.exchange().await?;
        }
        Ok(())
    }

    /// Ends the connection in order, without waiting for the other side.
    pub(crate) async fn close(mut self) {
        // Its end is all that is wanted.
        let _gone = self.stream.shutdown().await;
    }

    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut progressed = false;
        while !self.outbox.waiting().is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, self.outbox.waiting()) {
                Poll::Ready(written) => self.outbox.advance(written?),
                Poll::Pending => break,
            }
            (progressed, self.has_unflushed) = (true, true);
        }
        if self.has_unflushed && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.has_unflushed = false;
        }
        let mut room = ReadBuf::new(self.inbox.room());
        if Pin::new(&mut self.stream).poll_read(cx, &mut room)?.is_ready() {
            let read = room.filled().len();
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.inbox.arrived(read);
            progressed = true;
        }
        if progressed {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

/// What came behind the answer.
async fn shake(stream: &mut Stream, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    stream.write_all(request).await.context("ask for an upgrade")?;
    stream.flush().await.context("ask for an upgrade")?;
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let read = stream.read_buf(&mut bytes).await.context("read an upgrade")?;
        ensure!(read > 0, "the server closed the connection");
        if let Some(end) = head_end(&bytes) {
            let rest = bytes.split_off(end);
            let head = Head::parse(&String::from_utf8_lossy(&bytes))?;
            if head.status != 101 {
                bail!(Refused {
                    status: head.status,
                    retry_after: head.retry_after,
                });
            }
            return Ok(rest);
        }
        ensure!(bytes.len() < MAX_HEAD, "the head of an answer is too long");
    }
}
