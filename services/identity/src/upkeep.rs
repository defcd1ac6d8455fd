//! What happens by itself: counted refusals are written down, keys are rotated, start and stop are recorded.

use unhidra_audit::{Act, Details, Subject};
use unhidra_keys::KeyError;
use unhidra_runtime::Context;
use unhidra_store::StoreError;

use crate::{Identity, append, refusal::Extent, server_record};

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
    /// Does what is due; meant to be called about once a minute.
    ///
    /// # Errors
    /// [`UpkeepError`].
    ///
    /// # Cancellation safety
    /// What was done stays done; the rest is due again.
    pub async fn upkeep(&self, context: &Context) -> Result<(), UpkeepError> {
        self.write_counted_refusals(context, Extent::PastMinutes).await?;
        if self.keys().rotation_due(context.now) {
            self.note_server_act(context, Act::KeyRotated).await?;
            self.keys().rotate(context)?;
        }
        Ok(())
    }

    /// Writes down that the server came up.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_start(&self, context: &Context) -> Result<(), StoreError> {
        self.note_server_act(context, Act::ServerStarted).await
    }

    /// Writes down what was only counted, and that the server goes down. The last thing before the store closes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_stop(&self, context: &Context) -> Result<(), StoreError> {
        self.write_counted_refusals(context, Extent::Everything).await?;
        self.note_server_act(context, Act::ServerStopped).await
    }

    async fn note_server_act(&self, context: &Context, act: Act) -> Result<(), StoreError> {
        let record = server_record(context, act, Subject::Server, Details::default());
        let context = *context;
        self.store().write(move |tx| append(tx, &context, &record)).await
    }
}
