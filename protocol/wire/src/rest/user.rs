//! Users and their device chains.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use unhidra_types::{DeviceId, UserId, Username};

use crate::base64::{Base64, Base64Array};

/// `GET /v1/users/by-name/{username}` and `GET /v1/users/{user}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct User {
    /// The account.
    pub user_id: UserId,
    /// Its name.
    pub username: Username,
}

/// `GET /v1/users/{user}/chain?from=SEQ`: signed records from `from` on, at most 256.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ChainRecords {
    /// Records in order.
    pub records: Vec<Base64>,
    /// The last record's number and hash, which may lie beyond `records`.
    pub head: ChainHead,
}

/// The last record of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ChainHead {
    /// Sequence number.
    pub version: u32,
    /// SHA-256 of the record.
    pub hash: Base64Array<32>,
}

/// `POST /v1/users/me/chain`: appends records if the chain still has `expected` of them. Answered with [`ChainHead`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ExtendChain {
    /// How many records the chain has now.
    pub expected: u32,
    /// Records in order; a first upload is a genesis and a certificate.
    pub records: Vec<Base64>,
    /// Proof of possession for every device certified for the first time.
    #[serde(default)]
    pub proofs: Vec<DeviceProof>,
    /// The identity key wrapped by the recovery key (93 bytes); required with a genesis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Base64>,
}

/// Proof that a device holds the keys that its certificate names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceProof {
    /// The device.
    pub device_id: DeviceId,
    /// What people call it, 1 to 64 characters without control characters.
    pub name: String,
    /// By the device signing key.
    pub signature: Base64Array<64>,
}

/// `GET /v1/users/me/recovery`, with an enrolment or access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Recovery {
    /// The identity key wrapped by the recovery key, 93 bytes.
    pub wrapped: Base64,
}
