//! Cursors on their way to the store.
//!
//! A device acknowledges after almost every message that it gets. Written one by one that would be most of what the
//! writer does, so a cursor waits for a moment, the furthest of each device and log alone, and all that wait go together
//! (`docs/adr/0020`). Whoever asks where a device stands is told what waits as well.
//!
//! A crash takes what waited: the device gets those entries again, as it has to expect.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};
use unhidra_runtime::Stop;
use unhidra_store::{
    LogTx, StoreError,
    conversation::{Kind, LogNumber},
    cursor::Position,
};
use unhidra_types::DeviceId;

use crate::{Messaging, delivery::Log};

/// How long a cursor waits for others.
const PAUSE: Duration = Duration::from_millis(100);
/// Before cursors are tried again that could not be stored.
const RETRY: Duration = Duration::from_secs(5);
/// Cursors that wait; a further one is forgotten, and what it acknowledges comes again with the next connection.
const WAITING: usize = 65_536;
/// Cursors that move in one act.
const OF_ONE_ACT: usize = 512;

/// What was acknowledged and is not stored yet.
#[derive(Debug, Default)]
pub struct Cursors {
    state: Mutex<State>,
    came: Notify,
    /// Held by who writes.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Waiting,
    /// Being written, or written last: for whoever looked at the store just before.
    moved: Waiting,
}

/// At most [`WAITING`].
type Waiting = HashMap<(DeviceId, LogNumber), Cursor>;

#[derive(Clone, Copy, Debug)]
struct Cursor {
    kind: Kind,
    seq: u64,
}

impl Messaging {
    /// Moves `device`'s cursor in a log forward, soon.
    pub fn acknowledge(&self, device: DeviceId, log: Log, seq: u64) {
        let cursor = Cursor { kind: log.kind, seq };
        let is_first = self.cursors.lock().note((device, log.number), cursor);
        if is_first {
            self.cursors.came.notify_one();
        }
    }

    /// Stores cursors until asked to stop, and then what still waits.
    ///
    /// # Errors
    /// [`StoreError::Closed`]; other failures are logged and tried again.
    ///
    /// # Cancellation safety
    /// What was not stored comes again to devices that connect.
    pub async fn keep_cursors(self, stop: Stop) -> Result<(), StoreError> {
        while stop.race(self.cursors.came.notified()).await.is_some() {
            stop.race(sleep(PAUSE)).await;
            match self.write_cursors().await {
                Ok(()) => {}
                Err(StoreError::Closed) => return Err(StoreError::Closed),
                Err(error) => {
                    tracing::warn!(error = %error, "what devices have acknowledged could not be stored");
                    stop.race(sleep(RETRY)).await;
                    self.cursors.came.notify_one();
                }
            }
        }
        self.write_cursors().await
    }

    /// Stores what waits.
    ///
    /// # Errors
    /// [`StoreError`]; what was not stored waits again, unless the store holds what is impossible.
    ///
    /// # Cancellation safety
    /// What was not stored comes again to devices that connect.
    pub async fn write_cursors(&self) -> Result<(), StoreError> {
        let _alone = self.cursors.writing.lock().await;
        let all = self.cursors.lock().begin();
        for part in all.chunks(OF_ONE_ACT) {
            let cursors = part.to_vec();
            let act = move |tx: &mut LogTx<'_>| {
                cursors
                    .into_iter()
                    .try_for_each(|((device, log), Cursor { kind, seq })| {
                        tx.acknowledge(device, log, kind, seq)
                    })
            };
            let written = self.store.write_log(0, act, || {}).await;
            written.inspect_err(|error| self.cursors.lock().failed(error, part))?;
        }
        Ok(())
    }

    /// What was acknowledged and is not stored yet.
    #[must_use]
    pub fn cursors(&self) -> Arc<Cursors> {
        Arc::clone(&self.cursors)
    }
}

impl Cursors {
    /// Moves a position that was read a moment ago to what the device has acknowledged since.
    pub(crate) fn advance(&self, device: DeviceId, position: &mut Position) {
        let key = (device, position.log);
        let state = self.lock();
        let maps = [&state.moved, &state.waiting];
        let later = maps.into_iter().filter_map(|map| map.get(&key));
        position.acknowledged = later.fold(position.acknowledged, |seq, cursor| seq.max(cursor.seq));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether nothing waited before.
    fn note(&mut self, key: (DeviceId, LogNumber), cursor: Cursor) -> bool {
        let is_first = self.waiting.is_empty();
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.seq = waiting.seq.max(cursor.seq);
        } else if self.waiting.len() < WAITING {
            self.waiting.insert(key, cursor);
        }
        is_first
    }

    /// Everything that waits is on its way.
    fn begin(&mut self) -> Vec<((DeviceId, LogNumber), Cursor)> {
        self.moved = std::mem::take(&mut self.waiting);
        self.moved.iter().map(|(key, cursor)| (*key, *cursor)).collect()
    }

    /// A part could not be stored, and all that was on its way waits again: but not that part, if it contradicts the
    /// store, for it would hold up all others.
    fn failed(&mut self, error: &StoreError, part: &[((DeviceId, LogNumber), Cursor)]) {
        let mut moved = std::mem::take(&mut self.moved);
        if matches!(error, StoreError::Sqlite(_) | StoreError::Corrupt(_)) {
            for (key, _) in part {
                moved.remove(key);
            }
        }
        for (key, cursor) in moved {
            self.note(key, cursor);
        }
    }
}

#[cfg(test)]
mod tests;
