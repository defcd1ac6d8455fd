//! Messages through conversations: some speak, others listen, and all of it is counted.
//!
//! A flow has three parts: it warms up, it is measured, and it ends, when every message has to be with everyone. In a
//! *closed window* a speaker has so many messages on the way, sent but not yet with all listeners, and goes on when half
//! of them have arrived: that is saturation, and how well writes coalesce decides the figure. At a *fixed rate* each
//! message has a moment at which it is to be sent, and its latency counts from there, however late the generator or the
//! server is (no coordinated omission).
//!
//! Listeners acknowledge as the real client does: after each batch that one read brought, once per log. They persist
//! nothing, so they acknowledge sooner than a client with a disk would, and oftener: the server pays for more cursors.

mod board;
mod listener;
mod speaker;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    latency::Latencies,
    measure::{Spent, Watched},
    progress::Progress,
    random::random,
    seat::{Lane, Seat},
    socket::Socket,
    stamp::{Ledger, Run},
};

use self::{
    board::Board,
    listener::Listener,
    speaker::{Speaker, Spoken},
};

/// Connections that are opened at the same time.
const CONNECTS_AT_ONCE: usize = 64;
/// How long the last messages may take.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the end is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How fast speakers speak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each has so many messages on the way.
    Window(u32),
    /// Each speaks so often in a second.
    Rate(f64),
}

/// What a lost connection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    /// The run has failed.
    Fail,
    /// It is opened again and again; speakers repeat what was not answered.
    Reconnect,
}

/// How a flow goes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How fast.
    pub pace: Pace,
    /// Bytes of a message, at least 24.
    pub body: usize,
    /// Before the measurement.
    pub warm_up: Duration,
    /// The measurement.
    pub duration: Duration,
    /// When connections are lost.
    pub on_loss: OnLoss,
}

/// What came of a flow.
#[derive(Debug)]
pub struct Flow {
    /// Messages that were accepted while it was measured.
    pub messages: u64,
    /// Entries that were delivered while it was measured, speakers' own included where a server sends them.
    pub deliveries: u64,
    /// What the server has spent meanwhile; nothing when it is not watched.
    pub server: Spent,
    /// What this process has spent meanwhile.
    pub generator: Spent,
    /// From the intended moment to the listener, of the messages that arrived while it was measured.
    pub latencies: Latencies,
    /// Messages that never arrived, over all listeners. Zero, or the server lies.
    pub lost: u64,
    /// Messages that stand twice in a log. Zero, or the server lies.
    pub duplicated: u64,
    /// Entries that came again after a reconnection.
    pub repeated: u64,
    /// Messages in all, from the first to the last.
    pub sent: u64,
}

impl Plan {
    /// Messages of 200 bytes at `pace` for `duration`, after a second to warm up.
    #[must_use]
    pub const fn new(pace: Pace, duration: Duration) -> Self {
        Self {
            pace,
            body: 200,
            warm_up: Duration::from_secs(1),
            duration,
            on_loss: OnLoss::Fail,
        }
    }
}

impl Flow {
    /// That nothing was lost and nothing came twice.
    ///
    /// # Errors
    /// How much.
    pub fn verdict(&self) -> anyhow::Result<()> {
        ensure!(
            self.lost == 0 && self.duplicated == 0,
            "{} messages lost and {} duplicated of {}",
            self.lost,
            self.duplicated,
            self.sent
        );
        Ok(())
    }
}

/// Connections of a flow, open and level with their logs.
pub struct Connected {
    lanes: Vec<OpenLane>,
}

struct OpenLane {
    speaker: (Seat, Socket),
    listeners: Vec<(Seat, Socket)>,
}

impl Connected {
    /// How many connections there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        let of_lane = |lane: &OpenLane| lane.listeners.len() as u64 + 1;
        self.lanes.iter().map(of_lane).sum()
    }

    /// Ends all of them in order.
    pub async fn close(self) {
        for lane in self.lanes {
            for (_seat, socket) in std::iter::once(lane.speaker).chain(lane.listeners) {
                socket.close().await;
            }
        }
    }

    /// Opens every connection of `lanes`.
    ///
    /// # Errors
    /// When one can't be opened.
    pub async fn open(lanes: &[Lane], progress: &Progress) -> anyhow::Result<Self> {
        let seats: Vec<Seat> = lanes
            .iter()
            .flat_map(|lane| std::iter::once(&lane.speaker).chain(&lane.listeners))
            .cloned()
            .collect();
        let all = seats.len();
        let mut sockets: Vec<Option<Socket>> = std::iter::repeat_with(|| None).take(all).collect();
        let mut opening = JoinSet::new();
        let mut waiting = seats.into_iter().enumerate();
        let mut done = 0;
        loop {
            while opening.len() < CONNECTS_AT_ONCE
                && let Some((place, seat)) = waiting.next()
            {
                opening.spawn(async move { anyhow::Ok((place, seat.connect_level().await?)) });
            }
            let Some(opened) = opening.join_next().await else {
                break;
            };
            let (place, socket) = opened.context("open connections")?.context("open a connection")?;
            if let Some(slot) = sockets.get_mut(place) {
                *slot = Some(socket);
            }
            done += 1;
            progress.count("connections", done, u64::try_from(all)?);
        }
        let mut sockets = sockets.into_iter();
        let mut next = |seat: &Seat| {
            let socket = sockets.next().flatten().context("every connection is open")?;
            anyhow::Ok((seat.clone(), socket))
        };
        let lanes = lanes.iter().map(|lane| {
            Ok(OpenLane {
                speaker: next(&lane.speaker)?,
                listeners: lane
                    .listeners
                    .iter()
                    .map(&mut next)
                    .collect::<anyhow::Result<_>>()?,
            })
        });
        Ok(Self {
            lanes: lanes.collect::<anyhow::Result<_>>()?,
        })
    }
}

