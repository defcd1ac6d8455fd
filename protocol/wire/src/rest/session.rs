//! Logging in, and the tokens of a session.

use serde::{Deserialize, Serialize};
use unhidra_types::{DeviceId, OrgId, Role, SessionId, UserId, Username};

use super::Hidden;
use crate::base64::Base64Array;

/// `POST /v1/sessions`: proves the password. Answered with `Enrolment`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// The account's name.
    pub username: Username,
    /// The account's password.
    pub password: Hidden,
}

/// `POST /v1/devices/{device}/sessions`, with the enrolment token: proves the device's key. Answered with [`Tokens`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BeginSession {
    /// By the device signing key over the login input whose challenge is SHA-256 of the enrolment token.
    pub signature: Base64Array<64>,
}

/// `POST /v1/sessions/refresh`: answered with [`Tokens`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The last refresh token.
    pub refresh_token: Hidden,
    /// By the device signing key over the login input whose challenge is SHA-256 of the refresh token.
    pub signature: Base64Array<64>,
    /// The signing device. A server that was restored from a backup may not know the session any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
}

/// A session's tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Tokens {
    /// The session.
    pub session_id: SessionId,
    /// Bearer token bound to device and session.
    pub access_token: Hidden,
    /// Seconds until the access token expires.
    pub expires_in: u64,
    /// Gets the next pair.
    pub refresh_token: Hidden,
}

/// `GET /v1/me`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Me {
    /// The account.
    pub user_id: UserId,
    /// Its name.
    pub username: Username,
    /// Its organisation.
    pub org_id: OrgId,
    /// Its role.
    pub role: Role,
    /// The device of this session.
    pub device_id: DeviceId,
    /// This session.
    pub session_id: SessionId,
}
