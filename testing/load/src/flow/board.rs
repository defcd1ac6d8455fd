//! What speakers and listeners of a flow count together.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::sync::Notify;

use super::speaker::Spoken;
use crate::latency::Latencies;

/// Histograms that listeners share, so that they rarely wait for each other.
const SHARDS: usize = 8;

/// Counts of a whole flow. The order of counts does not matter, only their sums: relaxed everywhere.
pub(super) struct Board {
    accepted: AtomicU64,
    delivered: AtomicU64,
    arrived: AtomicU64,
    is_recording: AtomicBool,
    shards: Vec<Mutex<Latencies>>,
}

/// Counts of one lane.
pub(super) struct LaneCounts {
    pub(super) listeners: u64,
    arrived: AtomicU64,
    /// The speaker wants to know when so many have arrived.
    wanted: AtomicU64,
    pub(super) progressed: Notify,
}

impl Board {
    pub(super) fn new() -> anyhow::Result<Self> {
        let shards = std::iter::repeat_with(|| Ok(Mutex::new(Latencies::new()?)));
        Ok(Self {
            accepted: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            is_recording: AtomicBool::new(false),
            shards: shards.take(SHARDS).collect::<anyhow::Result<_>>()?,
        })
    }

    pub(super) fn lane(&self, listeners: usize) -> Arc<LaneCounts> {
        Arc::new(LaneCounts {
            listeners: u64::try_from(listeners).unwrap_or(u64::MAX),
            arrived: AtomicU64::new(0),
            wanted: AtomicU64::new(u64::MAX),
            progressed: Notify::new(),
        })
    }

    pub(super) fn record(&self, on: bool) {
        self.is_recording.store(on, Ordering::Relaxed);
    }

    pub(super) fn is_recording(&self) -> bool {
        self.is_recording.load(Ordering::Relaxed)
    }

    pub(super) fn accept(&self, messages: u64) {
        self.accepted.fetch_add(messages, Ordering::Relaxed);
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Entries that came to anyone.
    pub(super) fn deliver(&self, entries: u64) {
        self.delivered.fetch_add(entries, Ordering::Relaxed);
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Messages that were new to a listener of `lane`.
    pub(super) fn arrive(&self, lane: &LaneCounts, messages: u64) {
        self.arrived.fetch_add(messages, Ordering::Relaxed);
        let before = lane.arrived.fetch_add(messages, Ordering::AcqRel);
        let wanted = lane.wanted.load(Ordering::Acquire);
        if before < wanted && before + messages >= wanted {
            lane.progressed.notify_one();
        }
    }

    pub(super) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// What listeners have got when nothing is on the way any more.
    pub(super) fn owed(&self, spoken: &[Spoken]) -> u64 {
        spoken.iter().map(|spoken| spoken.sent * spoken.listeners).sum()
    }

    pub(super) fn with_latencies(&self, shard: usize, record: impl FnOnce(&mut Latencies)) {
        if let Some(shard) = self.shards.get(shard % SHARDS) {
            record(&mut shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(super) fn latencies(&self) -> anyhow::Result<Latencies> {
        let mut all = Latencies::new()?;
        for shard in &self.shards {
            all.add(&shard.lock().unwrap_or_else(PoisonError::into_inner))?;
        }
        Ok(all)
    }
}

impl LaneCounts {
    pub(super) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// Asks to be notified once `count` have arrived; whether they have already.
    pub(super) fn want(&self, count: u64) -> bool {
        self.wanted.store(count, Ordering::Release);
        self.arrived() >= count
    }
}
