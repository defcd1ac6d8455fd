//! The way to a server: its address, and who vouches that it is the one.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio_websockets::Connector;

use crate::{
    authority::{AuthorityError, Trust},
    server_url::{Scheme, ServerUrl},
};

/// The way to a server. Clones share the sessions of TLS, so that a later connection costs less.
#[derive(Clone)]
pub struct Route {
    server: ServerUrl,
    tls: Arc<ClientConfig>,
}

impl Route {
    /// The way to `server`, if `trust` vouches for it; an address without TLS asks nobody.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn new(server: ServerUrl, trust: &Trust, warn: fn(&str)) -> Result<Self, AuthorityError> {
        let tls = match server.scheme() {
            Scheme::Http => Trust::nobody()?,
            Scheme::Https => trust.configuration(warn)?,
        };
        Ok(Self {
            server,
            tls: Arc::new(tls),
        })
    }

    /// The server.
    #[must_use]
    pub const fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// For REST.
    pub(crate) fn tls(&self) -> ClientConfig {
        ClientConfig::clone(&self.tls)
    }

    /// For a WebSocket.
    pub(crate) fn connector(&self) -> Connector {
        match self.server.scheme() {
            Scheme::Http => Connector::Plain,
            Scheme::Https => Connector::Rustls(Arc::clone(&self.tls).into()),
        }
    }
}
