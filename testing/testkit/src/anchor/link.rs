//! A connection to an anchor that is logged in.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use super::dialect::{Dialect, Heard, Name, Place, Step};

/// From a question to its answer while logins crowd.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// What one read takes at most.
const READ_BYTES: usize = 64 * 1024;
/// More than any answer of a login, and than any stanza.
const MAX_HEARD_BYTES: usize = 16 << 20;

/// A connection that waits for each answer.
pub(super) struct Link {
    stream: TcpStream,
    heard: Vec<u8>,
    dialect: Dialect,
    name: Name,
}

/// The side of a connection that hears.
pub(super) struct Ears {
    read: OwnedReadHalf,
    heard: Vec<u8>,
    dialect: Dialect,
    /// What is owed to the other side.
    answers: Vec<u8>,
}

impl Link {
    pub(super) async fn log_in(address: SocketAddr, dialect: Dialect, name: Name) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .context("connect to an anchor")?;
        stream.set_nodelay(true).context("send without delay")?;
        let mut link = Self {
            stream,
            heard: Vec::new(),
            dialect,
            name,
        };
        link.walk(dialect.log_in(name)).await.context("log in")?;
        Ok(link)
    }

    /// Has what goes to `place` come here.
    pub(super) async fn listen(&mut self, place: Place) -> anyhow::Result<()> {
        let steps = self.dialect.listen(self.name, place);
        self.walk(steps).await.context("listen")
    }

    /// Does what has to be done before anything is sent to `place`.
    pub(super) async fn prepare(&mut self, place: Place) -> anyhow::Result<()> {
        let steps = self.dialect.prepare(self.name, place);
        self.walk(steps).await.context("prepare to send")
    }

    pub(super) fn halves(self) -> (Ears, OwnedWriteHalf) {
        let (read, write) = self.stream.into_split();
        let ears = Ears {
            read,
            heard: self.heard,
            dialect: self.dialect,
            answers: Vec::new(),
        };
        (ears, write)
    }

    async fn walk(&mut self, steps: Vec<Step>) -> anyhow::Result<()> {
        for step in steps {
            self.stream.write_all(&step.say).await.context("write")?;
            let answered = timeout(ANSWER_TIMEOUT, self.wait_for(&step.until)).await;
            let heard = || String::from_utf8_lossy(&self.heard).into_owned();
            answered
                .with_context(|| format!("no answer, but {:?}", heard()))?
                .with_context(|| format!("heard {:?}", heard()))?;
        }
        Ok(())
    }

    async fn wait_for(&mut self, until: &[u8]) -> anyhow::Result<()> {
        loop {
            let found = self.heard.windows(until.len()).position(|window| window == until);
            if let Some(at) = found {
                self.heard.drain(..at + until.len());
                return Ok(());
            }
            let read = self.stream.read_buf(&mut self.heard).await.context("read")?;
            ensure!(read > 0, "the connection was closed");
        }
    }
}

impl Ears {
    /// Waits for more and hands each payload in it to `take`. What is owed for it is in [`Ears::answers`] afterwards.
    pub(super) async fn hear(&mut self, mut take: impl FnMut(&[u8])) -> anyhow::Result<()> {
        self.heard.reserve(READ_BYTES);
        let read = self.read.read_buf(&mut self.heard).await.context("read")?;
        ensure!(read > 0, "the anchor closed a connection");
        let mut at = 0;
        while let Some((used, heard)) = self.dialect.hear(self.heard.get(at..).unwrap_or_default())? {
            match heard {
                Heard::Message(payload) => take(payload),
                Heard::Confirmable(payload, confirmation) => {
                    take(payload);
                    self.answers.extend_from_slice(&confirmation);
                }
                Heard::Question(answer) => self.answers.extend_from_slice(answer),
                Heard::Refusal => anyhow::bail!("the anchor refused a message"),
                Heard::Other => {}
            }
            at += used;
        }
        self.heard.drain(..at);
        ensure!(
            self.heard.len() < MAX_HEARD_BYTES,
            "what the anchor says has no end"
        );
        Ok(())
    }

    pub(super) fn answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answers)
    }
}
