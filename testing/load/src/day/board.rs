//! What everybody counts together. The order of counts does not matter, only their sums: relaxed everywhere.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::latency::Latencies;

/// Errors that are kept in words.
const KEPT_ERRORS: usize = 10;

macro_rules! counters {
    ($($count:ident),*) => {
        /// One count each.
        #[derive(Default)]
        struct Counts { $($count: AtomicU64),* }
        impl Board {
            $(pub(super) fn $count(&self) -> u64 { self.counts.$count.load(Ordering::Relaxed) })*
        }
    };
}

counters!(
    connected,
    sent,
    owed,
    received,
    asked,
    answered,
    errors,
    refused,
    closed,
    reconnections,
    logins,
    pages
);

/// Counts of a day.
pub(super) struct Board {
    counts: Counts,
    times: Mutex<Times>,
    first_errors: Mutex<Vec<String>>,
}

struct Times {
    all: Latencies,
    /// Since the last line.
    recent: Latencies,
}

impl Board {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            counts: Counts::default(),
            times: Mutex::new(Times {
                all: Latencies::new()?,
                recent: Latencies::new()?,
            }),
            first_errors: Mutex::new(Vec::new()),
        })
    }

    /// A device has its first connection.
    pub(super) fn connect(&self) {
        add(&self.counts.connected, 1);
    }

    /// A message goes out for the first time.
    pub(super) fn ask(&self) {
        add(&self.counts.asked, 1);
    }

    /// A message was accepted that is for `peers` others.
    pub(super) fn accept(&self, peers: u64) {
        add(&self.counts.owed, peers);
        add(&self.counts.sent, 1);
        add(&self.counts.answered, 1);
    }

    /// Messages that are not accepted yet.
    pub(super) fn unanswered(&self) -> u64 {
        self.asked().saturating_sub(self.answered())
    }

    /// New messages, so old each.
    pub(super) fn receive(&self, ages: &[Duration]) {
        add(&self.counts.received, ages.len() as u64);
        let mut times = lock(&self.times);
        for age in ages {
            times.all.record(*age);
            times.recent.record(*age);
        }
    }

    pub(super) fn fail(&self, error: &anyhow::Error) {
        add(&self.counts.errors, 1);
        let mut first = lock(&self.first_errors);
        if first.len() < KEPT_ERRORS {
            first.push(format!("{error:#}"));
        }
    }

    pub(super) fn refuse(&self, messages: u64) {
        add(&self.counts.refused, messages);
    }

    pub(super) fn close(&self) {
        add(&self.counts.closed, 1);
    }

    pub(super) fn reconnect(&self) {
        add(&self.counts.reconnections, 1);
    }

    pub(super) fn log_in(&self) {
        add(&self.counts.logins, 1);
    }

    pub(super) fn read_page(&self) {
        add(&self.counts.pages, 1);
    }

    pub(super) fn first_errors(&self) -> Vec<String> {
        lock(&self.first_errors).clone()
    }

    pub(super) fn latencies(&self) -> Latencies {
        lock(&self.times).all.clone()
    }

    /// Those since the last call.
    pub(super) fn recent(&self) -> anyhow::Result<Latencies> {
        Ok(std::mem::replace(
            &mut lock(&self.times).recent,
            Latencies::new()?,
        ))
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
