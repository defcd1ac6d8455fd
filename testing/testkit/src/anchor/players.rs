//! Those who send and those who receive in a course.
//!
//! A latency runs from the moment at which a message was meant to be sent. In a window a sender has so many
//! messages on their way, counted by their arrival at the receivers, because not every anchor acknowledges, and goes on
//! when half of them have arrived.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tokio::{
    io::AsyncWriteExt as _,
    net::tcp::OwnedWriteHalf,
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};
use unhidra_load::latency::Latencies;

use super::{
    course::Pace,
    dialect::{Dialect, Name, Place},
    link::Ears,
    payload::Payload,
};

/// How long a saturating sender waits for an arrival before it looks whether the course is over.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What all tasks of a course share.
pub(super) struct Field {
    begin: Instant,
    /// Only what was meant to be sent from here on is timed.
    timed_from: Duration,
    is_over: AtomicBool,
    tallies: Mutex<Vec<Arc<Mutex<Tally>>>>,
}

/// One sender with its receivers.
pub(super) struct Lane {
    receivers: u64,
    pub(super) delivered: AtomicU64,
    /// That `delivered` has grown.
    progress: Notify,
}

/// Who sends what to whom.
pub(super) struct Sender {
    pub(super) name: Name,
    pub(super) place: Place,
    pub(super) pace: Pace,
    pub(super) dialect: Dialect,
    pub(super) lane: Arc<Lane>,
}

/// What receivers have got.
pub(super) struct Tally {
    /// Different ones.
    pub(super) received: u64,
    pub(super) duplicated: u64,
    pub(super) latencies: Latencies,
    /// The counter that comes next: one sender's messages come in its order.
    next: u64,
    /// Why one of them stopped before the end.
    failure: Option<anyhow::Error>,
}

impl Field {
    pub(super) const fn new(begin: Instant, timed_from: Duration) -> Self {
        Self {
            begin,
            timed_from,
            is_over: AtomicBool::new(false),
            tallies: Mutex::new(Vec::new()),
        }
    }

    /// Has senders stop.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// All tallies together.
    ///
    /// # Errors
    /// Why a receiver stopped.
    pub(super) fn tally(&self) -> anyhow::Result<Tally> {
        let mut sum = Tally::new()?;
        for tally in lock(&self.tallies).iter() {
            let mut tally = lock(tally);
            if let Some(failure) = tally.failure.take() {
                return Err(failure);
            }
            sum.received += tally.received;
            sum.duplicated += tally.duplicated;
            sum.latencies.add(&tally.latencies)?;
        }
        Ok(sum)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl Lane {
    pub(super) fn to(receivers: u32) -> Self {
        Self {
            receivers: u64::from(receivers),
            delivered: AtomicU64::new(0),
            progress: Notify::new(),
        }
    }

    fn arrived(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed) / self.receivers
    }
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            received: 0,
            duplicated: 0,
            latencies: Latencies::new()?,
            next: 0,
            failure: None,
        })
    }

    fn take(&mut self, payload: &[u8], now: Duration, timed_from: Duration) -> anyhow::Result<()> {
        let message = Payload::read(payload).context("a message is one of ours")?;
        if message.counter < self.next {
            self.duplicated += 1;
            return Ok(());
        }
        self.next = message.counter + 1;
        self.received += 1;
        if message.intended >= timed_from {
            self.latencies.record(now.saturating_sub(message.intended));
        }
        Ok(())
    }
}

impl Sender {
    /// Sends until the course is over; how many.
    pub(super) async fn send(self, field: Arc<Field>, write: OwnedWriteHalf) -> anyhow::Result<u64> {
        match self.pace {
            Pace::Window(window) => self.saturate(&field, write, u64::from(window)).await,
            Pace::Fixed(rate) => self.keep_pace(&field, write, rate).await,
        }
    }

    async fn saturate(self, field: &Field, mut write: OwnedWriteHalf, window: u64) -> anyhow::Result<u64> {
        let (mut sent, mut out) = (0, Vec::new());
        while !field.is_over() {
            let intended = field.begin.elapsed();
            let arrived = self.lane.arrived();
            if sent <= arrived + window / 2 {
                for counter in sent..arrived + window {
                    self.put(counter, intended, &mut out);
                }
                sent = arrived + window;
            }
            if out.is_empty() {
                // Without an arrival in this time the loop looks whether it is over.
                let _arrived_or_not = timeout(LOOK_AGAIN, self.lane.progress.notified()).await;
            } else {
                write.write_all(&out).await.context("send")?;
                out.clear();
            }
        }
        Ok(sent)
    }

    async fn keep_pace(self, field: &Field, mut write: OwnedWriteHalf, rate: u32) -> anyhow::Result<u64> {
        let (mut sent, mut out) = (0, Vec::new());
        let interval = Duration::from_secs(1) / rate;
        let mut intended = Duration::ZERO;
        while !field.is_over() {
            sleep_until(field.begin + intended).await;
            self.put(sent, intended, &mut out);
            write.write_all(&out).await.context("send")?;
            out.clear();
            sent += 1;
            intended += interval;
        }
        Ok(sent)
    }

    fn put(&self, counter: u64, intended: Duration, out: &mut Vec<u8>) {
        let payload = Payload {
            sender: u64::from(self.name.0),
            counter,
            intended,
        };
        self.dialect.send(self.name, self.place, payload, out);
    }
}

/// Counts what comes, until it is aborted.
pub(super) async fn receive(field: Arc<Field>, lane: Arc<Lane>, ears: Ears, write: OwnedWriteHalf) {
    let Ok(tally) = Tally::new() else { return };
    let tally = Arc::new(Mutex::new(tally));
    lock(&field.tallies).push(Arc::clone(&tally));
    if let Err(failure) = count(&field, &lane, &tally, ears, write).await {
        lock(&tally).failure = Some(failure);
    }
}

async fn count(
    field: &Field,
    lane: &Lane,
    tally: &Mutex<Tally>,
    mut ears: Ears,
    mut write: OwnedWriteHalf,
) -> anyhow::Result<()> {
    loop {
        let (mut new, mut is_foreign) = (0, false);
        let begin = field.begin;
        ears.hear(|payload| {
            let mut tally = lock(tally);
            let before = tally.received;
            is_foreign |= tally.take(payload, begin.elapsed(), field.timed_from).is_err();
            new += tally.received - before;
        })
        .await?;
        ensure!(!is_foreign, "a message came that nobody sent");
        if new > 0 {
            lane.delivered.fetch_add(new, Ordering::Relaxed);
            lane.progress.notify_one();
        }
        let answers = ears.answers();
        if !answers.is_empty() {
            write.write_all(&answers).await.context("answer")?;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
