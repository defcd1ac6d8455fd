//! What is done with an anchor, and what is counted meanwhile: the same as with our server, in the same sizes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tokio::{
    net::tcp::OwnedWriteHalf,
    task::JoinSet,
    time::{Instant, sleep},
};
use unhidra_load::{latency::Latencies, measure::Spent};

use super::{
    Running,
    dialect::{Name, Place},
    link::{Ears, Link},
    players::{Field, Lane, Sender, receive},
};

/// Logins at a time.
const LOGINS_AT_ONCE: u32 = 8;
/// Nothing has arrived for this long after the end: what is missing is lost.
const LOST_AFTER: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Who sends to whom, and how fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) shape: Shape,
    pub(super) pace: Pace,
    /// Before anything is counted.
    pub(super) warm_up: Duration,
    pub(super) measured: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// One sender, so many receivers of each message.
    FanOut(u32),
    /// So many senders with a receiver each.
    Pairs(u32),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// So many messages of each sender on their way: saturation.
    Window(u32),
    /// Messages a second.
    Fixed(u32),
}

/// What a course came to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// While it was measured.
    pub(super) deliveries: u64,
    pub(super) spent: Spent,
    pub(super) latencies: Latencies,
    /// Of all that were sent.
    pub(super) lost: u64,
    pub(super) duplicated: u64,
}

/// Links that did nothing but log in.
pub(super) struct LoggedIn {
    pub(super) spent: Spent,
    /// Bytes of memory by which the anchor grew.
    pub(super) memory: u64,
}

/// Everybody who takes part, connected, before anything is sent.
struct Cast {
    lanes: Vec<Arc<Lane>>,
    senders: Vec<(Sender, Ears, OwnedWriteHalf)>,
    receivers: Vec<(Arc<Lane>, Ears, OwnedWriteHalf)>,
}

/// Logs `count` people in, each on a connection of its own, and looks at the anchor when it has `settled`.
pub(super) async fn log_in_many(
    running: &Running,
    first: Name,
    count: u32,
    settle: Duration,
) -> anyhow::Result<LoggedIn> {
    // What the first connections of all cost is not what one more costs.
    let _kept = log_in(running, first, LOGINS_AT_ONCE).await?;
    sleep(settle).await;
    let processes = running.processes();
    let (memory, before) = (processes.memory()?, processes.usage()?);
    let links = log_in(running, Name(first.0 + LOGINS_AT_ONCE), count).await?;
    let spent = processes.usage()?.since(&before);
    sleep(settle).await;
    let memory = processes.memory()?.saturating_sub(memory);
    drop(links);
    Ok(LoggedIn { spent, memory })
}

async fn log_in(running: &Running, first: Name, count: u32) -> anyhow::Result<Vec<Link>> {
    let mut links = Vec::new();
    for chunk in (0..count).step_by(LOGINS_AT_ONCE as usize) {
        let names = chunk..count.min(chunk + LOGINS_AT_ONCE);
        let logins =
            names.map(|number| Link::log_in(running.address(), running.dialect(), Name(first.0 + number)));
        links.extend(try_join_all(logins).await?);
    }
    Ok(links)
}

impl Shape {
    const fn lanes(self) -> u32 {
        match self {
            Self::FanOut(_) => 1,
            Self::Pairs(pairs) => pairs,
        }
    }

    const fn receivers(self) -> u32 {
        match self {
            Self::FanOut(receivers) => receivers,
            Self::Pairs(_) => 1,
        }
    }

    /// How many names it takes.
    pub(super) const fn people(self) -> u32 {
        self.lanes() * (1 + self.receivers())
    }
}

impl Course {
    /// Runs it, with names from `first` on.
    ///
    /// # Errors
    /// When the anchor refuses anything, or closes a connection.
    pub(super) async fn run(self, running: &Running, first: Name) -> anyhow::Result<Outcome> {
        let Cast {
            lanes,
            senders,
            receivers,
        } = self.assemble(running, first).await?;
        let field = Arc::new(Field::new(Instant::now(), self.warm_up));
        let mut listening = JoinSet::new();
        for (lane, ears, write) in receivers {
            listening.spawn(receive(Arc::clone(&field), lane, ears, write));
        }
        let (mut sending, mut overhearing) = (JoinSet::new(), JoinSet::new());
        for (sender, mut ears, write) in senders {
            sending.spawn(sender.send(Arc::clone(&field), write));
            // Acknowledgements and echoes are read and not looked at.
            overhearing.spawn(async move { while ears.hear(|_| ()).await.is_ok() {} });
        }
        let count = || {
            let delivered = lanes.iter().map(|lane| lane.delivered.load(Ordering::Relaxed));
            delivered.sum::<u64>()
        };
        let processes = running.processes();
        sleep(self.warm_up).await;
        let (before, begun) = (processes.usage()?, count());
        sleep(self.measured).await;
        let (spent, deliveries) = (processes.usage()?.since(&before), count() - begun);
        field.end();
        let mut sent = 0;
        while let Some(ended) = sending.join_next().await {
            sent += ended.context("a sender has ended")??;
        }
        arrived(count, sent * u64::from(self.shape.receivers())).await;
        listening.abort_all();
        while listening.join_next().await.is_some() {}
        let tally = field.tally()?;
        Ok(Outcome {
            deliveries,
            spent,
            latencies: tally.latencies,
            lost: (sent * u64::from(self.shape.receivers())).saturating_sub(tally.received),
            duplicated: tally.duplicated,
        })
    }

    async fn assemble(self, running: &Running, first: Name) -> anyhow::Result<Cast> {
        let mut links = log_in(running, first, self.shape.people()).await?.into_iter();
        let mut cast = Cast {
            lanes: Vec::new(),
            senders: Vec::new(),
            receivers: Vec::new(),
        };
        for number in 0..self.shape.lanes() {
            let name = Name(first.0 + number * (1 + self.shape.receivers()));
            let place = match self.shape {
                Shape::FanOut(_) => Place::Room(name),
                Shape::Pairs(_) => Place::Inbox(Name(name.0 + 1)),
            };
            let lane = Arc::new(Lane::to(self.shape.receivers()));
            let mut link = links.next().context("everybody has a link")?;
            link.prepare(place).await?;
            let (ears, write) = link.halves();
            let sender = Sender {
                name,
                place,
                pace: self.pace,
                dialect: running.dialect(),
                lane: Arc::clone(&lane),
            };
            cast.senders.push((sender, ears, write));
            for _ in 0..self.shape.receivers() {
                let mut link = links.next().context("everybody has a link")?;
                link.listen(place).await?;
                let (ears, write) = link.halves();
                cast.receivers.push((Arc::clone(&lane), ears, write));
            }
            cast.lanes.push(lane);
        }
        Ok(cast)
    }
}

/// Waits until as many as `expected` have arrived, or no more come.
async fn arrived(count: impl Fn() -> u64, expected: u64) {
    let (mut last, mut grew) = (count(), Instant::now());
    while last < expected && grew.elapsed() < LOST_AFTER {
        sleep(LOOK_AGAIN).await;
        let now = count();
        if now > last {
            (last, grew) = (now, Instant::now());
        }
    }
}
