//! Record 0 of a chain: `L("UNH1/genesis") user(16) UIK(32) prev_UIK(32) created_at(8) sig_prev(64) sig(64)`.
//!
//! `prev_UIK` and `sig_prev` are zero when the key replaces none. `sig_prev` is by the previous key over all before it.

use alloc::vec::Vec;

use unhidra_crypto::{
    ed25519::{KEY_BYTES, SIGNATURE_BYTES, SignatureError, SigningKey, VerifyingKey},
    hash::sha256,
};
use unhidra_types::{Timestamp, UserId};

use super::{RecordError, append_signature, check_signature};
use crate::{codec::Reader, label};

pub(super) const LABEL: &[u8] = label!("UNH1/genesis");
const NO_KEY: [u8; KEY_BYTES] = [0; KEY_BYTES];
const NO_SIGNATURE: [u8; SIGNATURE_BYTES] = [0; SIGNATURE_BYTES];

/// The first record: a user's identity key, and the one it replaces if that still could sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    user: UserId,
    uik: VerifyingKey,
    previous_uik: Option<VerifyingKey>,
    created_at: Timestamp,
    bytes: Vec<u8>,
}

impl Genesis {
    /// Bytes of a genesis.
    pub const BYTES: usize = 229;

    /// Signs a genesis; `previous` is the key that `uik` replaces, while it is still held.
    #[must_use]
    pub fn sign(
        uik: &SigningKey,
        user: UserId,
        created_at: Timestamp,
        previous: Option<&SigningKey>,
    ) -> Self {
        let previous_uik = previous.map(SigningKey::verifying_key);
        let previous_bytes = previous_uik.map_or(NO_KEY, |key| *key.as_bytes());
        let mut bytes = [
            LABEL,
            user.as_bytes(),
            uik.verifying_key().as_bytes(),
            &previous_bytes,
            &created_at.as_millis().to_be_bytes(),
        ]
        .concat();
        bytes.extend(previous.map_or(NO_SIGNATURE, |key| key.sign(&bytes)));
        append_signature(&mut bytes, uik);
        Self {
            user,
            uik: uik.verifying_key(),
            previous_uik,
            created_at,
            bytes,
        }
    }

    /// Reads the layout.
    ///
    /// # Errors
    /// [`RecordError::Malformed`] (also when only one of previous key and previous signature is there),
    /// [`RecordError::BadKey`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        reader.literal(LABEL)?;
        let user = UserId::from_bytes(reader.array()?);
        let uik = VerifyingKey::from_bytes(&reader.array()?)?;
        let previous: [u8; 32] = reader.array()?;
        let created_at = Timestamp::from_millis(reader.u64()?);
        let previous_signature: [u8; SIGNATURE_BYTES] = reader.array()?;
        let _signature: [u8; SIGNATURE_BYTES] = reader.array()?;
        reader.finish()?;
        if (previous == NO_KEY) != (previous_signature == NO_SIGNATURE) {
            return Err(RecordError::Malformed);
        }
        let previous_uik = (previous != NO_KEY)
            .then(|| VerifyingKey::from_bytes(&previous))
            .transpose()?;
        Ok(Self {
            user,
            uik,
            previous_uik,
            created_at,
            bytes: bytes.into(),
        })
    }

    /// Checks both signatures.
    ///
    /// # Errors
    /// [`SignatureError::Forged`] when either does not hold.
    pub fn verify(&self) -> Result<(), SignatureError> {
        check_signature(&self.bytes, &self.uik)?;
        let Some(previous) = &self.previous_uik else {
            return Ok(());
        };
        let (before_last, _) = self
            .bytes
            .split_last_chunk::<SIGNATURE_BYTES>()
            .ok_or(SignatureError::Forged)?;
        check_signature(before_last, previous)
    }

    /// The user.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The user identity key.
    #[must_use]
    pub const fn uik(&self) -> &VerifyingKey {
        &self.uik
    }

    /// The identity key that signed this one in. Whoever pinned exactly that key may follow with a notice.
    #[must_use]
    pub const fn previous_uik(&self) -> Option<&VerifyingKey> {
        self.previous_uik.as_ref()
    }

    /// When it was made, by the clock of the device that made it.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        self.created_at
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
