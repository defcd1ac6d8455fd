//! Devices that return all at once, as after a power cut: each reconnects at its moment and has to be given what it
//! missed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};

use crate::{
    dialect::Incoming,
    latency::Latencies,
    measure::{Spent, Usage, Watched},
    progress::Progress,
    random::random,
    say::{Speech, say},
    seat::{Lane, Seat},
    socket::{Refused, Socket},
    stamp::{Ledger, Run, Stamp},
    websocket::Message,
};

/// Bytes of a message.
const BODY: usize = 200;
/// Speakers at once, before the storm.
const SPEAKERS: usize = 16;
/// A device that was turned away comes again after this, unless the server says when.
const RETRY: Duration = Duration::from_secs(1);

/// How a storm goes.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// Messages that each device has missed.
    pub behind: u32,
    /// All devices return within this time, evenly.
    pub within: Duration,
    /// How long the last one may take.
    pub patience: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Weathered {
    /// How many devices returned.
    pub devices: u64,
    /// From the first return until the last device had everything.
    pub caught_up: Duration,
    /// From a device's moment until it had everything.
    pub latencies: Latencies,
    /// Messages that never came.
    pub lost: u64,
    /// Messages that came twice.
    pub duplicated: u64,
    /// Connections that were turned away or closed, and opened again.
    pub turned_away: u64,
    /// What the server has spent.
    pub server: Spent,
    /// The server's memory when all were there, with its peak.
    pub memory: Option<Usage>,
}

struct Back {
    socket: Socket,
    ledger: Ledger,
    latency: Duration,
    turned_away: u64,
}

/// Lets the listeners of `lanes` miss messages and then return.
///
/// # Errors
/// When messages can't be sent, or a device does not catch up.
pub async fn run(
    lanes: &[Lane],
    storm: Storm,
    server: Option<Watched>,
    progress: &Progress,
) -> anyhow::Result<Weathered> {
    let run = Run {
        number: random(),
        began: Instant::now(),
    };
    prepare(lanes, storm, run, progress).await?;
    let before = server.map(Watched::usage).transpose()?;
    let longest = lanes.iter().map(|lane| lane.listeners.len()).max().unwrap_or(0);
    // Neighbours in time are of different logs.
    let seats: Vec<(u32, Seat)> = (0..longest)
        .flat_map(|place| {
            (0_u32..)
                .zip(lanes)
                .map(move |(number, lane)| (number, lane, place))
        })
        .filter_map(|(number, lane, place)| Some((number, lane.listeners.get(place)?.clone())))
        .collect();
    let devices = u64::try_from(seats.len())?;
    let begin = Instant::now();
    let mut returning = JoinSet::new();
    for (place, (lane, seat)) in (0_u32..).zip(seats) {
        let moment = begin + storm.within.mul_f64(f64::from(place) / devices as f64);
        returning.spawn(async move {
            let back = timeout(
                storm.within + storm.patience,
                back(seat, moment, run, storm.behind),
            );
            anyhow::Ok((lane, back.await.context("a device did not catch up in time")??))
        });
    }
    let mut weathered = Weathered {
        devices,
        caught_up: Duration::ZERO,
        latencies: Latencies::new()?,
        lost: 0,
        duplicated: 0,
        turned_away: 0,
        server: Spent::default(),
        memory: None,
    };
    // They stay until all are back.
    let mut sockets = Vec::with_capacity(returning.len());
    while let Some(ended) = returning.join_next().await {
        let (lane, back) = ended.context("return")??;
        weathered.latencies.record(back.latency);
        weathered.lost += back.ledger.missing(&[(lane, u64::from(storm.behind))]);
        weathered.duplicated += back.ledger.duplicated;
        weathered.turned_away += back.turned_away;
        sockets.push(back.socket);
        progress.count("devices are back", u64::try_from(sockets.len())?, devices);
    }
    weathered.caught_up = begin.elapsed();
    weathered.memory = server.map(Watched::usage).transpose()?;
    if let (Some(after), Some(before)) = (weathered.memory, before) {
        weathered.server = after.since(&before);
    }
    for mut socket in sockets {
        socket.flush().await?;
        socket.close().await;
    }
    Ok(weathered)
}

/// Says in each lane what its listeners miss.
async fn prepare(lanes: &[Lane], storm: Storm, run: Run, progress: &Progress) -> anyhow::Result<()> {
    let mut speaking = JoinSet::new();
    for (sender, lane) in (0_u32..).zip(lanes) {
        if speaking.len() >= SPEAKERS {
            speaking
                .join_next()
                .await
                .context("someone speaks")?
                .context("speak")??;
        }
        let (seat, progress) = (lane.speaker.clone(), progress.clone());
        let speech = Speech {
            run,
            sender,
            messages: u64::from(storm.behind),
            body: BODY,
        };
        speaking.spawn(async move { say(&seat, speech, &progress).await });
    }
    while let Some(spoken) = speaking.join_next().await {
        spoken.context("speak")??;
    }
    Ok(())
}

/// One device, from its moment on. Whatever goes wrong, it comes again, as a client does.
async fn back(seat: Seat, moment: Instant, run: Run, behind: u32) -> anyhow::Result<Back> {
    sleep_until(moment.into()).await;
    let mut turned_away = 0;
    let mut ledger = Ledger::default();
    loop {
        match catch_up(&seat, &mut ledger, run, behind).await {
            Ok(socket) => {
                return Ok(Back {
                    socket,
                    ledger,
                    latency: moment.elapsed(),
                    turned_away,
                });
            }
            Err(error) => {
                let pause = match error.downcast_ref::<Refused>() {
                    Some(refused) if !matches!(refused.status, 429 | 503) => return Err(error),
                    Some(refused) => refused.retry_after,
                    // The server had no room for its handshake, or closed it for one that waited less.
                    None => None,
                };
                turned_away += 1;
                sleep(pause.unwrap_or(RETRY)).await;
            }
        }
    }
}

/// A connection that has brought everything.
async fn catch_up(seat: &Seat, ledger: &mut Ledger, run: Run, behind: u32) -> anyhow::Result<Socket> {
    let mut socket = seat.connect().await?;
    while ledger.received < u64::from(behind) {
        socket.exchange().await?;
        take(seat, &mut socket, ledger, run)?;
    }
    socket.flush().await?;
    Ok(socket)
}

fn take(seat: &Seat, socket: &mut Socket, ledger: &mut Ledger, run: Run) -> anyhow::Result<()> {
    let mut furthest = None;
    while let Some(message) = socket.inbox.message()? {
        match message {
            Message::Binary(payload) => {
                let Incoming::Entry { log, seq, body } = seat.dialect.read(payload)? else {
                    continue;
                };
                furthest = Some((log, seq));
                if let Some(stamp) = Stamp::read(body)
                    && stamp.run == run.number
                {
                    ledger.take(log, seq, &stamp);
                }
            }
            Message::Ping(payload) => socket.outbox.pong(payload)?,
            Message::Close(code) => anyhow::bail!("the server closed the connection with {code}"),
            Message::Other => {}
        }
    }
    if let Some((log, seq)) = furthest {
        seat.dialect.acknowledge(&mut socket.outbox, log, seq)?;
    }
    Ok(())
}

impl Weathered {
    /// That nothing was lost and nothing came twice.
    ///
    /// # Errors
    /// How much.
    pub fn verdict(&self) -> anyhow::Result<()> {
        ensure!(
            self.lost == 0 && self.duplicated == 0,
            "{} messages lost and {} duplicated",
            self.lost,
            self.duplicated
        );
        Ok(())
    }
}
