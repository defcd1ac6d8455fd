//! The server's own keys: they sign access tokens and tree heads, seal what the database must not show, and are sealed at rest.
//!
//! No key of an end-to-end conversation is ever here. The crate knows no routes, sessions or tables.
//!
//! - [`Keys`]: the open ring: signs, verifies, seals, rotates   - [`token`]: access tokens and their claims
//! - [`file`](mod@file): the sealed file and its sealing key    - [`jwks`]: what others verify tokens with
//! - [`certificate`]: a TLS certificate with its key             - [`local_ca`]: an authority for one server
//!
//! Invariants: a token is signed and verified by EdDSA alone, under a key that the JWKS names or named when the token
//! was signed; a key file is never half written and never readable by others.
#![warn(missing_docs)]

mod audit;
pub mod certificate;
pub mod file;
pub mod jwks;
mod known;
pub mod local_ca;
mod ring;
pub mod token;

use std::{path::PathBuf, time::Duration};

use unhidra_runtime::unit;

pub use file::OnDisk;
pub use ring::{KeyError, Keys, examine};
pub use token::{Bearer, Claims, Scope, TokenError, Verified};

/// Where the server's keys are and how long they serve.
#[derive(Clone, Debug, confique::Config)]
pub struct KeysConfig {
    /// File with the server's keys, sealed. Created on the first start. Relative to the data folder.
    #[config(default = "keys.sealed")]
    pub file: PathBuf,
    /// File with the key that seals the one above, mode 0600. Created on the first start. Relative to the data folder; better kept apart from it and from its backups.
    #[config(default = "sealing.key")]
    pub sealing_key: PathBuf,
    /// Lifetime of an access token.
    #[config(default = "10m", deserialize_with = unit::duration)]
    pub token_lifetime: Duration,
    /// Age at which the signing key is replaced.
    #[config(default = "90d", deserialize_with = unit::duration)]
    pub rotation: Duration,
    /// How long a replaced signing key still verifies and stays in the JWKS; at least the lifetime of a token.
    #[config(default = "24h", deserialize_with = unit::duration)]
    pub overlap: Duration,
}

/// Why the section does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Tokens that end at once let nobody in, and those that never end can't be revoked.
    #[error("`keys.token_lifetime` must be between 1s and 24h")]
    TokenLifetime,
    /// Keys would be replaced faster than tokens end, and the oldest are forgotten.
    #[error("`keys.rotation` must be at least 1h")]
    Rotation,
    /// A replaced key would stop verifying before its last token ends.
    #[error("`keys.overlap` is shorter than `keys.token_lifetime`")]
    Overlap,
}

impl KeysConfig {
    /// Checks what no single type shows.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        const TOKENS: std::ops::RangeInclusive<Duration> =
            Duration::from_secs(1)..=Duration::from_secs(86_400);
        if !TOKENS.contains(&self.token_lifetime) {
            return Err(ConfigError::TokenLifetime);
        }
        if self.rotation < Duration::from_secs(3_600) {
            return Err(ConfigError::Rotation);
        }
        if self.overlap < self.token_lifetime {
            return Err(ConfigError::Overlap);
        }
        Ok(())
    }
}
