//! Diffie-Hellman on Curve25519 (RFC 7748), stricter than the RFC.
//!
//! A public key must be the canonical encoding (`u < p`, bit 255 clear), so that one key has one
//! spelling, and an all-zero result is refused, so that a peer of low order contributes nothing.

use rand_core::CryptoRng;
use unhidra_types::Secret;
use x25519_dalek::StaticSecret;

/// Bytes of a public key, a secret key and a shared secret.
pub const KEY_BYTES: usize = 32;

/// A key pair; the public half is computed once.
#[derive(Clone)]
pub struct SecretKey {
    secret: StaticSecret,
    public: PublicKey,
}

/// A canonical public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

/// Why 32 bytes are not a public key, or two keys share no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The encoding is not the canonical one.
    #[error("public key is not canonical")]
    NonCanonical,
    /// The peer's point is of low order.
    #[error("public key contributes nothing")]
    NonContributory,
}

impl PublicKey {
    /// Takes a canonical encoding.
    ///
    /// # Errors
    /// [`KeyError::NonCanonical`] when `u >= p` or bit 255 is set.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Result<Self, KeyError> {
        // p = 2^255 - 19, little-endian: ed ff .. ff 7f. A larger u with bit 255 clear is p + 0..=18.
        let [low, middle @ .., high] = bytes;
        let at_least_p = *low >= 0xed && *high == 0x7f && middle.iter().all(|b| *b == 0xff);
        if *high & 0x80 != 0 || at_least_p {
            Err(KeyError::NonCanonical)
        } else {
            Ok(Self(*bytes))
        }
    }

    /// The canonical encoding.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl SecretKey {
    /// Draws a new key.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self::from_secret(StaticSecret::random_from_rng(rng))
    }

    /// Restores a key from [`SecretKey::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &Secret<KEY_BYTES>) -> Self {
        Self::from_secret(StaticSecret::from(*bytes.expose()))
    }

    /// Restores a key pair whose public half was kept beside it, which saves the multiplication that makes it.
    /// Both must come from one key of one's own: the pair is not compared.
    #[must_use]
    pub fn from_parts(secret: &Secret<KEY_BYTES>, public: PublicKey) -> Self {
        Self {
            secret: StaticSecret::from(*secret.expose()),
            public,
        }
    }

    /// The secret half, for a sealed store.
    #[must_use]
    pub fn to_bytes(&self) -> Secret<KEY_BYTES> {
        Secret::new(self.secret.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The secret shared with `peer`.
    ///
    /// # Errors
    /// [`KeyError::NonContributory`] when the result is all zero.
    pub fn diffie_hellman(&self, peer: &PublicKey) -> Result<Secret<KEY_BYTES>, KeyError> {
        #[cfg(feature = "instrument")]
        crate::instrument::diffie_hellman();
        let shared = self.secret.diffie_hellman(&x25519_dalek::PublicKey::from(peer.0));
        if shared.was_contributory() {
            Ok(Secret::new(shared.to_bytes()))
        } else {
            Err(KeyError::NonContributory)
        }
    }

    fn from_secret(secret: StaticSecret) -> Self {
        let public = PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes());
        Self { secret, public }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7748, section 6.1.
    #[test]
    fn shared_secret_matches_rfc_7748() {
        let alice = SecretKey::from_bytes(&Secret::new(*b"\x77\x07\x6d\x0a\x73\x18\xa5\x7d\x3c\x16\xc1\x72\x51\xb2\x66\x45\xdf\x4c\x2f\x87\xeb\xc0\x99\x2a\xb1\x77\xfb\xa5\x1d\xb9\x2c\x2a"));
        let bob = SecretKey::from_bytes(&Secret::new(*b"\x5d\xab\x08\x7e\x62\x4a\x8a\x4b\x79\xe1\x7f\x8b\x83\x80\x0e\xe6\x6f\x3b\xb1\x29\x26\x18\xb6\xfd\x1c\x2f\x8b\x27\xff\x88\xe0\xeb"));
        let shared = alice.diffie_hellman(bob.public()).unwrap();
        assert_eq!(shared, bob.diffie_hellman(alice.public()).unwrap());
        assert_eq!(
            shared.expose(),
            b"\x4a\x5d\x9d\x5b\xa4\xce\x2d\xe1\x72\x8e\x3b\xf4\x80\x35\x0f\x25\xe0\x7e\x21\xc9\x47\xd1\x9e\x33\x76\xf0\x9b\x3c\x1e\x16\x17\x42"
        );
    }

    #[test]
    fn non_canonical_encodings_are_refused() {
        for low in 0xed..=0xff {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, 0x7f);
            assert_eq!(
                PublicKey::from_bytes(&bytes),
                Err(KeyError::NonCanonical),
                "p + {}",
                low - 0xed
            );
        }
        let mut high_bit = [1; 32];
        high_bit[31] = 0x80;
        assert_eq!(PublicKey::from_bytes(&high_bit), Err(KeyError::NonCanonical));
        let mut largest = [0xff; 32];
        (largest[0], largest[31]) = (0xec, 0x7f);
        assert!(PublicKey::from_bytes(&largest).is_ok());
    }

    #[test]
    fn low_order_points_share_no_secret() {
        let key = SecretKey::from_bytes(&Secret::new([0x42; 32]));
        for low in [[0; 32], core::array::from_fn(|i| u8::from(i == 0))] {
            let point = PublicKey::from_bytes(&low).unwrap();
            assert_eq!(
                key.diffie_hellman(&point).map(|_| ()),
                Err(KeyError::NonContributory)
            );
        }
    }
}
