//! Prekeys: what a device leaves with the server so that others can begin a session while it is away.
//!
//! Two kinds are signed by the device's DSK, with their type, owner, generation and last day in the input, so that the
//! server can neither swap nor revive them. One-time X25519 prekeys are unsigned, as in X3DH: a swapped one fails at
//! the first decryption.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use unhidra_crypto::{
    ed25519::{SIGNATURE_BYTES, SignatureError, SigningKey, VerifyingKey},
    kem, x25519,
};
use unhidra_types::{DeviceId, Timestamp, UserId};

use crate::{
    codec::{Malformed, Reader, concat},
    label,
};

/// The number of a prekey: random, not zero, unique among the live keys of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrekeyId(NonZeroU32);

/// The number of a device's whole prekey set; it rises only when the set is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// What a prekey's signature binds it to, besides its own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrekeyOwner {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The set that the prekey belongs to.
    pub generation: Generation,
}

/// The signed types of prekeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrekeyType {
    /// X25519, in use for 7 d.
    Signed,
    /// ML-KEM-768, used once.
    KemOneTime,
    /// ML-KEM-768, used when the one-time keys have run out; its use is shown to both sides.
    KemLastResort,
}

/// The two types of KEM prekey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KemKind {
    /// Used once.
    OneTime,
    /// Used when the one-time keys have run out.
    LastResort,
}

/// A signed X25519 prekey (SPK).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPrekey {
    /// Its number.
    pub id: PrekeyId,
    /// The last moment at which a sender may use it.
    pub not_after: Timestamp,
    /// The key.
    pub public: x25519::PublicKey,
    /// By the device's DSK.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// A signed ML-KEM-768 prekey.
#[derive(Clone, Debug, PartialEq)]
pub struct KemPrekey {
    /// One-time or last resort.
    pub kind: KemKind,
    /// Its number.
    pub id: PrekeyId,
    /// The last moment at which a sender may use it.
    pub not_after: Timestamp,
    /// The key.
    pub public: kem::EncapsulationKey,
    /// By the device's DSK.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// An unsigned one-time X25519 prekey (OPK).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneTimePrekey {
    /// Its number.
    pub id: PrekeyId,
    /// The key.
    pub public: x25519::PublicKey,
}

impl PrekeyId {
    /// Takes a number; `None` for zero, which means "no prekey" on the wire.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn to_u32(self) -> u32 {
        self.0.get()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::new(reader.u32()?).ok_or(Malformed)
    }
}

impl PrekeyType {
    /// The byte on the wire and in signatures.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Signed => 1,
            Self::KemOneTime => 2,
            Self::KemLastResort => 3,
        }
    }
}

impl KemKind {
    /// The signed type.
    #[must_use]
    pub const fn prekey_type(self) -> PrekeyType {
        match self {
            Self::OneTime => PrekeyType::KemOneTime,
            Self::LastResort => PrekeyType::KemLastResort,
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            2 => Ok(Self::OneTime),
            3 => Ok(Self::LastResort),
            _ => Err(Malformed),
        }
    }
}

impl SignedPrekey {
    /// Bytes of the encoding.
    pub const BYTES: usize = 108;

    /// Signs `public` for `owner`.
    #[must_use]
    pub fn sign(
        dsk: &SigningKey,
        owner: &PrekeyOwner,
        id: PrekeyId,
        not_after: Timestamp,
        public: x25519::PublicKey,
    ) -> Self {
        let input = owner.signing_input(PrekeyType::Signed, id, public.as_bytes(), not_after);
        Self {
            id,
            not_after,
            public,
            signature: dsk.sign(&input),
        }
    }

    /// Checks that `dsk` signed this key for `owner`. The server does so at upload, the sender before any DH.
    ///
    /// # Errors
    /// [`SignatureError::Forged`] when it did not.
    pub fn verify(&self, dsk: &VerifyingKey, owner: &PrekeyOwner) -> Result<(), SignatureError> {
        let input = owner.signing_input(
            PrekeyType::Signed,
            self.id,
            self.public.as_bytes(),
            self.not_after,
        );
        dsk.verify(&input, &self.signature)
    }

