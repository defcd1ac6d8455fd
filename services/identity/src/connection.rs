//! Connections that an administrator closes.

use unhidra_audit::{Act, Subject};
use unhidra_store::{Event, StoreError};
use unhidra_types::{ConnectionId, SessionId};

use crate::{Caller, Identity, append};

impl Identity {
    /// Writes down that a connection of `session` is closed, and has it closed. Its session stays.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is closed then.
    ///
    /// # Cancellation safety
    /// It happens or not, as a whole.
    pub async fn close_connection(
        &self,
        caller: &Caller,
        connection: ConnectionId,
        session: SessionId,
    ) -> Result<(), StoreError> {
        let context = caller.context;
        let record = self.record(caller, Act::ConnectionClosed, Subject::Session(session));
        self.store()
            .write(move |tx| {
                append(tx, &context, &record)?;
                tx.emit(Event::ConnectionClosed(connection));
                Ok(())
            })
            .await
    }
}
