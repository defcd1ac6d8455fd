//! The three records of a chain, byte for byte (`docs/protocol/identity.md`).
//!
//! Every record ends in an Ed25519 signature by the user identity key (UIK) over all bytes before it; its hash is
//! SHA-256 of all its bytes. Parsing checks the layout and the keys, never the signature: only [`Chain`](crate::Chain)
//! makes a record trustworthy.

mod certificate;
mod genesis;
mod revocation;

use alloc::vec::Vec;

use unhidra_crypto::{
    ed25519::{SignatureError, SigningKey, VerifyingKey},
    hash::sha256,
    x25519::KeyError,
};
use unhidra_types::UserId;

pub use self::{
    certificate::{DeviceCertificate, Subject},
    genesis::Genesis,
    revocation::Revocation,
};
use crate::{
    chain::ListVersion,
    codec::{Malformed, Reader},
};

/// Any record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Record 0: the user's identity key.
    Genesis(Genesis),
    /// A device is certified, or its certificate is renewed.
    Certificate(DeviceCertificate),
    /// A device is out, for good.
    Revocation(Revocation),
}

/// Where a record says it stands: its number and the hash of the record before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The record's number; the genesis has 0 and states none.
    pub seq: ListVersion,
    /// SHA-256 of the record before.
    pub previous: [u8; 32],
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Not the layout of any record.
    #[error("record is malformed")]
    Malformed,
    /// A signature algorithm or device kind that this version does not know.
    #[error("record needs a newer version")]
    Unsupported,
    /// A key is not a canonical point, or is of small order.
    #[error("record carries an unusable key")]
    BadKey,
}

impl Record {
    /// Reads any record.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.starts_with(genesis::LABEL) {
            Genesis::parse(bytes).map(Self::Genesis)
        } else if bytes.starts_with(certificate::LABEL) {
            DeviceCertificate::parse(bytes).map(Self::Certificate)
        } else {
            Revocation::parse(bytes).map(Self::Revocation)
        }
    }

    /// The bytes as they are stored, sent and hashed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Genesis(genesis) => genesis.as_bytes(),
            Self::Certificate(certificate) => certificate.as_bytes(),
            Self::Revocation(revocation) => revocation.as_bytes(),
        }
    }

    /// SHA-256 of all bytes.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[self.as_bytes()])
    }

    /// Checks the signature by `uik`; for a genesis both signatures, and that `uik` is its own key.
    ///
    /// # Errors
    /// [`SignatureError::Forged`] when one does not hold.
    pub fn verify(&self, uik: &VerifyingKey) -> Result<(), SignatureError> {
        match self {
            Self::Genesis(genesis) if genesis.uik() == uik => genesis.verify(),
            Self::Genesis(_) => Err(SignatureError::Forged),
            Self::Certificate(_) | Self::Revocation(_) => check_signature(self.as_bytes(), uik),
        }
    }

    /// Whose chain it belongs to.
    #[must_use]
    pub const fn user(&self) -> UserId {
        match self {
            Self::Genesis(genesis) => genesis.user(),
            Self::Certificate(certificate) => certificate.user(),
            Self::Revocation(revocation) => revocation.user(),
        }
    }

    /// Its stated place; `None` for a genesis, which is always first.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        match self {
            Self::Genesis(_) => None,
            Self::Certificate(certificate) => Some(certificate.position()),
            Self::Revocation(revocation) => Some(revocation.position()),
        }
    }
}

impl Position {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            seq: ListVersion(reader.u32()?),
            previous: reader.array()?,
        })
    }
}

impl From<SignatureError> for RecordError {
    fn from(_: SignatureError) -> Self {
        Self::BadKey
    }
}

impl From<KeyError> for RecordError {
    fn from(_: KeyError) -> Self {
        Self::BadKey
    }
}

impl From<Malformed> for RecordError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// Checks the signature that `bytes` end in.
fn check_signature(bytes: &[u8], key: &VerifyingKey) -> Result<(), SignatureError> {
    let (message, signature) = bytes.split_last_chunk().ok_or(SignatureError::Forged)?;
    key.verify(message, signature)
}

fn append_signature(bytes: &mut Vec<u8>, key: &SigningKey) {
    let signature = key.sign(bytes);
    bytes.extend(signature);
}
