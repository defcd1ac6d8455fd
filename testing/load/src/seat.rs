//! Where somebody sits: what a connection needs to take part in a conversation.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Context as _;
use tokio::time::timeout;
use unhidra_types::ConversationId;

use crate::{
    dialect::{Dialect, Incoming},
    socket::Socket,
    target::Target,
    websocket::Message,
};

const GREETING_TIMEOUT: Duration = Duration::from_secs(60);

/// One place in a conversation.
#[derive(Clone)]
pub struct Seat {
    pub(crate) target: Target,
    pub(crate) dialect: Dialect,
    pub(crate) source: Option<Ipv4Addr>,
    pub(crate) path: String,
    pub(crate) protocols: Option<String>,
    pub(crate) conversation: ConversationId,
}

/// A conversation in which one speaks and the others listen.
#[derive(Clone)]
pub struct Lane {
    /// Who speaks.
    pub speaker: Seat,
    /// Who listens.
    pub listeners: Vec<Seat>,
}

impl Lane {
    /// Room `number` of a reference server, with `listeners`; it needs no accounts.
    #[must_use]
    pub fn reference(target: &Target, number: u32, listeners: u32) -> Self {
        let seat = |place: u32| Seat {
            target: target.clone(),
            dialect: Dialect::Reference,
            source: target.source(number.wrapping_mul(1_024).wrapping_add(place)),
            path: format!("/room/{number}"),
            protocols: None,
            conversation: ConversationId::from_bytes([0; 16]),
        };
        Self {
            speaker: seat(0),
            listeners: (1..=listeners).map(seat).collect(),
        }
    }

    /// Its log.
    #[must_use]
    pub const fn conversation(&self) -> ConversationId {
        self.speaker.conversation
    }

    /// The same, reached another way.
    #[must_use]
    pub fn through(mut self, target: &Target) -> Self {
        for seat in std::iter::once(&mut self.speaker).chain(&mut self.listeners) {
            seat.target = target.clone();
        }
        self
    }
}

impl Seat {
    /// Connects; what waits in the log is read by whoever uses the connection.
    pub(crate) async fn connect(&self) -> anyhow::Result<Socket> {
        Socket::open(&self.target, self.source, &self.path, self.protocols.as_deref()).await
    }

    /// Connects and waits until nothing is owed any more. A relay owes nothing.
    pub(crate) async fn connect_level(&self) -> anyhow::Result<Socket> {
        let mut socket = self.connect().await?;
        if self.dialect == Dialect::Reference {
            return Ok(socket);
        }
        timeout(GREETING_TIMEOUT, self.catch_up(&mut socket))
            .await
            .context("the server did not catch up in time")??;
        Ok(socket)
    }

    async fn catch_up(&self, socket: &mut Socket) -> anyhow::Result<()> {
        loop {
            let mut furthest = None;
            let mut is_level = false;
            while let Some(message) = socket.inbox.message()? {
                if let Message::Binary(payload) = message {
                    match self.dialect.read(payload)? {
                        Incoming::Entry { log, seq, .. } => furthest = Some((log, seq)),
                        Incoming::CaughtUp => is_level = true,
                        _ => {}
                    }
                }
            }
            if let Some((log, seq)) = furthest {
                self.dialect.acknowledge(&mut socket.outbox, log, seq)?;
                socket.flush().await?;
            }
            if is_level {
                return Ok(());
            }
            socket.exchange().await?;
        }
    }
}
