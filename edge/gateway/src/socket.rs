//! A WebSocket that only speaks whole frames, and gives up on a peer that does not read.
//!
//! Nothing is allocated for a connection over which nothing goes: bytes are read on the stack, and what is queued is shared.

use std::{
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep, timeout},
};
use unhidra_bus::presence::Connected;
use unhidra_wire::close::Close;

use crate::websocket::{self, Message, Queue, Reader};

/// How long a write may wait for a peer that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes that a peer has to take in that time.
const WRITE_PROGRESS: usize = 8 * 1024;
/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes that are read at once.
const READ_BYTES: usize = 8 * 1024;
/// Bytes that are queued before they have to go out.
const QUEUED_BYTES: usize = 64 * 1024;

pub(crate) struct Socket<T = TokioIo<Upgraded>> {
    io: T,
    reader: Reader,
    /// What came behind the last message, from `rest_at` on; at most [`READ_BYTES`].
    rest: Vec<u8>,
    rest_at: usize,
    queue: Queue,
    /// Something was written and not flushed.
    unflushed: bool,
    /// Runs while the peer does not read.
    patience: Option<Pin<Box<Sleep>>>,
    /// Bytes that it took meanwhile.
    taken: usize,
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
    fn over(io: T, who: Arc<Connected>) -> Self {
        Self {
            io,
            reader: Reader::default(),
            rest: Vec::new(),
            rest_at: 0,
            queue: Queue::default(),
            unflushed: false,
            patience: None,
            taken: 0,
            who,
            broken: false,
        }
    }

    /// How long the peer has been silent.
    pub(crate) fn silence(&self) -> Duration {
        self.who.activity.silence()
    }

    /// Queues whole messages as they go over the socket; so many frames.
    pub(crate) fn queue(&mut self, messages: Bytes, frames: u64) {
        self.who.activity.sent(frames, messages.len());
        self.queue.push(messages);
    }

    /// Asks the peer for a sign of life.
    pub(crate) fn ping(&mut self) {
        self.queue.push(websocket::PING);
    }

    /// Whether what is queued has to go out before more is queued.
    pub(crate) const fn is_full(&self) -> bool {
        self.queue.bytes() >= QUEUED_BYTES
    }

    /// Whether a write waits for the peer.
    pub(crate) const fn is_blocked(&self) -> bool {
        self.patience.is_some()
    }

