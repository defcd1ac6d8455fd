//! Signatures (RFC 8032), verified strictly: canonical `S`, no small-order `A` or `R`.

use ed25519_dalek::Signer as _;
use rand_core::CryptoRng;
use unhidra_types::Secret;

/// Bytes of a public key and of a seed.
pub const KEY_BYTES: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

/// A key that verifies: a valid point, not of small order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

/// Why bytes are not a key, or a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not the encoding of a point, or a point of small order.
    #[error("verifying key is not usable")]
    BadKey,
    /// The signature does not hold.
    #[error("signature does not hold")]
    Forged,
}

impl SigningKey {
    /// Draws a new key.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(ed25519_dalek::SigningKey::generate(rng))
    }

    /// Restores a key from its seed.
    #[must_use]
    pub fn from_seed(seed: &Secret<KEY_BYTES>) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed.expose()))
    }

    /// The seed, for a sealed store.
    #[must_use]
    pub fn to_seed(&self) -> Secret<KEY_BYTES> {
        Secret::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Signs `message`, which the caller has labelled.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }
}

impl VerifyingKey {
    /// Decodes a public key.
    ///
    /// # Errors
    /// [`SignatureError::BadKey`] when the bytes are not a point or the point is of small order.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Result<Self, SignatureError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| SignatureError::BadKey)?;
        if key.is_weak() || key.to_edwards().compress().as_bytes() != bytes {
            return Err(SignatureError::BadKey);
        }
        Ok(Self(key))
    }

    /// The encoding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        self.0.as_bytes()
    }

    /// Checks `signature` over `message`.
    ///
    /// # Errors
    /// [`SignatureError::Forged`] when it does not hold under the strict rules.
    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> Result<(), SignatureError> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0
            .verify_strict(message, &signature)
            .map_err(|_| SignatureError::Forged)
    }
}
