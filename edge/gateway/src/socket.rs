//! A WebSocket that only speaks whole frames, and gives up on a peer that does not read.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_websockets::{CloseCode, Limits, Message, ServerBuilder, WebSocketStream};
use unhidra_bus::presence::Connected;
use unhidra_types::limits::MAX_FRAME_BYTES;
use unhidra_wire::close::Close;

/// How long a write may wait for a peer that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Socket<T = TokioIo<Upgraded>> {
    stream: WebSocketStream<T>,
    who: Arc<Connected>,
    /// The peer broke RFC 6455 or the bound; what it sends can't be told apart into messages any more.
    broken: bool,
}

impl Socket {
    pub(crate) fn new(upgraded: Upgraded, who: Arc<Connected>) -> Self {
        Self::over(TokioIo::new(upgraded), who)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    fn over(stream: T, who: Arc<Connected>) -> Self {
        let limits = Limits::default().max_payload_len(Some(MAX_FRAME_BYTES));
        Self {
            stream: ServerBuilder::new().limits(limits).serve(stream),
            who,
            broken: false,
        }
    }

    /// How long the peer has been silent.
    pub(crate) fn silence(&self) -> Duration {
        self.who.activity.silence()
    }

    /// The next frame; `Err(None)` when the peer is gone.
    ///
    /// # Cancellation safety
    /// Nothing is lost when the call is dropped.
    pub(crate) async fn receive(&mut self) -> Result<Bytes, Option<Close>> {
        loop {
            // Answers to pings would pile up for a peer that does not read; and nothing is half sent when the peer turns out
            // to be broken, so that a close frame can still follow.
            self.flush().await?;
            let message = match self.stream.next().await {
                Some(Ok(message)) => message,
                Some(Err(
                    tokio_websockets::Error::PayloadTooLong { .. } | tokio_websockets::Error::Protocol(_),
                )) => {
                    self.broken = true;
                    return Err(Some(Close::Malformed));
                }
                Some(Err(_)) | None => return Err(None),
            };
            self.who.activity.heard();
            if message.is_binary() {
                let frame: Bytes = message.into_payload().into();
                self.who.activity.received(frame.len());
                return Ok(frame);
            }
            if message.is_text() {
                return Err(Some(Close::Malformed));
            }
        }
    }

    /// Queues a frame; it may wait in a small buffer until [`Socket::flush`].
    pub(crate) async fn feed(&mut self, frame: Bytes) -> Result<(), Option<Close>> {
        self.who.activity.sent(frame.len());
        within(self.stream.feed(Message::binary(frame))).await
    }

    /// Sends what is queued.
    pub(crate) async fn flush(&mut self) -> Result<(), Option<Close>> {
        within(self.stream.flush()).await
    }

    /// Asks the peer for a sign of life.
    pub(crate) async fn ping(&mut self) -> Result<(), Option<Close>> {
        within(self.stream.send(Message::ping(Bytes::new()))).await
    }

    /// Says why, and closes.
    pub(crate) async fn close(mut self, close: Close) {
        let code = CloseCode::try_from(close.code()).unwrap_or(CloseCode::INTERNAL_SERVER_ERROR);
        let goodbye = Message::close(Some(code), close.reason());
        let closing = async {
            if self.broken {
                return close_broken(self.stream.into_inner(), goodbye).await;
            }
            self.stream.send(goodbye).await?;
            while self.stream.next().await.is_some_and(|message| message.is_ok()) {}
            Ok(())
        };
        if timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::debug!("peer did not finish the closing handshake");
        }
    }
}

/// Ends a connection on which `tokio_websockets` has a close frame of its own waiting, with a code that tells the client
/// nothing. What the peer still sends is thrown away: bytes that nobody reads would make TCP drop the goodbye.
async fn close_broken<T>(io: T, goodbye: Message) -> Result<(), tokio_websockets::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = ServerBuilder::new().serve(io);
    stream.send(goodbye).await?;
    tokio::io::copy(stream.get_mut(), &mut tokio::io::sink()).await?;
    Ok(())
}

async fn within(
    write: impl Future<Output = Result<(), tokio_websockets::Error>>,
) -> Result<(), Option<Close>> {
    match timeout(WRITE_TIMEOUT, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(None),
        Err(_) => Err(Some(Close::SlowReader)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_pings_and_does_not_read_is_given_up() {
        let (ours, mut theirs) = duplex(4 * 1024);
        let mut socket = Socket::over(ours, crate::inbox::tests::nobody());
        // Empty, masked by zeros.
        let pings = [0x89, 0x80, 0, 0, 0, 0].repeat(64 * 1024);
        tokio::select! {
            ended = socket.receive() => assert_eq!(ended, Err(Some(Close::SlowReader))),
            written = theirs.write_all(&pings) => panic!("{written:?}: answers were kept for nobody"),
        }
    }
}