    /// The next frame; `Err(None)` when the peer is gone. What is queued goes out first: answers to pings would pile up
    /// for a peer that does not read.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Option<Close>>> {
        if self.is_blocked() {
            ready!(self.poll_flush(cx))?;
        }
        loop {
            while let Some(message) = self.next_of_rest()? {
                if let Some(frame) = self.understand(message)? {
                    return Poll::Ready(Ok(frame));
                }
                ready!(self.poll_flush(cx))?;
            }
            let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(Err(None)),
            }
            self.who.activity.heard();
            let mut input = buffer.filled();
            let message = self.read(&mut input)?;
            self.rest.extend_from_slice(input);
            if let Some(message) = message {
                if let Some(frame) = self.understand(message)? {
                    return Poll::Ready(Ok(frame));
                }
                ready!(self.poll_flush(cx))?;
            }
        }
    }

    fn next_of_rest(&mut self) -> Result<Option<Message>, Option<Close>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let rest = std::mem::take(&mut self.rest);
        let mut input = rest.get(self.rest_at..).unwrap_or_default();
        let message = self.read(&mut input)?;
        self.rest_at = rest.len() - input.len();
        if !input.is_empty() {
            self.rest = rest;
        } else {
            self.rest_at = 0;
        }
        Ok(message)
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Option<Close>> {
        self.reader.read(input).map_err(|_violation| {
            self.broken = true;
            Some(Close::Malformed)
        })
    }

    /// The frame that a message is, if it is one.
    fn understand(&mut self, message: Message) -> Result<Option<Bytes>, Option<Close>> {
        match message {
            Message::Binary(frame) => {
                self.who.activity.received(frame.len());
                Ok(Some(frame))
            }
            Message::Text => Err(Some(Close::Malformed)),
            Message::Ping(payload) => {
                self.queue.push(websocket::pong(&payload));
                Ok(None)
            }
            Message::Pong => Ok(None),
            Message::Close(payload) => {
                self.queue.push(websocket::close_again(&payload));
                // What does not fit into the socket now is not worth waiting for: the peer has gone.
                let mut context = Context::from_waker(std::task::Waker::noop());
                match self.poll_flush(&mut context) {
                    Poll::Ready(Err(close)) => Err(close),
                    Poll::Ready(Ok(())) | Poll::Pending => Err(None),
                }
            }
        }
    }

    /// Sends what is queued.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Option<Close>>> {
        while !self.queue.is_empty() {
            let io = Pin::new(&mut self.io);
            let written = self.queue.with_front(|pieces| match pieces {
                // The system takes one piece by a shorter way than a list of one.
                [piece] => io.poll_write(cx, piece),
                pieces => io.poll_write_vectored(cx, pieces),
            });
            match written {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(None)),
                Poll::Pending => return self.lose_patience(cx),
            }
            if let Poll::Ready(Ok(written)) = written {
                self.queue.advance(written);
                self.unflushed = true;
                self.taken = self.taken.saturating_add(written);
                if self.taken >= WRITE_PROGRESS {
                    self.patience = None;
                }
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(None)),
                Poll::Pending => return self.lose_patience(cx),
            }
            self.unflushed = false;
        }
        self.patience = None;
        Poll::Ready(Ok(()))
    }

    fn lose_patience(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Option<Close>>> {
        if self.patience.is_none() {
            self.taken = 0;
        }
        let patience = self
            .patience
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(Err(Some(Close::SlowReader)))
    }

    /// Says why, and closes.
    pub(crate) async fn close(mut self, close: Close) {
        self.queue.push(websocket::close(close.code(), close.reason()));
        // Who was given up for not reading may do it now.
        self.patience = None;
        let closing = std::future::poll_fn(|cx| self.poll_close(cx));
        if timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::debug!("peer did not finish the closing handshake");
        }
    }

    /// Sends what is queued and waits until the peer has closed as well. What it still sends is thrown away: bytes that
    /// nobody reads would make TCP drop the goodbye.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if ready!(self.poll_flush(cx)).is_err() {
                return Poll::Ready(());
            }
            let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
            let mut input = buffer.filled();
            while !self.broken && !input.is_empty() {
                match self.reader.read(&mut input) {
                    Ok(Some(Message::Close(_))) => return Poll::Ready(()),
                    Ok(_) => {}
                    Err(_) => self.broken = true,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_pings_and_does_not_read_is_given_up() {
        let (ours, mut theirs) = duplex(4 * 1024);
        let mut socket = Socket::over(ours, crate::inbox::tests::nobody());
        // Empty, masked by zeros.
        let pings = [0x89, 0x80, 0, 0, 0, 0].repeat(64 * 1024);
        tokio::select! {
            ended = poll_fn(|cx| socket.poll_receive(cx)) => assert_eq!(ended, Err(Some(Close::SlowReader))),
            written = theirs.write_all(&pings) => panic!("{written:?}: answers were kept for nobody"),
        }
    }

    #[tokio::test]
    async fn a_peer_that_closes_hears_its_code_again() {
        let (ours, mut theirs) = duplex(4 * 1024);
        let mut socket = Socket::over(ours, crate::inbox::tests::nobody());
        theirs.write_all(&[0x88, 0x82, 0, 0, 0, 0, 3, 232]).await.unwrap();
        assert_eq!(poll_fn(|cx| socket.poll_receive(cx)).await, Err(None));
        drop(socket);
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, [0x88, 2, 3, 232]);
    }

    #[tokio::test]
    async fn many_frames_in_one_read_come_one_by_one() {
        let (ours, mut theirs) = duplex(4 * 1024);
        let mut socket = Socket::over(ours, crate::inbox::tests::nobody());
        let frames: Vec<u8> = (0..100).flat_map(|byte| [0x82, 0x81, 0, 0, 0, 0, byte]).collect();
        theirs.write_all(&frames).await.unwrap();
        for byte in 0..100 {
            let frame = poll_fn(|cx| socket.poll_receive(cx)).await;
            assert_eq!(frame.as_deref(), Ok([byte].as_slice()));
        }
        assert_eq!(socket.rest.capacity(), 0, "nothing is kept between messages");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_has_a_minute_for_each_eight_kibibytes() {
        let (ours, mut theirs) = duplex(WRITE_PROGRESS);
        let mut socket = Socket::over(ours, crate::inbox::tests::nobody());
        socket.queue(vec![7; 4 * WRITE_PROGRESS].into(), 1);
        let reading = async {
            let mut buffer = vec![0; WRITE_PROGRESS];
            for _ in 0..3 {
                sleep(WRITE_TIMEOUT - Duration::from_secs(1)).await;
                theirs.read_exact(&mut buffer).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            flushed = poll_fn(|cx| socket.poll_flush(cx)) => assert_eq!(flushed, Ok(())),
            () = reading => {}
        }
    }
}