/// Lets messages flow through `lanes` as `plan` says. `server` is watched if it runs on this machine.
///
/// # Errors
/// When a connection fails, the server refuses a message, or the end does not come.
pub async fn run(
    connected: Connected,
    plan: Plan,
    server: Option<Watched>,
    progress: &Progress,
) -> anyhow::Result<Flow> {
    let run = Run {
        number: random(),
        began: Instant::now(),
    };
    let board = Arc::new(Board::new()?);
    let (stop, stopped) = watch::channel(Phase::Speak);
    let mut speakers: JoinSet<anyhow::Result<Spoken>> = JoinSet::new();
    let mut listeners: JoinSet<anyhow::Result<(u32, Ledger)>> = JoinSet::new();
    for (lane, open) in (0_u32..).zip(connected.lanes) {
        let counts = board.lane(open.listeners.len());
        for (seat, socket) in open.listeners {
            let listener = Listener {
                seat,
                run,
                board: Arc::clone(&board),
                counts: Arc::clone(&counts),
                on_loss: plan.on_loss,
                shard: listeners.len(),
            };
            let stopped = stopped.clone();
            listeners.spawn(async move { Ok((lane, listener.listen(socket, stopped).await?)) });
        }
        let (seat, socket) = open.speaker;
        let speaker = Speaker::new(seat, lane, run, plan, Arc::clone(&board), counts);
        speakers.spawn(speaker.speak(socket, stopped.clone()));
    }
    let measured = measure(&board, plan, server, (&mut speakers, &mut listeners), progress).await?;
    // Who waits for it may have failed already.
    let _nobody = stop.send(Phase::Finish);
    let mut spoken = Vec::new();
    while let Some(ended) = timeout(END_TIMEOUT, speakers.join_next())
        .await
        .context("the last messages were not accepted in time")?
    {
        spoken.push(ended.context("speak")??);
    }
    let sent: u64 = spoken.iter().map(|spoken| spoken.sent).sum();
    let owed: u64 = board.owed(&spoken);
    let begin = Instant::now();
    while board.arrived() < owed && begin.elapsed() < END_TIMEOUT {
        ensure_running(&mut listeners)?;
        sleep(LOOK_EVERY).await;
    }
    let _nobody = stop.send(Phase::End);
    let (mut lost, mut duplicated, mut repeated) = (0, 0, 0);
    while let Some(ended) = listeners.join_next().await {
        let (lane, ledger) = ended.context("listen")??;
        let of_lane = spoken.iter().find(|spoken| spoken.lane == lane);
        let sent = of_lane.map(|spoken| (lane, spoken.sent));
        lost += ledger.missing(sent.as_slice());
        duplicated += ledger.duplicated;
        repeated += ledger.repeated;
    }
    Ok(Flow {
        lost,
        duplicated,
        repeated,
        sent,
        latencies: board.latencies()?,
        ..measured
    })
}

/// What everyone of a flow is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Speak,
    /// No new messages.
    Finish,
    End,
}

type Ended<'a> = (
    &'a mut JoinSet<anyhow::Result<Spoken>>,
    &'a mut JoinSet<anyhow::Result<(u32, Ledger)>>,
);

async fn measure(
    board: &Board,
    plan: Plan,
    server: Option<Watched>,
    (speakers, listeners): Ended<'_>,
    progress: &Progress,
) -> anyhow::Result<Flow> {
    sleep(plan.warm_up).await;
    let usage = || server.map(Watched::usage).transpose();
    let (before, own_before) = (usage()?, Watched::own().usage()?);
    let (messages, deliveries) = (board.accepted(), board.delivered());
    board.record(true);
    let begin = Instant::now();
    let tell_every = Duration::from_secs(1);
    while begin.elapsed() < plan.duration {
        sleep(tell_every.min(plan.duration.saturating_sub(begin.elapsed()))).await;
        ensure_running(speakers)?;
        ensure_running(listeners)?;
        let so_far = board.accepted() - messages;
        progress.say_rarely(&format!(
            "{so_far} messages accepted, {:.0} s",
            begin.elapsed().as_secs_f64()
        ));
    }
    board.record(false);
    let (messages, deliveries) = (board.accepted() - messages, board.delivered() - deliveries);
    let (after, own_after) = (usage()?, Watched::own().usage()?);
    let server = match (after, before) {
        (Some(after), Some(before)) => after.since(&before),
        _ => Spent {
            elapsed: begin.elapsed(),
            ..Spent::default()
        },
    };
    Ok(Flow {
        messages,
        deliveries,
        server,
        generator: own_after.since(&own_before),
        latencies: Latencies::new()?,
        lost: 0,
        duplicated: 0,
        repeated: 0,
        sent: 0,
    })
}

/// Nobody ends before they are told: who has, has failed.
fn ensure_running<T: 'static>(tasks: &mut JoinSet<anyhow::Result<T>>) -> anyhow::Result<()> {
    if let Some(ended) = tasks.try_join_next() {
        ended.context("a connection's task")??;
        anyhow::bail!("a connection ended early");
    }
    Ok(())
}
