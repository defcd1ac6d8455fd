//! Chain keys (`CK`) and the message keys (`mk`) that they give, one per message.

use alloc::vec::Vec;

use unhidra_chain::label;
use unhidra_crypto::{
    aead::{self, NONCE_BYTES},
    hash::sha256,
    kdf,
};
use unhidra_types::Secret;

use crate::{derived::part, header::EncHeader};

/// `CK`: moves forward by one for each message, and not back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChainKey(Secret<32>);

impl ChainKey {
    pub(crate) const fn new(bytes: Secret<32>) -> Self {
        Self(bytes)
    }

    pub(crate) const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// The key of the next message, and the chain behind it.
    pub(crate) fn step(&self) -> (MessageKey, Self) {
        (
            MessageKey(kdf::hmac(&self.0, &[0x01])),
            Self(kdf::hmac(&self.0, &[0x02])),
        )
    }

    /// The keys of the positions `range`, which starts at this chain's position, and the chain behind them.
    /// The caller has bounded the range.
    pub(crate) fn skip(&self, range: core::ops::Range<u32>) -> (Vec<(u32, MessageKey)>, Self) {
        let mut chain = self.clone();
        let skipped = range
            .map(|n| {
                let (key, next) = chain.step();
                chain = next;
                (n, key)
            })
            .collect();
        (skipped, chain)
    }
}

/// What stands before the ciphertext of a message.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) header: &'a EncHeader,
    /// `enc_pq`; empty without a part.
    pub(crate) part: &'a [u8],
}

/// `mk`: seals one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageKey(Secret<32>);

impl MessageKey {
    pub(crate) const fn new(bytes: Secret<32>) -> Self {
        Self(bytes)
    }

    pub(crate) const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    pub(crate) fn seal(
        &self,
        head: Head<'_>,
        ad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, aead::AeadError> {
        let (key, nonce) = self.expand(head);
        key.seal(&nonce, ad, plaintext)
    }

    pub(crate) fn open(&self, head: Head<'_>, ad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, aead::AeadError> {
        let (key, nonce) = self.expand(head);
        key.open(&nonce, ad, sealed)
    }

    /// The header, its random nonce included, and the part enter the key: another header at the same position has another
    /// key.
    fn expand(&self, head: Head<'_>) -> (aead::Key, [u8; NONCE_BYTES]) {
        let hash = sha256(&[head.header.as_bytes(), head.part]);
        let info: [&[u8]; 2] = [label!("UNH1/msg"), &hash];
        let okm = kdf::hkdf::<44>(&[0; 32], &[self.0.expose()], &info);
        (
            aead::Key::new(part::<0, 32, 44>(&okm)),
            *part::<32, NONCE_BYTES, 44>(&okm).expose(),
        )
    }
}
