//! Bodies of the routes that replace an identity key or its recovery wrap.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{ChainHead, DeviceProof};
use crate::base64::Base64;

/// `POST /v1/users/me/identity/rotation` and `.../reset`: puts another chain in the place of the current one. Answered
/// with [`ChainHead`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReplaceIdentity {
    /// The head of the chain that is replaced: the server has this one now.
    pub replaces: ChainHead,
    /// The whole new chain: a genesis and at least one certificate. In a rotation the genesis is signed by the current
    /// identity key as well, in a reset it names none before it.
    pub records: Vec<Base64>,
    /// Proof of possession for every device that the replaced chain did not hold under the same keys.
    #[serde(default)]
    pub proofs: Vec<DeviceProof>,
    /// The new identity key wrapped by a recovery key, 93 bytes.
    pub recovery: Base64,
}

/// `PUT /v1/users/me/recovery`: the same identity key, wrapped by another recovery key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReplaceRecovery {
    /// 93 bytes, of the current genesis.
    pub wrapped: Base64,
}
