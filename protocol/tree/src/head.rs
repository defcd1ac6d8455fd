//! The signed tree head: one server's word about the size and the root of its log at one time.
//!
//! ```text
//! signed (96) = L("UNH1/audit/sth")(15) version(1)=1 log id(32) size(8) at(8; ms) root(32)
//! log id      = SHA-256(L("UNH1/audit/log") | public key(32) | random(16))
//! ```

use unhidra_crypto::{
    ed25519::{SIGNATURE_BYTES, SignatureError, VerifyingKey},
    hash::sha256,
};
use unhidra_types::Timestamp;
use unhidra_wire::{audit::TreeHead, base64::Base64Array};

use crate::Hash;

/// Bytes that are signed.
pub const SIGNED_BYTES: usize = 96;

const LABEL: &[u8; 15] = b"\x0eUNH1/audit/sth";
const LOG_LABEL: &[u8; 15] = b"\x0eUNH1/audit/log";
const VERSION: u8 = 1;

/// What a server says about its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Names the log: a hash of the key that signs it and of 16 random bytes.
    pub log: [u8; 32],
    /// How many leaves there are.
    pub size: u64,
    /// When it was signed.
    pub at: Timestamp,
    /// The root over them.
    pub root: Hash,
}

/// A head with the server's signature, which may not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// What is said.
    pub head: Head,
    /// By the log's key over [`Head::signed_bytes`].
    pub signature: [u8; SIGNATURE_BYTES],
}

/// Why a head is not the log's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The key is none.
    #[error("the key of the log is not usable")]
    BadKey,
    /// The signature does not hold under the key.
    #[error("the signature of the tree head does not hold")]
    Forged,
}

/// The name of a log.
#[must_use]
pub fn log_id(key: &[u8; 32], random: &[u8; 16]) -> [u8; 32] {
    sha256(&[LOG_LABEL, key, random])
}

impl Head {
    /// The bytes that the log's key signs.
    #[must_use]
    pub fn signed_bytes(&self) -> [u8; SIGNED_BYTES] {
        let fields: [&[u8]; 6] = [
            LABEL,
            &[VERSION],
            &self.log,
            &self.size.to_be_bytes(),
            &self.at.as_millis().to_be_bytes(),
            &self.root,
        ];
        let mut bytes = [0; SIGNED_BYTES];
        for (to, from) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }
}

impl SignedHead {
    /// Checks the signature.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn verify(&self, key: &[u8; 32]) -> Result<(), HeadError> {
        let key = VerifyingKey::from_bytes(key).map_err(|_| HeadError::BadKey)?;
        key.verify(&self.head.signed_bytes(), &self.signature)
            .map_err(|error| match error {
                SignatureError::BadKey => HeadError::BadKey,
                SignatureError::Forged => HeadError::Forged,
            })
    }
}

impl From<SignedHead> for TreeHead {
    fn from(SignedHead { head, signature }: SignedHead) -> Self {
        Self {
            log_id: Base64Array(head.log),
            size: head.size,
            at: head.at,
            root: Base64Array(head.root),
            signature: Base64Array(signature),
        }
    }
}

impl From<TreeHead> for SignedHead {
    fn from(head: TreeHead) -> Self {
        Self {
            head: Head {
                log: head.log_id.0,
                size: head.size,
                at: head.at,
                root: head.root.0,
            },
            signature: head.signature.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use unhidra_crypto::ed25519::SigningKey;
    use unhidra_types::Secret;

    use super::*;

    fn sample() -> (SigningKey, SignedHead) {
        let key = SigningKey::from_seed(&Secret::new([7; 32]));
        let head = Head {
            log: [0x11; 32],
            size: 0x0102,
            at: Timestamp::from_millis(0x0304_0506),
            root: [0x22; 32],
        };
        let signature = key.sign(&head.signed_bytes());
        (key, SignedHead { head, signature })
    }

    #[test]
    fn the_signed_bytes_are_as_documented() {
        let hex: String = sample()
            .1
            .head
            .signed_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let expected = [
            "0e554e48312f61756469742f737468",
            "01",
            &"11".repeat(32),
            "0000000000000102",
            "0000000003040506",
            &"22".repeat(32),
        ];
        assert_eq!(hex, expected.concat());
        assert_eq!(hex.len(), 2 * SIGNED_BYTES);
    }

    #[test]
    fn a_head_with_another_field_or_key_is_forged() {
        let (key, signed) = sample();
        let public = *key.verifying_key().as_bytes();
        assert_eq!(signed.verify(&public), Ok(()));
        let base = signed.head;
        for head in [
            Head { log: [0; 32], ..base },
            Head { size: 1, ..base },
            Head {
                at: Timestamp::EPOCH,
                ..base
            },
            Head {
                root: [0; 32],
                ..base
            },
        ] {
            assert_eq!(
                SignedHead { head, ..signed }.verify(&public),
                Err(HeadError::Forged)
            );
        }
        let other = SigningKey::from_seed(&Secret::new([8; 32]));
        assert_eq!(
            signed.verify(other.verifying_key().as_bytes()),
            Err(HeadError::Forged)
        );
    }

    #[test]
    fn a_head_travels_unchanged() {
        let signed = sample().1;
        assert_eq!(SignedHead::from(TreeHead::from(signed)), signed);
    }
}
