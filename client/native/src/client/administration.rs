//! Administration, and one's own sessions and account. Lists are fetched whole, page by page.

use unhidra_types::{DeviceId, InvitationId, SessionId, UserId};
use unhidra_wire::rest::{
    Account, DeleteAccount, EndedSessions, Hidden, ListedInvitation, OwnedDevice, Session,
};

use super::{Client, ClientError};
use crate::account::StoredTokens;

/// Whose things are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The caller's own; for sessions, which everyone may list.
    Own,
    /// One user's.
    Of(UserId),
    /// Everyone's.
    All,
}

impl Client {
    /// All accounts.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn accounts(&mut self) -> Result<Vec<Account>, ClientError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let token = self.access_token().await?;
            let page = self.rest.accounts(&token, after).await?;
            all.extend(page.users);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// One account as administration sees it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn account_of(&mut self, user: UserId) -> Result<Account, ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.account(&token, user).await?)
    }

    /// Sessions that have not ended.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn sessions(&mut self, whose: Whose) -> Result<Vec<Session>, ClientError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let token = self.access_token().await?;
            let page = match whose {
                Whose::Own => self.rest.own_sessions(&token, after).await?,
                Whose::Of(user) => self.rest.all_sessions(&token, Some(user), after).await?,
                Whose::All => self.rest.all_sessions(&token, None, after).await?,
            };
            all.extend(page.sessions);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Everyone's devices, or one user's.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn all_devices(&mut self, user: Option<UserId>) -> Result<Vec<OwnedDevice>, ClientError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let token = self.access_token().await?;
            let page = self.rest.all_devices(&token, user, after).await?;
            all.extend(page.devices);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// All invitations that were not withdrawn.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn invitations(&mut self) -> Result<Vec<ListedInvitation>, ClientError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let token = self.access_token().await?;
            let page = self.rest.invitations(&token, after).await?;
            all.extend(page.invitations);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Disables an account: its sessions end, its password proves nothing.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn disable_account(&mut self, user: UserId) -> Result<(), ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.disable_account(&token, user).await?)
    }

    /// Enables an account again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn enable_account(&mut self, user: UserId) -> Result<(), ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.enable_account(&token, user).await?)
    }

    /// Ends a session: one's own, or as an administrator anyone's.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn end_session(&mut self, session: SessionId) -> Result<(), ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.end_session(&token, session).await?)
    }

    /// Ends the sessions of a device and refuses new ones.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke_sessions(&mut self, device: DeviceId) -> Result<EndedSessions, ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.revoke_sessions(&token, device).await?)
    }

    /// Allows the sessions of a device again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn allow_sessions(&mut self, device: DeviceId) -> Result<(), ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.allow_sessions(&token, device).await?)
    }

    /// Withdraws an invitation that nobody used.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke_invitation(&mut self, invitation: InvitationId) -> Result<(), ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.revoke_invitation(&token, invitation).await?)
    }

    /// Deletes the account for good; what this device has stays readable here.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_account(&mut self, password: Hidden) -> Result<(), ClientError> {
        let token = self.access_token().await?;
        self.rest
            .delete_account(&token, &DeleteAccount { password })
            .await?;
        self.connection = None;
        Ok(StoredTokens::delete(self.device.store_mut())?)
    }
}
