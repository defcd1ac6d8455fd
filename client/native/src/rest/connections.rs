//! Connections, for administrators.

use reqwest::Method;
use unhidra_types::ConnectionId;
use unhidra_wire::rest::{Connections, Hidden};

use super::{Rest, RestError, accepted};

impl Rest {
    /// One page of the connections of the caller's organisation, after connection `after`.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn connections(
        &self,
        token: &Hidden,
        after: Option<ConnectionId>,
    ) -> Result<Connections, RestError> {
        let page = after.map_or_else(String::new, |after| format!("?after={after}"));
        self.get(&format!("/v1/admin/connections{page}"), token).await
    }

    /// Closes a connection; its session stays.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn close_connection(&self, token: &Hidden, connection: ConnectionId) -> Result<(), RestError> {
        let request = self.request(Method::DELETE, &format!("/v1/admin/connections/{connection}"));
        accepted(request.bearer_auth(token.expose())).await.map(drop)
    }
}
