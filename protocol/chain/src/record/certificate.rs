//! A device certificate: `L("UNH1/devcert") alg(1)=1 kind(1) user(16) device(16) DSK(32) DIK(32) caps(4)
//! not_before(8) not_after(8) seq(4) prev_hash(32) sig(64)`.

use alloc::vec::Vec;

use unhidra_crypto::{
    ed25519::{SIGNATURE_BYTES, SigningKey, VerifyingKey},
    hash::sha256,
    x25519,
};
use unhidra_types::{DeviceId, Timestamp, UserId};

use super::{Position, RecordError, append_signature};
use crate::{
    chain::ListHead,
    codec::Reader,
    device::{Capabilities, DeviceKind, Validity},
    identity::DeviceIdentity,
    label,
};

pub(super) const LABEL: &[u8] = label!("UNH1/devcert");
/// The one signature algorithm so far: Ed25519.
const ED25519: u8 = 1;

/// The user's word that a device with these keys is one of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCertificate {
    user: UserId,
    subject: Subject,
    validity: Validity,
    position: Position,
    bytes: Vec<u8>,
}

/// Whom a certificate is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The device.
    pub device: DeviceId,
    /// What it is. A renewal keeps it.
    pub kind: DeviceKind,
    /// The device's signing key (DSK). A renewal keeps it.
    pub dsk: VerifyingKey,
    /// The device's Diffie-Hellman key (DIK). A renewal keeps it.
    pub dik: x25519::PublicKey,
    /// What it can do.
    pub capabilities: Capabilities,
}

impl DeviceCertificate {
    /// Bytes of a certificate.
    pub const BYTES: usize = 231;

    /// Certifies `subject` as a device of `user`, in the place after `head`.
    #[must_use]
    pub fn sign(
        uik: &SigningKey,
        user: UserId,
        head: &ListHead,
        subject: Subject,
        validity: Validity,
    ) -> Self {
        let position = head.next();
        let mut bytes = [
            LABEL,
            &[ED25519, subject.kind.to_byte()],
            user.as_bytes(),
            subject.device.as_bytes(),
            subject.dsk.as_bytes(),
            subject.dik.as_bytes(),
            &subject.capabilities.bits().to_be_bytes(),
            &validity.not_before.as_millis().to_be_bytes(),
            &validity.not_after.as_millis().to_be_bytes(),
            &position.seq.0.to_be_bytes(),
            &position.previous,
        ]
        .concat();
        append_signature(&mut bytes, uik);
        Self {
            user,
            subject,
            validity,
            position,
            bytes,
        }
    }

    /// Reads the layout.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        reader.literal(LABEL)?;
        if reader.u8()? != ED25519 {
            return Err(RecordError::Unsupported);
        }
        let kind = DeviceKind::from_byte(reader.u8()?)?;
        let user = UserId::from_bytes(reader.array()?);
        let subject = Subject {
            kind,
            device: DeviceId::from_bytes(reader.array()?),
            dsk: VerifyingKey::from_bytes(&reader.array()?)?,
            dik: x25519::PublicKey::from_bytes(&reader.array()?)?,
            capabilities: Capabilities::from_bits(reader.u32()?),
        };
        let validity = Validity {
            not_before: Timestamp::from_millis(reader.u64()?),
            not_after: Timestamp::from_millis(reader.u64()?),
        };
        let position = Position::read(&mut reader)?;
        let _signature: [u8; SIGNATURE_BYTES] = reader.array()?;
        reader.finish()?;
        Ok(Self {
            user,
            subject,
            validity,
            position,
            bytes: bytes.into(),
        })
    }

    /// The user who vouches.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The device vouched for.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Its dates.
    #[must_use]
    pub const fn validity(&self) -> &Validity {
        &self.validity
    }

    /// Its stated place.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The device's identity under the user identity key `uik`.
    #[must_use]
    pub const fn identity(&self, uik: &VerifyingKey) -> DeviceIdentity {
        DeviceIdentity {
            user: self.user,
            device: self.subject.device,
            uik: *uik,
            dsk: self.subject.dsk,
            dik: self.subject.dik,
        }
    }

    /// The bytes as they are stored, sent and hashed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of all bytes (`cert_hash`).
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[&self.bytes])
    }
}
