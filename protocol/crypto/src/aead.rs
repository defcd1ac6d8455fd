//! ChaCha20-Poly1305 (RFC 8439).

use alloc::vec::Vec;

use chacha20poly1305::{
    ChaCha20Poly1305,
    aead::{Aead as _, KeyInit as _, Payload},
};
use unhidra_types::Secret;

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
        #[cfg(feature = "instrument")]
        crate::instrument::seal(self.0.expose(), nonce);
        self.cipher()
            .encrypt(nonce.into(), Payload { msg: plaintext, aad })
            .map_err(|chacha20poly1305::aead::Error| AeadError::TooLong)
    }

    /// Authenticates and decrypts what [`Key::seal`] made.
    ///
    /// # Errors
    /// [`AeadError::Forged`] when anything differs from what was sealed.
    pub fn open(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, AeadError> {
        #[cfg(feature = "instrument")]
        crate::instrument::open();
        self.cipher()
            .decrypt(nonce.into(), Payload { msg: sealed, aad })
            .map_err(|chacha20poly1305::aead::Error| AeadError::Forged)
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(self.0.expose().into())
    }
}
