//! `I`: all that names one device, as handshakes bind it.

use unhidra_crypto::{ed25519::VerifyingKey, x25519};
use unhidra_types::{DeviceId, UserId};

use crate::{
    codec::{Reader, concat},
    record::RecordError,
};

/// A device, its user, and the three keys that speak for both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceIdentity {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The user identity key (UIK).
    pub uik: VerifyingKey,
    /// The device's signing key (DSK).
    pub dsk: VerifyingKey,
    /// The device's Diffie-Hellman key (DIK).
    pub dik: x25519::PublicKey,
}

impl DeviceIdentity {
    /// Bytes of the encoding.
    pub const BYTES: usize = 128;

    /// `user_id(16) | device_id(16) | UIK(32) | DSK(32) | DIK(32)`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        concat(&[
            self.user.as_bytes(),
            self.device.as_bytes(),
            self.uik.as_bytes(),
            self.dsk.as_bytes(),
            self.dik.as_bytes(),
        ])
    }

    /// Reads what [`DeviceIdentity::to_bytes`] made.
    ///
    /// # Errors
    /// [`RecordError::Malformed`] for another length, [`RecordError::BadKey`] for an unusable key.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        let identity = Self {
            user: UserId::from_bytes(reader.array()?),
            device: DeviceId::from_bytes(reader.array()?),
            uik: VerifyingKey::from_bytes(&reader.array()?)?,
            dsk: VerifyingKey::from_bytes(&reader.array()?)?,
            dik: x25519::PublicKey::from_bytes(&reader.array()?)?,
        };
        reader.finish()?;
        Ok(identity)
    }
}
