//! Deletes sealed bodies of direct conversations that nobody has collected in time; numbers and ids stay.

use std::time::Duration;

use unhidra_runtime::{Clock, Stop};
use unhidra_store::StoreError;
use unhidra_types::Timestamp;

use crate::{Messaging, control};

/// How often the logs are swept.
const INTERVAL: Duration = Duration::from_secs(3_600);
/// Entries looked at in one act, so that a sweep delays no append for long.
const STEP: u32 = 500;

impl Messaging {
    /// Sweeps every hour until asked to stop.
    ///
    /// # Errors
    /// [`StoreError::Closed`]; other failures are logged and tried again with the next sweep.
    ///
    /// # Cancellation safety
    /// A sweep that is cut short goes on with the next one.
    pub async fn expire_bodies(self, clock: Clock, keep: Duration, stop: Stop) -> Result<(), StoreError> {
        let mut settled = 0;
        while stop.race(tokio::time::sleep(INTERVAL)).await.is_some() {
            self.expire_control(clock.context().now).await?;
            let cutoff = clock.context().now.saturating_sub(keep);
            match self.sweep_bodies(settled, cutoff, STEP).await {
                Ok(now) => settled = now,
                Err(StoreError::Closed) => return Err(StoreError::Closed),
                Err(error) => tracing::warn!(error = %error, "retention sweep failed"),
            }
        }
        Ok(())
    }

    /// Deletes bodies and capsules of entries taken before `cutoff`, `step` entries in an act, from number `settled` on.
    /// Answers with the number up to which no later sweep has to look: behind an entry that is dated in the future every
    /// sweep looks again.
    ///
    /// # Errors
    /// [`StoreError`]; what was swept until then stays swept.
    ///
    /// # Cancellation safety
    /// What was swept until then stays swept.
    pub async fn sweep_bodies(&self, settled: i64, cutoff: Timestamp, step: u32) -> Result<i64, StoreError> {
        let (mut settled, mut after, mut all_old) = (settled, settled, true);
        while let Some(swept) = self
            .store
            .write(move |tx| tx.expire_bodies(after, cutoff, step))
            .await?
        {
            if all_old {
                settled = swept.settled;
            }
            all_old &= swept.settled == swept.through;
            after = swept.through;
        }
        Ok(settled)
    }

    /// Deletes what devices said to a device that has not come for it in [`control::LIFETIME`].
    async fn expire_control(&self, now: Timestamp) -> Result<(), StoreError> {
        let cutoff = now.saturating_sub(control::LIFETIME);
        loop {
            match self.store.write(move |tx| tx.expire_control(cutoff, STEP)).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(StoreError::Closed) => return Err(StoreError::Closed),
                Err(error) => {
                    tracing::warn!(error = %error, "sweep of control logs failed");
                    return Ok(());
                }
            }
        }
    }
}
