//! Opening an account.

use serde::{Deserialize, Serialize};
use unhidra_types::{OrgId, UserId, Username};

use super::Hidden;

/// `POST /v1/accounts`: opens an account with an invitation or the set-up token. Answered with [`Enrolment`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OpenAccount {
    /// The invitation or set-up token; single use.
    pub invitation: Hidden,
    /// The wanted name.
    pub username: Username,
    /// 10 to 1,024 bytes.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = Password, min_length = 10, max_length = 1_024))]
    pub password: Hidden,
}

/// What a password alone is good for: enrolling a device, or proving a device that is enrolled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Enrolment {
    /// The account.
    pub user_id: UserId,
    /// Its organisation.
    pub org_id: OrgId,
    /// Bearer token of scope `enrol`, 10 minutes.
    pub enrol_token: Hidden,
    /// Whether the account has a device chain; without one, this device begins it.
    pub has_chain: bool,
}

/// `POST /v1/me/delete`: deletes the caller's account for good.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeleteAccount {
    /// The account's password.
    pub password: Hidden,
}
