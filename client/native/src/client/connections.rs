//! What an administrator sees of others' connections, and does to them.

use unhidra_types::ConnectionId;
use unhidra_wire::rest;

use super::{Client, ClientError};

impl Client {
    /// One page of the server's connections, after connection `after`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn connections(
        &mut self,
        after: Option<ConnectionId>,
    ) -> Result<rest::Connections, ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.connections(&token, after).await?)
    }

    /// Closes a connection; its session stays.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn close_connection(&mut self, connection: ConnectionId) -> Result<(), ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.close_connection(&token, connection).await?)
    }
}
