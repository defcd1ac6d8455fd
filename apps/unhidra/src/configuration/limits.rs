//! How much one peer may take.

use unhidra_gateway::upgrade;
use unhidra_http::{admission::SocketLimits, rates::RequestRates};
use unhidra_identity::Tries;
use unhidra_runtime::Rate;

/// Descriptors that are kept free of sockets: the database's, the log's, and those that are accepted to be turned away.
const RESERVED_DESCRIPTORS: usize = 512;

/// The section `[limits]`.
#[derive(Clone, Debug, confique::Config)]
pub(crate) struct LimitsConfig {
    /// Open sockets, a number; fewer if the process may have fewer descriptors. Further ones are answered with 503.
    #[config(default = 12000)]
    pub(crate) sockets: usize,
    /// Open sockets of one network, a number; a trusted proxy has no such bound. Further ones are answered with 429.
    #[config(default = 2000)]
    pub(crate) sockets_per_network: usize,
    /// Sockets that wait for a request, a number. The one that waits longest makes room for a new one.
    #[config(default = 2000)]
    pub(crate) waiting: usize,
    /// Sockets of one network that wait for a request, a number. The one that waits longest makes room for a new one.
    #[config(default = 500)]
    pub(crate) waiting_per_network: usize,
    /// WebSocket handshakes of one network, a rate.
    #[config(default = "60/min burst 600")]
    pub(crate) connections_per_network: Rate,
    /// WebSocket connections of one user, a rate.
    #[config(default = "30/min burst 120")]
    pub(crate) connections_per_user: Rate,
    /// Messages of one WebSocket connection, a rate. A client waits and sends the rest later.
    #[config(default = "50/s burst 1000")]
    pub(crate) messages: Rate,
    /// REST requests of one session, a rate.
    #[config(default = "20/s burst 400")]
    pub(crate) requests_per_session: Rate,
    /// REST requests of one network that show no credentials or bad ones, a rate.
    #[config(default = "10/s burst 300")]
    pub(crate) requests_per_network: Rate,
    /// Logins of one network that fail, a rate.
    #[config(default = "30/min burst 60")]
    pub(crate) logins_per_network: Rate,
    /// Logins to one account that fail, a rate. Networks from which the account has logged in do not count.
    #[config(default = "20/min burst 60")]
    pub(crate) logins_per_account: Rate,
    /// Attempts of one network to open an account that fail, a rate.
    #[config(default = "30/min burst 60")]
    pub(crate) accounts_per_network: Rate,
}

impl LimitsConfig {
    /// Bounds on sockets, of which there are no more than descriptors.
    pub(crate) fn sockets(&self, descriptors: usize) -> SocketLimits {
        let most = descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(64);
        let open = self.sockets.min(most);
        if open < self.sockets {
            tracing::warn!(
                sockets = open,
                "fewer sockets than configured: the process may have {descriptors} descriptors (ulimit -n)"
            );
        }
        SocketLimits {
            open,
            open_per_network: self.sockets_per_network,
            waiting: self.waiting.min(open),
            waiting_per_network: self.waiting_per_network,
        }
    }

    pub(crate) const fn requests(&self) -> RequestRates {
        RequestRates {
            per_session: self.requests_per_session,
            per_network: self.requests_per_network,
        }
    }

    pub(crate) const fn connections(&self) -> upgrade::Rates {
        upgrade::Rates {
            connections_per_network: self.connections_per_network,
            connections_per_user: self.connections_per_user,
            messages: self.messages,
        }
    }

    pub(crate) const fn tries(&self) -> Tries {
        Tries {
            logins_per_network: self.logins_per_network,
            logins_per_account: self.logins_per_account,
            openings_per_network: self.accounts_per_network,
        }
    }
}
