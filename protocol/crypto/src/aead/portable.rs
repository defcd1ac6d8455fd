//! By RustCrypto: wherever Rust runs.

use chacha20poly1305::{
    ChaCha20Poly1305, Tag,
    aead::{AeadInOut as _, KeyInit as _},
};

use super::{AeadError, NONCE_BYTES, TAG_BYTES};

/// Encrypts in place; gives the tag.
pub(super) fn encrypt(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    text: &mut [u8],
) -> Result<[u8; TAG_BYTES], AeadError> {
    ChaCha20Poly1305::new(key.into())
        .encrypt_inout_detached(nonce.into(), aad, text.into())
        .map(Into::into)
        .map_err(|chacha20poly1305::aead::Error| AeadError::TooLong)
}

/// Decrypts in place. What stands there after an error is of no use.
pub(super) fn decrypt(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> Result<(), AeadError> {
    ChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(nonce.into(), aad, text.into(), &Tag::from(*tag))
        .map_err(|chacha20poly1305::aead::Error| AeadError::Forged)
}
