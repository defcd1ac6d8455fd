//! By aws-lc: where its assembly runs, which needs a C compiler to build.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::{AeadError, NONCE_BYTES, TAG_BYTES};

/// Encrypts in place; gives the tag.
pub(super) fn encrypt(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    text: &mut [u8],
) -> Result<[u8; TAG_BYTES], AeadError> {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let tag = cipher(key)
        .and_then(|cipher| cipher.seal_in_place_separate_tag(nonce, Aad::from(aad), text))
        .map_err(|_unspecified| AeadError::TooLong)?;
    tag.as_ref().try_into().map_err(|_length| AeadError::TooLong)
}

/// Decrypts in place. What stands there after an error is of no use.
pub(super) fn decrypt(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> Result<(), AeadError> {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    cipher(key)
        .and_then(|cipher| {
            let opened = cipher.open_in_place_separate_tag(nonce, Aad::from(aad), tag, text);
            opened.map(|_plaintext| ())
        })
        .map_err(|_unspecified| AeadError::Forged)
}

/// It fails for keys of another length only.
fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, aws_lc_rs::error::Unspecified> {
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new)
}
