//! The server's configuration: every section, composed.

mod limits;

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use unhidra_http::client_address::{Network, Proxies, ProxyHeader};
use unhidra_identity::Exposure;
use unhidra_runtime::{
    config::{ConfigFile, Sources},
    telemetry::LogConfig,
    unit,
};

use crate::{arguments::ServerOptions, tls::TlsConfig};

use self::limits::LimitsConfig;

/// Where the configuration is looked for unless it is named.
pub(crate) const DEFAULT_FILE: &str = "unhidra.toml";

/// Everything that an operator can set.
#[derive(Clone, Debug, confique::Config)]
pub(crate) struct Configuration {
    /// Where the server listens and keeps its data.
    #[config(nested)]
    pub(crate) server: ServerConfig,
    /// Encryption between clients and the server.
    #[config(nested)]
    pub(crate) tls: TlsConfig,
    /// Passwords and sessions.
    #[config(nested)]
    pub(crate) identity: unhidra_identity::IdentityConfig,
    /// The server's own keys.
    #[config(nested)]
    pub(crate) keys: unhidra_keys::KeysConfig,
    /// Conversations.
    #[config(nested)]
    pub(crate) messaging: MessagingConfig,
    /// How much one peer may take. A network is an IPv4 address or the /64 of an IPv6 address. Rates are numbers per `s`, `min` or `h`, with a burst that passes at once; `off` lifts one.
    #[config(nested)]
    pub(crate) limits: LimitsConfig,
    /// The log.
    #[config(nested)]
    pub(crate) log: LogConfig,
}

#[derive(Clone, Debug, confique::Config)]
pub(crate) struct ServerConfig {
    /// Address and port. Any but a loopback address needs TLS, here or in a proxy before the server.
    #[config(default = "127.0.0.1:9000")]
    pub(crate) listen: SocketAddr,
    /// Whether only a reverse proxy reaches the listener: it speaks TLS to the clients, and `identity.issuer` names its address.
    #[config(default = false)]
    pub(crate) behind_proxy: bool,
    /// Networks whose word on the client's address is taken, if `behind_proxy`.
    #[config(default = ["127.0.0.0/8", "::1"])]
    pub(crate) trusted_proxies: Vec<Network>,
    /// Where they name it: `x-forwarded-for` or `forwarded`. The proxy must set it; the other one is ignored.
    #[config(default = "x-forwarded-for")]
    pub(crate) proxy_header: ProxyHeader,
    /// Folder for the database, the keys and the set-up token. Created with mode 0700.
    #[config(default = "data")]
    pub(crate) data: PathBuf,
    /// WebSocket connections at once, a number. Further ones are answered with 503.
    #[config(default = 10000)]
    pub(crate) max_connections: usize,
    /// How long connections may take to finish when the server stops, a duration.
    #[config(default = "10s", deserialize_with = unit::duration)]
    pub(crate) shutdown_grace: Duration,
}

#[derive(Clone, Debug, confique::Config)]
pub(crate) struct MessagingConfig {
    /// How long a sealed body of a direct message waits for devices that do not collect it, a duration.
    #[config(default = "30d", deserialize_with = unit::duration)]
    pub(crate) keep_uncollected: Duration,
    /// How long a session of two devices sends before they agree on new keys, a duration from `1d` to `365d`; `0s` sets no limit. Devices see to it within a day.
    #[config(default = "30d", deserialize_with = unit::duration)]
    pub(crate) session_age: Duration,
}

impl MessagingConfig {
    /// The limit on a session's age, if there is one.
    pub(crate) fn session_age(&self) -> Option<Duration> {
        (!self.session_age.is_zero()).then_some(self.session_age)
    }
}

impl ServerConfig {
    /// Whose word on the client's address is taken.
    pub(crate) fn proxies(&self) -> Proxies {
        Proxies {
            trusted: match self.behind_proxy {
                true => self.trusted_proxies.clone(),
                false => Vec::new(),
            },
            header: self.proxy_header,
        }
    }
}

impl Configuration {
    /// Checks what no single key shows.
    fn validate(&self) -> anyhow::Result<()> {
        let loopback = self.server.listen.ip().is_loopback();
        self.identity.validate(if loopback {
            Exposure::Loopback
        } else {
            Exposure::Network
        })?;
        self.keys.validate()?;
        self.log.validate()?;
        let Self {
            server, messaging, ..
        } = self;
        ensure!(
            CONNECTIONS.contains(&server.max_connections),
            "`server.max_connections` must be between {} and {}",
            CONNECTIONS.start(),
            CONNECTIONS.end()
        );
        ensure!(
            server.shutdown_grace <= MAX_GRACE,
            "`server.shutdown_grace` must be at most 10m"
        );
        ensure!(
            messaging.keep_uncollected >= MIN_KEPT,
            "`messaging.keep_uncollected` must be at least 1h"
        );
        ensure!(
            messaging
                .session_age()
                .is_none_or(|age| SESSION_AGES.contains(&age)),
            "`messaging.session_age` must be between 1d and 365d, or 0s for no limit"
        );
        Ok(())
    }
}

/// Connections that make sense: memory and files are bounded by them.
const CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;
/// Longer than this no supervisor waits.
const MAX_GRACE: Duration = Duration::from_secs(600);
/// A device that is away for less than this loses nothing.
const MIN_KEPT: Duration = Duration::from_secs(3_600);
const SESSION_AGES: RangeInclusive<Duration> =
    Duration::from_secs(86_400)..=Duration::from_secs(365 * 86_400);

/// Everything that may set a key, as `options` ask for it.
///
/// # Errors
/// What the operator has to correct.
pub(crate) fn sources(options: &ServerOptions) -> anyhow::Result<Sources> {
    let default = PathBuf::from(DEFAULT_FILE);
    let file = match &options.config {
        Some(file) => ConfigFile::Named(file),
        None => ConfigFile::Default(&default),
    };
    let mut flags = Vec::new();
    if let Some(data) = &options.data {
        let data = data.to_str().context("--data has to be UTF-8")?;
        flags.push(("server.data".to_owned(), data.to_owned()));
    }
    if let Some(listen) = options.listen {
        flags.push(("server.listen".to_owned(), listen.to_string()));
    }
    flags.extend(options.transport.settings()?);
    Ok(Sources::from_process(file, flags)?)
}

/// Loads the configuration that `options` ask for.
///
/// # Errors
/// What the operator has to correct.
pub(crate) fn load(options: &ServerOptions) -> anyhow::Result<Configuration> {
    let configuration: Configuration = sources(options)?.load()?;
    configuration.validate()?;
    Ok(configuration)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn defaults() -> Configuration {
        Sources::default().load().unwrap()
    }

    #[test]
    fn a_sessions_age_is_of_a_day_to_a_year_or_has_no_limit() {
        let with = |age| {
            let mut configuration = defaults();
            configuration.messaging.session_age = age;
            configuration
                .validate()
                .map(|()| configuration.messaging.session_age())
        };
        let day = Duration::from_secs(86_400);
        assert_eq!(defaults().messaging.session_age(), Some(30 * day));
        assert_eq!(with(Duration::ZERO).unwrap(), None);
        for age in [day, 365 * day] {
            assert_eq!(with(age).unwrap(), Some(age));
        }
        for age in [day - Duration::from_secs(1), 366 * day] {
            assert!(with(age).is_err(), "{age:?}");
        }
    }
}
