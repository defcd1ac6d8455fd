//! Access tokens: JSON Web Tokens (RFC 7519) signed by EdDSA, bound to a device and a session.

use serde::{Deserialize, Serialize};
use unhidra_types::{DeviceId, OrgId, SessionId, UserId};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 2_048;
/// How far the clock of whoever made a token may be off, in seconds.
pub const LEEWAY_SECONDS: u64 = 60;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The server that made it.
    pub iss: String,
    /// The user.
    pub sub: UserId,
    /// The device; absent while enrolling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub did: Option<DeviceId>,
    /// The session; absent while enrolling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<SessionId>,
    /// The user's organisation.
    pub org: OrgId,
    /// What it is good for.
    pub scope: Scope,
    /// When it was made, in seconds since the Unix epoch.
    pub iat: u64,
    /// When it ends, in seconds since the Unix epoch.
    pub exp: u64,
    /// Its own name: 16 random bytes in hexadecimal.
    pub jti: String,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Proving or enrolling a device.
    Enrol,
    /// Everything that the user may do.
    Full,
}

/// Whom a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// Someone who knows the password.
    Enrolling,
    /// A device in a session.
    Session {
        /// The device.
        device: DeviceId,
        /// The session.
        session: SessionId,
    },
}

/// What is known of a token whose signature holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who it speaks for.
    pub user: UserId,
    /// As what.
    pub bearer: Bearer,
    /// When it was made, in seconds since the Unix epoch.
    pub made_at: u64,
    /// When it ends, in seconds since the Unix epoch.
    pub ends_at: u64,
}

impl Verified {
    /// Whether it is in time at `now`, in seconds since the Unix epoch, with [`LEEWAY_SECONDS`].
    pub(crate) const fn is_in_time(&self, now: u64) -> bool {
        now <= self.ends_at.saturating_add(LEEWAY_SECONDS)
            && self.made_at <= now.saturating_add(LEEWAY_SECONDS)
    }
}

impl TryFrom<Claims> for Verified {
    type Error = TokenError;

    fn try_from(claims: Claims) -> Result<Self, TokenError> {
        let bearer = match (claims.scope, claims.did, claims.sid) {
            (Scope::Full, Some(device), Some(session)) => Bearer::Session { device, session },
            (Scope::Enrol, None, None) => Bearer::Enrolling,
            (Scope::Full | Scope::Enrol, ..) => return Err(TokenError::Malformed),
        };
        Ok(Self {
            user: claims.sub,
            bearer,
            made_at: claims.iat,
            ends_at: claims.exp,
        })
    }
}

/// A token is not valid. What is wrong with it is for the log, not for whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of the one form that this server makes.
    #[error("not a token of this server")]
    Malformed,
    /// Signed by a key that is not, or no longer, this server's.
    #[error("unknown signing key")]
    UnknownKey,
    /// The signature does not hold.
    #[error("signature does not hold")]
    Forged,
    /// Past its end, or from the future.
    #[error("expired or not yet valid")]
    OutOfDate,
}
