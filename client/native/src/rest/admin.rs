//! Administration, and one's own sessions and account.

use reqwest::Method;
use serde::de::DeserializeOwned;
use unhidra_types::{DeviceId, InvitationId, SessionId, UserId};
use unhidra_wire::rest::{
    Account, Accounts, AllDevices, DeleteAccount, EndedSessions, Hidden, Invitations, Sessions,
};

use super::{Rest, RestError, accepted, answer};

/// Lists, a page at a time: what follows `after`. Errors are [`RestError`].
impl Rest {
    /// A page of all accounts.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn accounts(&self, token: &Hidden, after: Option<UserId>) -> Result<Accounts, RestError> {
        self.page("/v1/admin/users", None, after.map(|id| id.to_string()), token)
            .await
    }

    /// A page of everyone's sessions, or of one user's.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn all_sessions(
        &self,
        token: &Hidden,
        user: Option<UserId>,
        after: Option<SessionId>,
    ) -> Result<Sessions, RestError> {
        self.page("/v1/admin/sessions", user, after.map(|id| id.to_string()), token)
            .await
    }

    /// A page of the caller's own sessions.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn own_sessions(
        &self,
        token: &Hidden,
        after: Option<SessionId>,
    ) -> Result<Sessions, RestError> {
        self.page("/v1/sessions", None, after.map(|id| id.to_string()), token)
            .await
    }

    /// A page of everyone's devices, or of one user's.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn all_devices(
        &self,
        token: &Hidden,
        user: Option<UserId>,
        after: Option<DeviceId>,
    ) -> Result<AllDevices, RestError> {
        self.page("/v1/admin/devices", user, after.map(|id| id.to_string()), token)
            .await
    }

    /// A page of all invitations.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn invitations(
        &self,
        token: &Hidden,
        after: Option<InvitationId>,
    ) -> Result<Invitations, RestError> {
        self.page(
            "/v1/admin/invitations",
            None,
            after.map(|id| id.to_string()),
            token,
        )
        .await
    }

    async fn page<T: DeserializeOwned>(
        &self,
        path: &str,
        user: Option<UserId>,
        after: Option<String>,
        token: &Hidden,
    ) -> Result<T, RestError> {
        let user = user.map(|user| format!("user={user}"));
        let after = after.map(|after| format!("after={after}"));
        let query: Vec<_> = user.into_iter().chain(after).collect();
        self.get(&format!("{path}?{}", query.join("&")), token).await
    }
}

/// Acts.
impl Rest {
    /// One account as administration sees it.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn account(&self, token: &Hidden, user: UserId) -> Result<Account, RestError> {
        self.get(&format!("/v1/admin/users/{user}"), token).await
    }

    /// Disables an account and ends its sessions.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn disable_account(&self, token: &Hidden, user: UserId) -> Result<(), RestError> {
        self.act(Method::POST, &format!("/v1/admin/users/{user}/disable"), token)
            .await
    }

    /// Enables an account again.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn enable_account(&self, token: &Hidden, user: UserId) -> Result<(), RestError> {
        self.act(Method::POST, &format!("/v1/admin/users/{user}/enable"), token)
            .await
    }

    /// Ends the sessions of a device and refuses new ones.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn revoke_sessions(
        &self,
        token: &Hidden,
        device: DeviceId,
    ) -> Result<EndedSessions, RestError> {
        let path = format!("/v1/admin/devices/{device}/revoke-sessions");
        answer(self.request(Method::POST, &path).bearer_auth(token.expose())).await
    }

    /// Allows the sessions of a device again.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn allow_sessions(&self, token: &Hidden, device: DeviceId) -> Result<(), RestError> {
        let path = format!("/v1/admin/devices/{device}/allow-sessions");
        self.act(Method::POST, &path, token).await
    }

    /// Withdraws an invitation that nobody used.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn revoke_invitation(&self, token: &Hidden, invitation: InvitationId) -> Result<(), RestError> {
        self.act(
            Method::DELETE,
            &format!("/v1/admin/invitations/{invitation}"),
            token,
        )
        .await
    }

    /// Deletes the caller's account for good.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn delete_account(&self, token: &Hidden, body: &DeleteAccount) -> Result<(), RestError> {
        let request = self
            .request(Method::POST, "/v1/me/delete")
            .bearer_auth(token.expose());
        accepted(request.json(body)).await.map(drop)
    }

    async fn act(&self, method: Method, path: &str, token: &Hidden) -> Result<(), RestError> {
        let request = self.request(method, path).bearer_auth(token.expose());
        accepted(request).await.map(drop)
    }
}
