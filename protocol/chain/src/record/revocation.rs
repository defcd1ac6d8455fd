//! A revocation: `L("UNH1/revoke") user(16) device(16) seq(4) prev_hash(32) time(8) sig(64)`.

use alloc::vec::Vec;

use unhidra_crypto::{
    ed25519::{SIGNATURE_BYTES, SigningKey},
    hash::sha256,
};
use unhidra_types::{DeviceId, Timestamp, UserId};

use super::{Position, RecordError, append_signature};
use crate::{chain::ListHead, codec::Reader, label};

const LABEL: &[u8] = label!("UNH1/revoke");

/// The user's word that a device is none of their own any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    user: UserId,
    device: DeviceId,
    time: Timestamp,
    position: Position,
    bytes: Vec<u8>,
}

impl Revocation {
    /// Bytes of a revocation.
    pub const BYTES: usize = 152;

    /// Revokes `device` of `user`, in the place after `head`.
    #[must_use]
    pub fn sign(uik: &SigningKey, user: UserId, head: &ListHead, device: DeviceId, time: Timestamp) -> Self {
        let position = head.next();
        let mut bytes = [
            LABEL,
            user.as_bytes(),
            device.as_bytes(),
            &position.seq.0.to_be_bytes(),
            &position.previous,
            &time.as_millis().to_be_bytes(),
        ]
        .concat();
        append_signature(&mut bytes, uik);
        Self {
            user,
            device,
            time,
            position,
            bytes,
        }
    }

    /// Reads the layout.
    ///
    /// # Errors
    /// [`RecordError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        reader.literal(LABEL)?;
        let user = UserId::from_bytes(reader.array()?);
        let device = DeviceId::from_bytes(reader.array()?);
        let position = Position::read(&mut reader)?;
        let time = Timestamp::from_millis(reader.u64()?);
        let _signature: [u8; SIGNATURE_BYTES] = reader.array()?;
        reader.finish()?;
        Ok(Self {
            user,
            device,
            time,
            position,
            bytes: bytes.into(),
        })
    }

    /// The user who revokes.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The device that is out.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// When, by the clock of the revoking device.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// Its stated place.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The bytes as they are stored, sent and hashed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of all bytes.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[&self.bytes])
    }
}
