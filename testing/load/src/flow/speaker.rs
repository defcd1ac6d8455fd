//! Who speaks: keeps to its pace, and knows what has been accepted.

use std::{
    collections::VecDeque,
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{sync::watch, time::sleep_until};

use super::{
    OnLoss, Pace, Phase, Plan,
    board::{Board, LaneCounts},
    listener::again,
};
use crate::{
    dialect::{Incoming, Number},
    seat::Seat,
    socket::Socket,
    stamp::{Run, STAMP_BYTES, Stamp},
    websocket::Message,
};

pub(super) struct Speaker {
    seat: Seat,
    lane: u32,
    run: Run,
    plan: Plan,
    board: Arc<Board>,
    counts: Arc<LaneCounts>,
    /// Messages that are not accepted yet, with the moment at which each was to be sent.
    unanswered: VecDeque<(u64, Duration)>,
    next: u64,
    body: Vec<u8>,
}

/// What one has said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken {
    pub(super) lane: u32,
    pub(super) sent: u64,
    pub(super) listeners: u64,
}

impl Speaker {
    pub(super) fn new(
        seat: Seat,
        lane: u32,
        run: Run,
        plan: Plan,
        board: Arc<Board>,
        counts: Arc<LaneCounts>,
    ) -> Self {
        Self {
            seat,
            lane,
            run,
            plan,
            board,
            counts,
            unanswered: VecDeque::new(),
            next: 0,
            body: vec![0x2e; plan.body.max(STAMP_BYTES)],
        }
    }

    /// Speaks until it is told to finish, and returns when everything is accepted.
    pub(super) async fn speak(
        mut self,
        mut socket: Socket,
        mut phase: watch::Receiver<Phase>,
    ) -> anyhow::Result<Spoken> {
        // Speakers of one rate must not all speak at the same moment.
        let begin = self.run.began.elapsed() + self.offset();
        loop {
            let is_over = *phase.borrow_and_update() != Phase::Speak;
            if is_over && self.unanswered.is_empty() {
                return Ok(Spoken {
                    lane: self.lane,
                    sent: self.next,
                    listeners: self.counts.listeners,
                });
            }
            let due = match is_over {
                true => None,
                false => self.say_what_is_due(&mut socket, begin)?,
            };
            let went = tokio::select! {
                exchanged = socket.exchange() => match exchanged {
                    Ok(()) => self.take(&mut socket),
                    Err(lost) => Err(lost),
                },
                () = self.counts.progressed.notified(), if !is_over => Ok(()),
                () = until(due) => Ok(()),
                changed = phase.changed() => changed.context("the flow is over"),
            };
            match went {
                Ok(()) => {}
                Err(error) if self.plan.on_loss == OnLoss::Fail => return Err(error).context("speak"),
                Err(_lost) => {
                    socket = again(&self.seat).await;
                    self.repeat(&mut socket)?;
                }
            }
        }
    }

    /// Queues what the pace allows; the moment of the next message if it has one.
    fn say_what_is_due(&mut self, socket: &mut Socket, begin: Duration) -> anyhow::Result<Option<Instant>> {
        match self.plan.pace {
            Pace::Window(window) => {
                let window = u64::from(window);
                let listeners = self.counts.listeners.max(1);
                let through = self.counts.arrived() / listeners;
                let on_the_way = match self.counts.listeners {
                    // Nobody waits for it but the speaker.
                    0 => self.unanswered.len() as u64,
                    _ => self.next.saturating_sub(through),
                };
                // Half of it at once, so that every server may coalesce.
                if on_the_way > window / 2 {
                    let enough = (self.next - window / 2) * listeners;
                    if !self.counts.want(enough) {
                        return Ok(None);
                    }
                }
                let now = self.run.began.elapsed();
                for _ in on_the_way.min(window)..window {
                    self.say(socket, now)?;
                }
                let enough = (self.next - window / 2) * listeners;
                // What arrived meanwhile has to wake this speaker.
                if self.counts.want(enough) {
                    self.counts.progressed.notify_one();
                }
                Ok(None)
            }
            Pace::Rate(rate) => loop {
                let due = begin + Duration::from_secs_f64(self.next as f64 / rate);
                if due > self.run.began.elapsed() {
                    return Ok(Some(self.run.began + due));
                }
                self.say(socket, due)?;
            },
        }
    }

    fn say(&mut self, socket: &mut Socket, sent: Duration) -> anyhow::Result<()> {
        let counter = self.next;
        self.next += 1;
        self.unanswered.push_back((counter, sent));
        self.write(socket, counter, sent)
    }

    /// Everything that was not answered, once more and with the same ids.
    fn repeat(&mut self, socket: &mut Socket) -> anyhow::Result<()> {
        for place in 0..self.unanswered.len() {
            if let Some((counter, sent)) = self.unanswered.get(place).copied() {
                self.write(socket, counter, sent)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, socket: &mut Socket, counter: u64, sent: Duration) -> anyhow::Result<()> {
        let stamp = Stamp {
            run: self.run.number,
            sender: self.lane,
            counter,
            sent,
        };
        if let Some(place) = self.body.first_chunk_mut() {
            *place = stamp.to_bytes();
        }
        let number = Number {
            run: self.run.number,
            sender: self.lane,
            counter,
        };
        let (dialect, conversation) = (self.seat.dialect, self.seat.conversation);
        dialect.send(&mut socket.outbox, conversation, number, &self.body)
    }

    /// Answers, and the speaker's own messages where the server sends them.
    fn take(&mut self, socket: &mut Socket) -> anyhow::Result<()> {
        let dialect = self.seat.dialect;
        let (mut accepted, mut entries, mut furthest) = (0, 0, None);
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
            match dialect.read(payload)? {
                Incoming::Accepted(counter) => accepted += self.answered(counter),
                Incoming::Entry { log, seq, .. } => {
                    entries += 1;
                    furthest = Some((log, seq));
                }
                Incoming::Refused(counter, reason) => {
                    bail!("the server refused message {counter}: {reason:?}")
                }
                Incoming::CaughtUp | Incoming::Other => {}
            }
        }
        if let Some((log, seq)) = furthest {
            dialect.acknowledge(&mut socket.outbox, log, seq)?;
        }
        self.board.accept(accepted);
        self.board.deliver(entries);
        Ok(())
    }

    /// Answers come in the order of the messages, except for those that were repeated.
    fn answered(&mut self, counter: u64) -> u64 {
        match self
            .unanswered
            .iter()
            .position(|(waiting, _)| *waiting == counter)
        {
            Some(place) => {
                self.unanswered.remove(place);
                1
            }
            None => 0,
        }
    }

    fn offset(&self) -> Duration {
        match self.plan.pace {
            Pace::Rate(rate) => Duration::from_secs_f64(f64::from(self.lane % 64) / 64.0 / rate),
            Pace::Window(_) => Duration::ZERO,
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}
