//! What stands before the ratchet message while the peer may not have the session yet.
//!
//! `suite(2) user_A(16) device_A(16) cert_hash_A(32) EK(32) spk_id(4) opk_id(4) pq_id(4) ct(1088; 0x0101 only)`

use alloc::{boxed::Box, vec::Vec};

use unhidra_chain::{Suite, codec::Reader, prekey::PrekeyId};
use unhidra_crypto::{hash::sha256, kem::CIPHERTEXT_BYTES, x25519::PublicKey};
use unhidra_types::{DeviceId, UserId};

use crate::{envelope::Address, error::OpenError};

/// The prefix of a prekey message, read but not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrekeyPrefix {
    /// The suite of the session.
    pub suite: Suite,
    /// The device that began the session.
    pub initiator: Address,
    /// The certificate that it names: one of that device, on a verified chain.
    pub cert_hash: [u8; 32],
    /// Its ephemeral key, which names the session.
    pub ek: PublicKey,
    /// The signed prekey that it used.
    pub spk_id: PrekeyId,
    /// The one-time X25519 prekey, if any.
    pub opk_id: Option<PrekeyId>,
    /// The ML-KEM prekey and the ciphertext under it: in [`Suite::Hybrid`], and only there.
    pub kem: Option<KemPart>,
}

/// The post-quantum part of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KemPart {
    /// The ML-KEM prekey that was used.
    pub id: PrekeyId,
    /// The ciphertext under it.
    pub ciphertext: Box<[u8; CIPHERTEXT_BYTES]>,
}

/// `H(EK)`: names a session, and is all that is remembered of one whose first message must not be accepted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EkHash(pub [u8; 32]);

impl EkHash {
    pub(crate) fn of(ek: &PublicKey) -> Self {
        Self(sha256(&[ek.as_bytes()]))
    }
}

impl PrekeyPrefix {
    /// Bytes of the prefix of [`Suite::Classical`].
    pub const CLASSICAL_BYTES: usize = 110;
    /// Bytes of the prefix of [`Suite::Hybrid`].
    pub const HYBRID_BYTES: usize = Self::CLASSICAL_BYTES + CIPHERTEXT_BYTES;

    /// Reads the prefix; the rest is the ratchet message.
    ///
    /// # Errors
    /// [`OpenError::Unsupported`] for an unknown suite, [`OpenError::Malformed`] for a length, a point, an id that must
    /// not be zero, or a KEM id in the suite without one.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), OpenError> {
        let mut reader = Reader::new(bytes);
        let suite = Suite::from_u16(reader.u16()?).ok_or(OpenError::Unsupported)?;
        let initiator = Address {
            user: UserId::from_bytes(reader.array()?),
            device: DeviceId::from_bytes(reader.array()?),
        };
        let cert_hash = reader.array()?;
        let ek = PublicKey::from_bytes(&reader.array()?).map_err(|_| OpenError::Malformed)?;
        let spk_id = PrekeyId::new(reader.u32()?).ok_or(OpenError::Malformed)?;
        let opk_id = PrekeyId::new(reader.u32()?);
        let kem = match (suite, PrekeyId::new(reader.u32()?)) {
            (Suite::Classical, None) => None,
            (Suite::Hybrid, Some(id)) => Some(KemPart {
                id,
                ciphertext: Box::new(reader.array()?),
            }),
            (Suite::Classical, Some(_)) | (Suite::Hybrid, None) => return Err(OpenError::Malformed),
        };
        let prefix = Self {
            suite,
            initiator,
            cert_hash,
            ek,
            spk_id,
            opk_id,
            kem,
        };
        Ok((prefix, reader.rest()))
    }

    /// What the table of accepted first messages is asked for.
    #[must_use]
    pub fn ek_hash(&self) -> EkHash {
        EkHash::of(&self.ek)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::HYBRID_BYTES);
        bytes.extend_from_slice(&self.suite.to_bytes());
        bytes.extend_from_slice(self.initiator.user.as_bytes());
        bytes.extend_from_slice(self.initiator.device.as_bytes());
        bytes.extend_from_slice(&self.cert_hash);
        bytes.extend_from_slice(self.ek.as_bytes());
        let ids = [
            Some(self.spk_id),
            self.opk_id,
            self.kem.as_ref().map(|kem| kem.id),
        ];
        for id in ids {
            bytes.extend_from_slice(&id.map_or(0, PrekeyId::to_u32).to_be_bytes());
        }
        if let Some(kem) = &self.kem {
            bytes.extend_from_slice(kem.ciphertext.as_slice());
        }
        bytes
    }
}
