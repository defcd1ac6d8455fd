//! ML-KEM-768 (FIPS 203), with the length and modulus checks of its section 7.

use ml_kem::{Decapsulate as _, Key, KeyExport as _, MlKem768, ml_kem_768};
use rand_core::CryptoRng;
use unhidra_types::Secret;
use zeroize::Zeroize as _;

/// Bytes of an encapsulation key.
pub const ENCAPSULATION_KEY_BYTES: usize = 1_184;
/// Bytes of a ciphertext.
pub const CIPHERTEXT_BYTES: usize = 1_088;
/// Bytes of the seed that a decapsulation key is stored as.
pub const SEED_BYTES: usize = 64;

/// The private half.
pub struct DecapsulationKey(ml_kem_768::DecapsulationKey);

/// The public half, modulus-checked.
#[derive(Clone, Debug, PartialEq)]
pub struct EncapsulationKey(ml_kem_768::EncapsulationKey);

/// Why bytes are not an encapsulation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("encapsulation key is malformed")]
pub struct InvalidKey;

impl DecapsulationKey {
    /// Draws a new key.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut seed = [0; SEED_BYTES];
        rng.fill_bytes(&mut seed);
        let key = Self::from_seed(&Secret::new(seed));
        seed.zeroize();
        key
    }

    /// Restores a key from its seed.
    #[must_use]
    pub fn from_seed(seed: &Secret<SEED_BYTES>) -> Self {
        Self(ml_kem_768::DecapsulationKey::from_seed((*seed.expose()).into()))
    }

    /// The public half.
    #[must_use]
    pub fn encapsulation_key(&self) -> EncapsulationKey {
        EncapsulationKey(self.0.encapsulation_key().clone())
    }

    /// The shared secret of a ciphertext. A forged ciphertext gives an unrelated secret (implicit rejection).
    #[must_use]
    pub fn decapsulate(&self, ciphertext: &[u8; CIPHERTEXT_BYTES]) -> Secret<32> {
        Secret::new(self.0.decapsulate(ciphertext.into()).into())
    }
}

impl EncapsulationKey {
    /// Decodes a public key.
    ///
    /// # Errors
    /// [`InvalidKey`] when the modulus check fails.
    pub fn from_bytes(bytes: &[u8; ENCAPSULATION_KEY_BYTES]) -> Result<Self, InvalidKey> {
        let encoded: &Key<ml_kem::EncapsulationKey<MlKem768>> = bytes.into();
        ml_kem_768::EncapsulationKey::new(encoded)
            .map(Self)
            .map_err(|_| InvalidKey)
    }

    /// The encoding.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ENCAPSULATION_KEY_BYTES] {
        self.0.to_bytes().into()
    }

    /// Draws a secret and its ciphertext.
    pub fn encapsulate<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> ([u8; CIPHERTEXT_BYTES], Secret<32>) {
        let mut message = [0; 32];
        rng.fill_bytes(&mut message);
        let (ciphertext, shared) = self.0.encapsulate_deterministic(&message.into());
        message.zeroize();
        (ciphertext.into(), Secret::new(shared.into()))
    }
}
