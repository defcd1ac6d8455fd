//! Administration.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use unhidra_types::{DeviceId, InvitationId, Role, SessionId, Timestamp, UserId, Username};

use super::{Hidden, OpeningFailure};

/// `POST /v1/admin/invitations`. Answered with [`Invitation`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The role that the invited account gets.
    pub role: Role,
    /// Seconds until the invitation expires, at most 30 days.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 2_592_000))]
    pub expires_in: u64,
}

/// An invitation, shown once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Invitation {
    /// Names it where it is listed and withdrawn; absent in answers of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation_id: Option<InvitationId>,
    /// Single use.
    pub token: Hidden,
    /// End of its use.
    pub expires_at: Timestamp,
}

/// `GET /v1/admin/users?after=ID&limit=N`: every account, in the order of their ids.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Accounts {
    /// One page of them.
    pub users: Vec<Account>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<UserId>,
}

/// `GET /v1/admin/users/{user}`: an account as administration sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Account {
    /// The user.
    pub user_id: UserId,
    /// Their name; a made-up one once the account is deleted.
    pub username: Username,
    /// What the account may do.
    pub role: Role,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was disabled.
    pub disabled_at: Option<Timestamp>,
    /// When its user deleted it.
    pub deleted_at: Option<Timestamp>,
    /// Devices that are not revoked.
    pub devices: u32,
    /// Sessions that have not ended.
    pub sessions: u32,
}

/// `GET /v1/admin/sessions?user=ID&after=ID&limit=N` and, of the caller, `GET /v1/sessions`: sessions that have not ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Sessions {
    /// One page of them, in the order of their ids.
    pub sessions: Vec<Session>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<SessionId>,
}

/// A session that has not ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Session {
    /// The session.
    pub session_id: SessionId,
    /// Its user.
    pub user_id: UserId,
    /// The user's name.
    pub username: Username,
    /// Its device.
    pub device_id: DeviceId,
    /// What people call the device.
    pub device_name: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When its tokens were last renewed.
    pub refreshed_at: Timestamp,
}

/// `GET /v1/admin/devices?user=ID&after=ID&limit=N`: every device that was ever certified.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AllDevices {
    /// One page of them, in the order of their ids.
    pub devices: Vec<OwnedDevice>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<DeviceId>,
}

/// A device with whose it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OwnedDevice {
    /// The device.
    pub device_id: DeviceId,
    /// Its user.
    pub user_id: UserId,
    /// The user's name.
    pub username: Username,
    /// What people call the device.
    pub name: String,
    /// When the server first saw it.
    pub created_at: Timestamp,
    /// When it last authenticated.
    pub last_seen_at: Option<Timestamp>,
    /// When its user revoked it, which others verify.
    pub revoked_at: Option<Timestamp>,
    /// When an administrator refused its sessions, which only this server knows.
    pub refused_at: Option<Timestamp>,
    /// Messages that it could not open, as it last reported; empty before the first failure.
    #[serde(default)]
    pub failures: BTreeMap<OpeningFailure, u32>,
    /// When it reported them.
    #[serde(default)]
    pub failures_at: Option<Timestamp>,
}

/// `POST /v1/admin/devices/{device}/revoke-sessions`: what ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EndedSessions {
    /// Sessions that ended by this.
    pub ended: u32,
}

/// `GET /v1/admin/invitations?after=ID&limit=N`: every invitation that was not withdrawn.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Invitations {
    /// One page of them, in the order of their ids.
    pub invitations: Vec<ListedInvitation>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<InvitationId>,
}

/// An invitation without its token, which only its maker saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ListedInvitation {
    /// The invitation.
    pub invitation_id: InvitationId,
    /// The role that the invited account gets.
    pub role: Role,
    /// Who made it; null for the set-up token.
    pub made_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// End of its use.
    pub expires_at: Timestamp,
    /// The account that it opened.
    pub used_by: Option<UserId>,
    /// When it was used.
    pub used_at: Option<Timestamp>,
}
