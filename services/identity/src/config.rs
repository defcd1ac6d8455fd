//! The identity section of the configuration.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;
use unhidra_runtime::{ByteSize, unit};
use unhidra_types::limits::MAX_LIVE_DEVICES;

/// The weakest password hashing that a server may offer to a network (OWASP's floor for Argon2id).
const FLOOR_MEMORY: ByteSize = ByteSize::from_mib(19);
const FLOOR_ITERATIONS: u32 = 2;

/// Accounts, passwords and sessions.
#[derive(Clone, Debug, confique::Config)]
pub struct IdentityConfig {
    /// Address of this server as its users type it, such as `https://chat.example.org`; devices sign it and tokens name it. Without one, `http://` and the address that the server listens on.
    pub issuer: Option<String>,
    /// `standard` uses the three values below; `cheap` is for development and refused unless only this machine can connect.
    #[config(default = "standard")]
    pub password_hashing: PasswordHashing,
    /// Memory of one Argon2id computation. Raised values take effect at each account's next login.
    #[config(default = "48MiB")]
    pub password_memory: ByteSize,
    /// Passes of one Argon2id computation over its memory.
    #[config(default = 3)]
    pub password_iterations: u32,
    /// Lanes of one Argon2id computation.
    #[config(default = 1)]
    pub password_lanes: u32,
    /// How long a session lives without being used.
    #[config(default = "30d", deserialize_with = unit::duration)]
    pub session_idle: Duration,
    /// How long a session lives at most.
    #[config(default = "90d", deserialize_with = unit::duration)]
    pub session_lifetime: Duration,
    /// Devices that a user may have at the same time, at most 32.
    #[config(default = 32)]
    pub max_devices: u32,
}

/// How much a password guess costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordHashing {
    /// As configured.
    Standard,
    /// Next to nothing.
    Cheap,
}

/// Who can reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// This machine only.
    Loopback,
    /// Others.
    Network,
}

/// What the server speaks on its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// Why the section does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Passwords would be too easy to guess from a stolen database.
    #[error(
        "password hashing is too cheap for a server that others can reach: use at least 19MiB and 2 iterations"
    )]
    CheapPasswords,
    /// Argon2 does not know such parameters.
    #[error("password hashing parameters are out of range")]
    PasswordParameters,
    /// The protocol does not allow so many devices, or none.
    #[error("`max_devices` must be between 1 and 32")]
    Devices,
    /// A session would end before it may be idle.
    #[error("`session_lifetime` is shorter than `session_idle`")]
    Sessions,
}

impl IdentityConfig {
    /// The names under which devices may know a server that listens on `listen` and whose certificate, if it has one,
    /// is for `names`; the first one is its issuer.
    #[must_use]
    pub fn origins(&self, scheme: Scheme, listen: SocketAddr, names: &[String]) -> Vec<String> {
        let (scheme, default_port) = match scheme {
            Scheme::Http => ("http", 80),
            Scheme::Https => ("https", 443),
        };
        let port = if listen.port() == default_port {
            String::new()
        } else {
            format!(":{}", listen.port())
        };
        let (own, everywhere) = (listen.ip(), listen.ip().is_unspecified());
        let mut hosts: Vec<String> = Vec::new();
        if !everywhere {
            hosts.push(own.to_string());
        }
        // A wildcard is for many names, and is none itself.
        hosts.extend(names.iter().filter(|name| !name.contains('*')).cloned());
        if own.is_loopback() || everywhere {
            hosts.extend(["127.0.0.1", "::1", "localhost"].map(str::to_owned));
        }
        let issuer = self
            .issuer
            .as_deref()
            .map(|issuer| issuer.trim_end_matches('/').to_owned());
        let mut origins: Vec<String> = issuer.into_iter().collect();
        for host in hosts {
            let host = match host.parse() {
                Ok(IpAddr::V6(address)) => format!("[{address}]"),
                Ok(IpAddr::V4(_)) | Err(_) => host.to_ascii_lowercase(),
            };
            let origin = format!("{scheme}://{host}{port}");
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        }
        origins
    }

    /// Checks what no single key can show.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn validate(&self, exposure: Exposure) -> Result<(), ConfigError> {
        let cheap = self.password_hashing == PasswordHashing::Cheap
            || self.password_memory < FLOOR_MEMORY
            || self.password_iterations < FLOOR_ITERATIONS;
        if cheap && exposure == Exposure::Network {
            return Err(ConfigError::CheapPasswords);
        }
        let devices = usize::try_from(self.max_devices).unwrap_or(usize::MAX);
        if !(1..=MAX_LIVE_DEVICES).contains(&devices) {
            return Err(ConfigError::Devices);
        }
        if self.session_lifetime < self.session_idle {
            return Err(ConfigError::Sessions);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use unhidra_runtime::config::Sources;

    use super::*;

    #[derive(confique::Config)]
    struct Whole {
        #[config(nested)]
        identity: IdentityConfig,
    }

    fn load(key: &str, value: &str) -> IdentityConfig {
        let flags = vec![(format!("identity.{key}"), value.to_owned())];
        Sources {
            flags,
            ..Sources::default()
        }
        .load::<Whole>()
        .unwrap()
        .identity
    }

    #[test]
    fn the_defaults_may_face_a_network() {
        let config = load("max_devices", "32");
        assert_eq!(
            (config.password_memory, config.password_iterations),
            (ByteSize::from_mib(48), 3)
        );
        assert_eq!(config.validate(Exposure::Network), Ok(()));
    }

    #[test]
    fn cheap_hashing_is_refused_on_a_network_and_allowed_on_loopback() {
        for (key, value) in [
            ("password_hashing", "cheap"),
            ("password_memory", "1MiB"),
            ("password_iterations", "1"),
        ] {
            let config = load(key, value);
            assert_eq!(
                config.validate(Exposure::Network),
                Err(ConfigError::CheapPasswords),
                "{key}"
            );
            assert_eq!(config.validate(Exposure::Loopback), Ok(()), "{key}");
        }
    }

    #[test]
    fn a_server_is_known_by_every_name_of_its_machine_and_certificate() {
        let config = load("max_devices", "1");
        let names = ["Chat.example".to_owned(), "192.0.2.1".into(), "*.example".into()];
        let at = |scheme, listen: &str| config.origins(scheme, listen.parse().unwrap(), &names);
        let origins = config.origins(Scheme::Http, "127.0.0.1:9000".parse().unwrap(), &[]);
        assert_eq!(
            origins,
            [
                "http://127.0.0.1:9000",
                "http://[::1]:9000",
                "http://localhost:9000"
            ]
        );
        assert_eq!(
            at(Scheme::Https, "10.0.0.1:443"),
            ["https://10.0.0.1", "https://chat.example", "https://192.0.2.1"]
        );
        assert_eq!(
            at(Scheme::Https, "[::]:9000").first().unwrap(),
            "https://chat.example:9000"
        );
        let config = load("issuer", "https://chat.example/");
        let origins = config.origins(Scheme::Http, "10.0.0.1:80".parse().unwrap(), &[]);
        assert_eq!(origins, ["https://chat.example", "http://10.0.0.1"]);
    }

    #[test]
    fn values_that_contradict_each_other_or_the_protocol_are_refused() {
        assert_eq!(
            load("max_devices", "33").validate(Exposure::Loopback),
            Err(ConfigError::Devices)
        );
        assert_eq!(
            load("session_lifetime", "1d").validate(Exposure::Loopback),
            Err(ConfigError::Sessions)
        );
    }
}
