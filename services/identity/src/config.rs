//! The identity section of the configuration.

use std::{net::SocketAddr, time::Duration};

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
    /// The names under which devices may know a server that listens on `listen`; the first one is its issuer.
    #[must_use]
    pub fn origins(&self, listen: SocketAddr) -> Vec<String> {
        let port = if listen.port() == 80 {
            String::new()
        } else {
            format!(":{}", listen.port())
        };
        let by_address = match listen {
            SocketAddr::V4(address) => format!("http://{}{port}", address.ip()),
            SocketAddr::V6(address) => format!("http://[{}]{port}", address.ip()),
        };
        let mut origins: Vec<_> = self.issuer.iter().cloned().chain([by_address]).collect();
        if listen.ip().is_loopback() {
            origins.extend(["127.0.0.1", "[::1]", "localhost"].map(|host| format!("http://{host}{port}")));
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
    fn a_local_server_is_known_by_every_name_of_this_machine() {
        let origins = load("max_devices", "1").origins("127.0.0.1:9000".parse().unwrap());
        assert_eq!(origins.first().map(String::as_str), Some("http://127.0.0.1:9000"));
        assert!(origins.contains(&"http://localhost:9000".to_owned()));
        let origins = load("issuer", "https://chat.example").origins("10.0.0.1:80".parse().unwrap());
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
