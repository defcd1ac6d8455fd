//! Administration.

use serde::{Deserialize, Serialize};
use unhidra_types::{Role, Timestamp};

use super::Hidden;

/// `POST /v1/admin/invitations`. Answered with [`Invitation`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The role that the invited account gets.
    pub role: Role,
    /// Seconds until the invitation expires, at most 30 days.
    pub expires_in: u64,
}

/// An invitation, shown once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Invitation {
    /// Single use.
    pub token: Hidden,
    /// End of its use.
    pub expires_at: Timestamp,
}
