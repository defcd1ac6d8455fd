//! What happens by itself: sessions end with their time, counted refusals are written down, keys are rotated, start and
//! stop are recorded.

use std::{convert::Infallible, time::Duration};

use tokio::time::MissedTickBehavior;
use unhidra_audit::{Act, Details, Record, Subject};
use unhidra_keys::KeyError;
use unhidra_runtime::{Clock, Context, Stop};
use unhidra_store::{Event, StoreError};

use crate::{Identity, append, refusal::Extent, server_record};

const PERIOD: Duration = Duration::from_secs(60);
/// Sessions that one call ends at most, so that the writer is not held up; the rest is due at the next call.
const MAX_EXPIRED_AT_ONCE: u32 = 256;

/// Kept answers that one call forgets at most, for the same reason.
const MAX_FORGOTTEN_AT_ONCE: u32 = 1_024;

/// Why upkeep failed; it is tried again at the next time.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key could not be replaced.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

impl Identity {
    /// Does what is due every minute until asked to stop; a failure is logged and due again.
    ///
    /// # Errors
    /// None.
    ///
    /// # Cancellation safety
    /// As [`Identity::upkeep`].
    pub async fn keep_up(self, clock: Clock, stop: Stop) -> Result<(), Infallible> {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.race(ticks.tick()).await.is_some() {
            if let Err(error) = self.upkeep(&clock.context()).await {
                tracing::error!("upkeep of identity failed: {error}");
            }
        }
        Ok(())
    }

    /// Does what is due; meant to be called about once a minute.
    ///
    /// # Errors
    /// [`UpkeepError`].
    ///
    /// # Cancellation safety
    /// What was done stays done; the rest is due again.
    pub async fn upkeep(&self, context: &Context) -> Result<(), UpkeepError> {
        self.write_counted_refusals(context, Extent::PastMinutes).await?;
        self.expire_sessions(context).await?;
        if self.keys().rotation_due(context.now) {
            self.note_server_act(context, Act::KeyRotated).await?;
            self.keys().rotate(context)?;
        }
        Ok(())
    }

    /// Ends sessions whose time is over, so that their connections close, and forgets counts of past hours.
    async fn expire_sessions(&self, context: &Context) -> Result<(), StoreError> {
        let idle_since = context.now.saturating_sub(self.0.config.session_idle);
        let begun_before = context.now.saturating_sub(self.0.config.session_lifetime);
        let context = *context;
        self.store()
            .write(move |tx| {
                tx.forget_bundle_counts(context.now)?;
                tx.forget_answers(MAX_FORGOTTEN_AT_ONCE, context.now)?;
                for ended in tx.expire_sessions(idle_since, begun_before, MAX_EXPIRED_AT_ONCE, context.now)? {
                    let details = Details {
                        reason: Some("expired"),
                        ..Details::default()
                    };
                    append(
                        tx,
                        &context,
                        &server_record(&context, Act::SessionEnded, Subject::Session(ended), details),
                    )?;
                    tx.emit(Event::SessionEnded(ended));
                }
                Ok(())
            })
            .await
    }

    /// Writes down that the server came up.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_start(&self, context: &Context) -> Result<(), StoreError> {
        self.note_server_act(context, Act::ServerStarted).await
    }

    /// Writes down what was only counted, and that the server goes down, and signs a head over it all. The last thing
    /// before the store closes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_stop(&self, context: &Context) -> Result<(), StoreError> {
        self.write_counted_refusals(context, Extent::Everything).await?;
        self.note_server_act(context, Act::ServerStopped).await?;
        self.sign_head(context).await.map(drop)
    }

    /// Writes down that the server presents another TLS certificate, and so another key, from now on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_certificate(&self, context: &Context) -> Result<(), StoreError> {
        let details = Details {
            reason: Some("TLS certificate"),
            ..Details::default()
        };
        self.note(
            context,
            server_record(context, Act::KeyRotated, Subject::Server, details),
        )
        .await
    }

    async fn note_server_act(&self, context: &Context, act: Act) -> Result<(), StoreError> {
        let record = server_record(context, act, Subject::Server, Details::default());
        self.note(context, record).await
    }

    async fn note(&self, context: &Context, record: Record) -> Result<(), StoreError> {
        let context = *context;
        self.store().write(move |tx| append(tx, &context, &record)).await
    }
}