    /// `id(4) | not_after(8) | public(32) | signature(64)`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        concat(&[
            &self.id.to_u32().to_be_bytes(),
            &self.not_after.as_millis().to_be_bytes(),
            self.public.as_bytes(),
            &self.signature,
        ])
    }

    /// Reads what [`SignedPrekey::to_bytes`] made.
    ///
    /// # Errors
    /// [`Malformed`] for another length, a zero id or a key that is not canonical.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let prekey = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(prekey)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            id: PrekeyId::read(reader)?,
            not_after: Timestamp::from_millis(reader.u64()?),
            public: read_key(reader)?,
            signature: reader.array()?,
        })
    }
}

impl KemPrekey {
    /// Bytes of the encoding.
    pub const BYTES: usize = 1_261;

    /// Signs `public` for `owner`.
    #[must_use]
    pub fn sign(
        dsk: &SigningKey,
        owner: &PrekeyOwner,
        kind: KemKind,
        id: PrekeyId,
        not_after: Timestamp,
        public: kem::EncapsulationKey,
    ) -> Self {
        let input = owner.signing_input(kind.prekey_type(), id, &public.to_bytes(), not_after);
        Self {
            kind,
            id,
            not_after,
            public,
            signature: dsk.sign(&input),
        }
    }

    /// Checks that `dsk` signed this key for `owner`. The server does so at upload, the sender before encapsulating.
    ///
    /// # Errors
    /// [`SignatureError::Forged`] when it did not.
    pub fn verify(&self, dsk: &VerifyingKey, owner: &PrekeyOwner) -> Result<(), SignatureError> {
        let public = self.public.to_bytes();
        let input = owner.signing_input(self.kind.prekey_type(), self.id, &public, self.not_after);
        dsk.verify(&input, &self.signature)
    }

    /// `kind(1) | id(4) | not_after(8) | public(1184) | signature(64)`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        concat(&[
            &[self.kind.prekey_type().to_byte()],
            &self.id.to_u32().to_be_bytes(),
            &self.not_after.as_millis().to_be_bytes(),
            &self.public.to_bytes(),
            &self.signature,
        ])
    }

    /// Reads what [`KemPrekey::to_bytes`] made.
    ///
    /// # Errors
    /// [`Malformed`] for another length or kind, a zero id or a key that fails the modulus check.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let prekey = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(prekey)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            kind: KemKind::read(reader)?,
            id: PrekeyId::read(reader)?,
            not_after: Timestamp::from_millis(reader.u64()?),
            public: kem::EncapsulationKey::from_bytes(&reader.array()?)
                .map_err(|kem::InvalidKey| Malformed)?,
            signature: reader.array()?,
        })
    }
}

impl OneTimePrekey {
    /// Bytes of the encoding.
    pub const BYTES: usize = 36;

    /// `id(4) | public(32)`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        concat(&[&self.id.to_u32().to_be_bytes(), self.public.as_bytes()])
    }

    /// Reads what [`OneTimePrekey::to_bytes`] made.
    ///
    /// # Errors
    /// [`Malformed`] for another length, a zero id or a key that is not canonical.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let prekey = Self {
            id: PrekeyId::read(&mut reader)?,
            public: read_key(&mut reader)?,
        };
        reader.finish()?;
        Ok(prekey)
    }
}

impl PrekeyOwner {
    fn signing_input(
        &self,
        prekey_type: PrekeyType,
        id: PrekeyId,
        public: &[u8],
        not_after: Timestamp,
    ) -> Vec<u8> {
        [
            label!("UNH1/prekey").as_slice(),
            &[prekey_type.to_byte()],
            &id.to_u32().to_be_bytes(),
            public,
            self.user.as_bytes(),
            self.device.as_bytes(),
            &self.generation.0.to_be_bytes(),
            &not_after.as_millis().to_be_bytes(),
        ]
        .concat()
    }
}

fn read_key(reader: &mut Reader<'_>) -> Result<x25519::PublicKey, Malformed> {
    x25519::PublicKey::from_bytes(&reader.array()?).map_err(|_: x25519::KeyError| Malformed)
}
