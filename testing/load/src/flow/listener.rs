//! Who listens: counts what comes and acknowledges it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{sync::watch, time::sleep};

use super::{
    OnLoss, Phase,
    board::{Board, LaneCounts},
};
use crate::{
    dialect::Incoming,
    seat::Seat,
    socket::Socket,
    stamp::{Ledger, Run, Stamp},
    websocket::Message,
};

/// Between two attempts to connect again.
pub(super) const RETRY: Duration = Duration::from_millis(100);

pub(super) struct Listener {
    pub(super) seat: Seat,
    pub(super) run: Run,
    pub(super) board: Arc<Board>,
    pub(super) counts: Arc<LaneCounts>,
    pub(super) on_loss: OnLoss,
    pub(super) shard: usize,
}

impl Listener {
    /// Listens until the end.
    pub(super) async fn listen(
        self,
        mut socket: Socket,
        mut phase: watch::Receiver<Phase>,
    ) -> anyhow::Result<Ledger> {
        let mut ledger = Ledger::default();
        let mut stamps = Vec::new();
        loop {
            let heard = tokio::select! {
                exchanged = socket.exchange() => exchanged,
                () = ended(&mut phase) => {
                    socket.close().await;
                    return Ok(ledger);
                }
            };
            let heard = match heard {
                Ok(()) => self.take(&mut socket, &mut ledger, &mut stamps),
                Err(lost) => Err(lost),
            };
            match heard {
                Ok(()) => {}
                Err(error) if self.on_loss == OnLoss::Fail => return Err(error).context("listen"),
                Err(_lost) => {
                    socket = tokio::select! {
                        socket = again(&self.seat) => socket,
                        () = ended(&mut phase) => return Ok(ledger),
                    };
                }
            }
        }
    }

    /// Everything that has come.
    fn take(&self, socket: &mut Socket, ledger: &mut Ledger, stamps: &mut Vec<Stamp>) -> anyhow::Result<()> {
        let now = self.run.began.elapsed();
        let dialect = self.seat.dialect;
        let mut entries = 0;
        let mut furthest: Option<([u8; 16], u64)> = None;
        while let Some(message) = socket.inbox.message()? {
            let payload = match message {
                Message::Binary(payload) => payload,
                Message::Ping(payload) => {
                    socket.outbox.pong(payload)?;
                    continue;
                }
                Message::Close(code) => bail!("the server closed the connection with {code}"),
                Message::Other => continue,
            };
            let Incoming::Entry { log, seq, body } = dialect.read(payload)? else {
                continue;
            };
            entries += 1;
            if let Some((other, seq)) = furthest
                && other != log
            {
                dialect.acknowledge(&mut socket.outbox, other, seq)?;
            }
            furthest = Some((log, seq));
            if let Some(stamp) = Stamp::read(body)
                && stamp.run == self.run.number
                && ledger.take(log, seq, &stamp)
            {
                stamps.push(stamp);
            }
        }
        if let Some((log, seq)) = furthest {
            dialect.acknowledge(&mut socket.outbox, log, seq)?;
        }
        if self.board.is_recording() && !stamps.is_empty() {
            self.board.with_latencies(self.shard, |latencies| {
                for stamp in &*stamps {
                    latencies.record(now.saturating_sub(stamp.sent));
                }
            });
        }
        if entries > 0 {
            self.board.deliver(entries);
            self.board.arrive(&self.counts, u64::try_from(stamps.len())?);
            stamps.clear();
        }
        Ok(())
    }
}

/// The end, or that nobody is left to say so.
async fn ended(phase: &mut watch::Receiver<Phase>) {
    drop(phase.wait_for(|phase| *phase == Phase::End).await);
}

/// A new connection, as soon as there is one.
pub(super) async fn again(seat: &Seat) -> Socket {
    loop {
        match seat.connect().await {
            Ok(socket) => return socket,
            // The server is away, which is what the caller has to stand.
            Err(_away) => sleep(RETRY).await,
        }
    }
}
