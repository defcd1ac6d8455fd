//! ChaCha20-Poly1305 (RFC 8439).
//!
//! By RustCrypto, or with the feature `native` by aws-lc, whose assembly takes a fraction of the time for a short message;
//! a test compares them.

#[cfg(feature = "native")]
mod native;
#[cfg(any(test, not(feature = "native")))]
mod portable;

use alloc::vec::Vec;

use unhidra_types::Secret;

#[cfg(feature = "native")]
use self::native as cipher;
#[cfg(not(feature = "native"))]
use self::portable as cipher;

/// Bytes that sealing adds.
pub const TAG_BYTES: usize = 16;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;

/// A key for one purpose. It cannot be cloned: whoever needs it twice says so by `&Key`.
pub struct Key(Secret<32>);

/// Why opening or sealing failed. Opening says only this, whatever was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AeadError {
    /// The tag does not fit key, nonce, associated data and ciphertext.
    #[error("authentication failed")]
    Forged,
    /// The plaintext is longer than the cipher allows (256 GiB).
    #[error("plaintext too long")]
    TooLong,
}

impl Key {
    /// Takes 32 bytes that a KDF made for this purpose alone.
    #[must_use]
    pub const fn new(bytes: Secret<32>) -> Self {
        Self(bytes)
    }

    /// Encrypts and authenticates: ciphertext, then the tag of [`TAG_BYTES`].
    ///
    /// # Errors
    /// [`AeadError::TooLong`] beyond the cipher's limit.
    pub fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, AeadError> {
        let mut sealed = Vec::with_capacity(plaintext.len() + TAG_BYTES);
        self.seal_onto(&mut sealed, nonce, aad, plaintext)?;
        Ok(sealed)
    }

    /// [`Key::seal`] onto the end of `out`, which holds what stands before the ciphertext.
    ///
    /// # Errors
    /// [`AeadError::TooLong`] beyond the cipher's limit; what was appended is then of no use.
    pub fn seal_onto(
        &self,
        out: &mut Vec<u8>,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<(), AeadError> {
        #[cfg(feature = "instrument")]
        crate::instrument::seal(self.0.expose(), nonce);
        let before = out.len();
        out.extend_from_slice(plaintext);
        let text = out.get_mut(before..).unwrap_or_default();
        let tag = cipher::encrypt(self.0.expose(), nonce, aad, text)?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Authenticates and decrypts what [`Key::seal`] made.
    ///
    /// # Errors
    /// [`AeadError::Forged`] when anything differs from what was sealed.
    pub fn open(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, AeadError> {
        #[cfg(feature = "instrument")]
        crate::instrument::open();
        let (text, tag) = sealed.split_last_chunk().ok_or(AeadError::Forged)?;
        let mut plaintext = text.to_vec();
        cipher::decrypt(self.0.expose(), nonce, aad, &mut plaintext, tag)?;
        Ok(plaintext)
    }
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use alloc::vec;

    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng as _, SeedableRng as _};

    use super::*;

    /// Lengths around the blocks of cipher and authenticator, and beyond what the assembly does in one go.
    #[test]
    fn two_implementations_agree_on_ciphertexts_tags_and_refusals() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut random = |length: usize| {
            let mut bytes = vec![0; length];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        for length in (0..400).chain([1_023, 1_024, 4_097, 65_536]) {
            let (key, nonce): ([u8; 32], [u8; NONCE_BYTES]) =
                (random(32).try_into().unwrap(), random(12).try_into().unwrap());
            let (aad, plaintext) = (random(length % 161), random(length));
            let (mut ours, mut theirs) = (plaintext.clone(), plaintext.clone());
            let tag = native::encrypt(&key, &nonce, &aad, &mut ours).unwrap();
            assert_eq!(
                portable::encrypt(&key, &nonce, &aad, &mut theirs),
                Ok(tag),
                "{length}"
            );
            assert_eq!(ours, theirs, "{length}");

            let mut forged = tag;
            forged[length % TAG_BYTES] ^= 1 << (length % 8);
            for (tag, result) in [(forged, Err(AeadError::Forged)), (tag, Ok(()))] {
                let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
                assert_eq!(native::decrypt(&key, &nonce, &aad, &mut ours, &tag), result);
                assert_eq!(portable::decrypt(&key, &nonce, &aad, &mut theirs, &tag), result);
                if result.is_ok() {
                    assert_eq!(ours, plaintext);
                    assert_eq!(theirs, plaintext);
                }
            }
        }
    }
}
