//! Devices and the prekeys that others begin sessions with.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use unhidra_types::{DeviceId, Timestamp};

use crate::base64::{Base64, Base64Array};

/// `GET /v1/devices`: the caller's own devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Devices {
    /// Every device that was ever certified.
    pub devices: Vec<Device>,
}

/// One device as the server knows it; whether it is certified says the chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Device {
    /// The device.
    pub device_id: DeviceId,
    /// What people call it.
    pub name: String,
    /// When the server first saw it.
    pub created_at: Timestamp,
    /// When it last authenticated.
    pub last_seen_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// `PUT /v1/devices/{device}/prekeys`: adds one-time keys, or replaces the whole set under a higher generation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UploadPrekeys {
    /// Number of the set.
    #[cfg_attr(feature = "schema", schema(maximum = 9_007_199_254_740_991_u64))]
    pub generation: u64,
    /// `SHA-256` of the device's newest certificate.
    pub cert_hash: Base64Array<32>,
    /// The signed prekey.
    pub signed: SignedPrekey,
    /// The last-resort ML-KEM key; absent from a device without `pq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_resort: Option<SignedPrekey>,
    /// New one-time X25519 keys, at most 100.
    pub one_time: Vec<OneTimePrekey>,
    /// New one-time ML-KEM keys, at most 50.
    pub one_time_kem: Vec<SignedPrekey>,
}

/// A prekey signed by its device.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedPrekey {
    /// Nonzero, unique among the live keys of the device.
    pub id: u32,
    /// End of its use.
    pub not_after: Timestamp,
    /// 32 bytes (X25519) or 1,184 (ML-KEM-768).
    pub public: Base64,
    /// By the device signing key.
    pub signature: Base64Array<64>,
}

/// An unsigned one-time X25519 prekey.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OneTimePrekey {
    /// Nonzero, unique among the live keys of the device.
    pub id: u32,
    /// The public key.
    pub public: Base64Array<32>,
}

/// What the server holds of a device's prekeys: answer to an upload, and `GET /v1/devices/{device}/prekeys`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Stock {
    /// Number of the set; 0 before the first upload.
    pub generation: u64,
    /// Ids of the one-time X25519 keys left.
    pub one_time: Vec<u32>,
    /// Ids of the one-time ML-KEM keys left.
    pub one_time_kem: Vec<u32>,
}

/// `POST /v1/users/{user}/bundles`: takes one bundle of each named device. Answered with [`Bundles`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TakeBundles {
    /// At most 32 devices of the user.
    pub devices: Vec<DeviceId>,
}

/// Bundles by device; a device without prekeys is left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Bundles {
    /// Fixed-layout bundles (1,461 or 200 bytes).
    pub bundles: BTreeMap<DeviceId, Base64>,
}

/// `PUT /v1/devices/{device}/failures`: how often this device could not open a message since its profile was made. It
/// takes the place of what was reported before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OpeningFailures {
    /// By reason; what never happened is left out.
    pub counts: BTreeMap<OpeningFailure, u32>,
}

/// Why a device could not open a message, by the names of `docs/protocol/errors.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OpeningFailure {
    /// Length, flag, padding, point or KEM key.
    Malformed,
    /// A version, kind or suite of a later protocol.
    Unsupported,
    /// The first message of a session that was accepted before.
    Replay,
    /// No session opens it.
    NoSession,
    /// It names a prekey that is not held.
    UnknownPrekey,
    /// Its key was used before or never can be made.
    KeyGone,
    /// It skips too far ahead.
    SkipTooFar,
    /// It was altered.
    BadTag,
    /// It came without a capsule for the device.
    NoCapsule,
    /// Its sender is no live device of its user.
    UnknownDevice,
    /// Both devices can do better than the suite it uses.
    Downgrade,
    /// The sender's identity key is not the pinned one.
    IdentityChanged,
}

impl OpeningFailure {
    /// As the interface writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::Replay => "replay",
            Self::NoSession => "no_session",
            Self::UnknownPrekey => "unknown_prekey",
            Self::KeyGone => "key_gone",
            Self::SkipTooFar => "skip_too_far",
            Self::BadTag => "bad_tag",
            Self::NoCapsule => "no_capsule",
            Self::UnknownDevice => "unknown_device",
            Self::Downgrade => "downgrade",
            Self::IdentityChanged => "identity_changed",
        }
    }
}
