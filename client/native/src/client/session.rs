//! The session's tokens: one process refreshes, the others use what it got.

use std::{sync::Arc, time::Duration};

use rustls::ClientConfig;
use unhidra_wire::{
    base64::Base64Array,
    rest::{BeginSession, Hidden, Refresh, Tokens},
};

use super::{Client, ClientError};
use crate::{account::StoredTokens, edge};

/// An access token with less time left is replaced.
const EXPIRY_MARGIN: Duration = Duration::from_secs(60);

/// What a tool needs to speak to the server in this account's name.
pub struct Access {
    /// The server, as in a URL.
    pub origin: String,
    /// Whose word on it is taken.
    pub tls: Arc<ClientConfig>,
    /// An access token; good for minutes.
    pub token: Hidden,
}

impl Client {
    /// What a tool needs to speak to the server in this account's name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn access(&mut self) -> Result<Access, ClientError> {
        let token = self.access_token().await?;
        let route = self.rest.route();
        Ok(Access {
            origin: route.server().origin().to_owned(),
            tls: Arc::new(route.tls()),
            token,
        })
    }

    /// An access token that is good for a while.
    ///
    /// # Cancellation safety
    /// A refresh that is cut off is made up for by the next one: the server repeats its answer.
    pub(super) async fn access_token(&mut self) -> Result<Hidden, ClientError> {
        if let Some(token) = self.fresh_token()? {
            return Ok(token);
        }
        let lock = self.folder.lock_refresh().await?;
        // Another process may have done it while this one waited.
        if let Some(token) = self.fresh_token()? {
            return Ok(token);
        }
        let token = self.refresh().await?;
        drop(lock);
        Ok(token)
    }

    fn fresh_token(&mut self) -> Result<Option<Hidden>, ClientError> {
        let tokens = StoredTokens::load(self.device.store_mut())?.ok_or(ClientError::NotLoggedIn)?;
        let is_fresh = edge::now().saturating_add(EXPIRY_MARGIN) < tokens.expires_at;
        Ok(is_fresh.then_some(tokens.access_token))
    }

    async fn refresh(&mut self) -> Result<Hidden, ClientError> {
        let tokens = StoredTokens::load(self.device.store_mut())?.ok_or(ClientError::NotLoggedIn)?;
        let signature = self
            .device
            .sign_login(self.rest.server().origin(), tokens.refresh_token.expose());
        let refresh = Refresh {
            refresh_token: tokens.refresh_token,
            signature: Base64Array(signature),
            device_id: Some(self.device.id()),
        };
        let tokens = self.rest.refresh(&refresh).await?;
        self.keep(tokens)
    }

    /// Proves this device's key and keeps the session's tokens.
    pub(super) async fn begin_session(&mut self, enrol_token: &Hidden) -> Result<(), ClientError> {
        let signature = self
            .device
            .sign_login(self.rest.server().origin(), enrol_token.expose());
        let begin = BeginSession {
            signature: Base64Array(signature),
        };
        let tokens = self
            .rest
            .begin_session(enrol_token, self.device.id(), &begin)
            .await?;
        self.keep(tokens).map(drop)
    }

    fn keep(&mut self, tokens: Tokens) -> Result<Hidden, ClientError> {
        let stored = StoredTokens {
            session_id: tokens.session_id,
            access_token: tokens.access_token.clone(),
            expires_at: edge::now().saturating_add(Duration::from_secs(tokens.expires_in)),
            refresh_token: tokens.refresh_token,
        };
        stored.save(self.device.store_mut())?;
        Ok(tokens.access_token)
    }

    /// Treats the access token as expired: the server did not accept it.
    pub(super) fn distrust_token(&mut self) -> Result<(), ClientError> {
        if let Some(mut tokens) = StoredTokens::load(self.device.store_mut())? {
            tokens.expires_at = unhidra_types::Timestamp::EPOCH;
            tokens.save(self.device.store_mut())?;
        }
        Ok(())
    }

    /// Ends the session here and on the server; the keys stay.
    ///
    /// # Errors
    /// [`ClientError::NotLoggedIn`] when there is no session; [`ClientError::Rest`] when the server could not be told,
    /// though the session is forgotten here.
    pub async fn log_out(&mut self) -> Result<(), ClientError> {
        let tokens = StoredTokens::load(self.device.store_mut())?.ok_or(ClientError::NotLoggedIn)?;
        let told = match self.access_token().await {
            Ok(token) => self
                .rest
                .end_session(&token, tokens.session_id)
                .await
                .map_err(ClientError::from),
            Err(error) => Err(error),
        };
        self.connection = None;
        StoredTokens::delete(self.device.store_mut())?;
        match told {
            Err(error) if !error.ends_session() => Err(error),
            _ => Ok(()),
        }
    }
}
