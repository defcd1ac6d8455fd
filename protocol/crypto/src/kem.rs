//! ML-KEM-768 (FIPS 203), with the length and modulus checks of its section 7.
//!
//! By `libcrux-ml-kem`; tests compare it with `ml-kem`, an implementation that shares nothing with it.

use core::fmt;

use libcrux_ml_kem::mlkem768::{
    self, MlKem768Ciphertext, MlKem768KeyPair, MlKem768PrivateKey, MlKem768PublicKey,
};
use rand_core::CryptoRng;
use unhidra_types::Secret;
use zeroize::Zeroize as _;

/// Bytes of an encapsulation key.
pub const ENCAPSULATION_KEY_BYTES: usize = 1_184;
/// Bytes of a ciphertext.
pub const CIPHERTEXT_BYTES: usize = 1_088;
/// Bytes of the seed that a decapsulation key is stored as.
pub const SEED_BYTES: usize = 64;
/// Bytes of a decapsulation key as it is computed with.
const EXPANDED_BYTES: usize = 2_400;

/// The private half, erased on drop.
pub struct DecapsulationKey {
    private: MlKem768PrivateKey,
    public: EncapsulationKey,
}

/// The public half, modulus-checked.
#[derive(Clone, PartialEq)]
pub struct EncapsulationKey([u8; ENCAPSULATION_KEY_BYTES]);

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

    /// Restores a key from its seed, `d | z` of FIPS 203.
    #[must_use]
    pub fn from_seed(seed: &Secret<SEED_BYTES>) -> Self {
        let pair: MlKem768KeyPair = mlkem768::generate_key_pair(*seed.expose());
        let (private, public) = pair.into_parts();
        Self {
            private,
            public: EncapsulationKey(public.into()),
        }
    }

    /// The public half.
    #[must_use]
    pub fn encapsulation_key(&self) -> EncapsulationKey {
        self.public.clone()
    }

    /// The shared secret of a ciphertext. A forged ciphertext gives an unrelated secret (implicit rejection).
    #[must_use]
    pub fn decapsulate(&self, ciphertext: &[u8; CIPHERTEXT_BYTES]) -> Secret<32> {
        let ciphertext = MlKem768Ciphertext::from(ciphertext);
        Secret::new(mlkem768::decapsulate(&self.private, &ciphertext))
    }
}

impl Drop for DecapsulationKey {
    fn drop(&mut self) {
        self.private[0..EXPANDED_BYTES].zeroize();
    }
}

impl EncapsulationKey {
    /// Decodes a public key.
    ///
    /// # Errors
    /// [`InvalidKey`] when the modulus check fails.
    pub fn from_bytes(bytes: &[u8; ENCAPSULATION_KEY_BYTES]) -> Result<Self, InvalidKey> {
        if mlkem768::validate_public_key(&MlKem768PublicKey::from(bytes)) {
            Ok(Self(*bytes))
        } else {
            Err(InvalidKey)
        }
    }

    /// The encoding.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; ENCAPSULATION_KEY_BYTES] {
        self.0
    }

    /// Draws a secret and its ciphertext.
    pub fn encapsulate<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> ([u8; CIPHERTEXT_BYTES], Secret<32>) {
        let mut message = [0; 32];
        rng.fill_bytes(&mut message);
        let (ciphertext, shared) = mlkem768::encapsulate(&MlKem768PublicKey::from(&self.0), message);
        message.zeroize();
        (ciphertext.into(), Secret::new(shared))
    }
}

impl fmt::Debug for EncapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncapsulationKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ml_kem::{Decapsulate as _, Key, KeyExport as _, MlKem768, ml_kem_768};
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng as _, SeedableRng as _};

    /// Keys, ciphertexts and secrets of both implementations, from the same randomness.
    #[test]
    fn two_implementations_agree_on_keys_encapsulation_and_implicit_rejection() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for _ in 0..64 {
            let (mut seed, mut message) = ([0; SEED_BYTES], [0; 32]);
            rng.fill_bytes(&mut seed);
            rng.fill_bytes(&mut message);
            let ours = DecapsulationKey::from_seed(&Secret::new(seed));
            let theirs = ml_kem_768::DecapsulationKey::from_seed(seed.into());
            let public: [u8; ENCAPSULATION_KEY_BYTES] = theirs.encapsulation_key().to_bytes().into();
            assert_eq!(ours.encapsulation_key().to_bytes(), public);

            let mut fixed = Fixed(message);
            let (ciphertext, secret) = ours.encapsulation_key().encapsulate(&mut fixed);
            let (their_ciphertext, their_secret) = theirs
                .encapsulation_key()
                .encapsulate_deterministic(&message.into());
            assert_eq!(ciphertext.as_slice(), their_ciphertext.as_slice());
            assert_eq!(secret.expose().as_slice(), their_secret.as_slice());
            assert_eq!(ours.decapsulate(&ciphertext), secret);

            let mut forged = ciphertext;
            let at = usize::from(u16::from_be_bytes([message[0], message[1]])) % CIPHERTEXT_BYTES;
            forged[at] ^= 1 << (message[2] % 8);
            let rejected = ours.decapsulate(&forged);
            assert_ne!(rejected, secret);
            let theirs: [u8; 32] = theirs.decapsulate((&forged).into()).into();
            assert_eq!(rejected.expose(), &theirs);
        }
    }

    /// Invariant 24: each coefficient at the modulus, in each of its places.
    #[test]
    fn two_implementations_refuse_the_same_keys() {
        let valid = DecapsulationKey::from_seed(&Secret::new([7; SEED_BYTES]))
            .encapsulation_key()
            .to_bytes();
        let is_valid = |bytes: &[u8; ENCAPSULATION_KEY_BYTES]| {
            let encoded: &Key<ml_kem::EncapsulationKey<MlKem768>> = bytes.into();
            let theirs = ml_kem_768::EncapsulationKey::new(encoded).is_ok();
            assert_eq!(EncapsulationKey::from_bytes(bytes).is_ok(), theirs);
            theirs
        };
        assert!(is_valid(&valid));
        for at in (0..1_152).step_by(3) {
            // Two coefficients of 12 bits in three bytes; the modulus is 3 329 = 0xd01.
            let mut low = valid;
            (low[at], low[at + 1]) = (0x01, low[at + 1] & 0xf0 | 0x0d);
            assert!(!is_valid(&low), "low half at {at}");
            low[at] = 0;
            assert!(is_valid(&low), "3 328 at {at}");
            let mut high = valid;
            (high[at + 1], high[at + 2]) = (high[at + 1] & 0x0f | 0x10, 0xd0);
            assert!(!is_valid(&high), "high half at {at}");
        }
        // The seed of the matrix is any 32 bytes.
        let mut other = valid;
        other[1_152..].fill(0xff);
        assert!(is_valid(&other));
    }

    /// A generator that gives what it is told.
    struct Fixed([u8; 32]);

    impl rand_core::TryRng for Fixed {
        type Error = core::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(0)
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(0)
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.copy_from_slice(&self.0);
            Ok(())
        }
    }

    impl rand_core::TryCryptoRng for Fixed {}
}
