//! Recovery: a key on paper that opens the user identity key (UIK) which the server keeps sealed.
//!
//! The recovery key is 32 random bytes, printed once as 24 words (BIP-39, English list, 8 bits of checksum). It has
//! full entropy, so no password hashing is needed. The server stores
//!
//! ```text
//! ver(1)=1 genesis_hash(32) nonce(12) AEAD(k, nonce, aad L("UNH1/recovery/uik") | ver | genesis_hash, UIK seed(32))(48)
//! k = HKDF(0^32, recovery key, L("UNH1/recovery/uik") | user_id, 32)                                          93 B
//! ```
//!
//! Nothing here decides who may recover: whoever reads the words is the user.

use alloc::string::String;
use core::fmt;

use bip39::{Language, Mnemonic};
use unhidra_chain::{
    Genesis,
    codec::{Malformed, Reader, concat},
    label,
};
use unhidra_crypto::{
    CryptoRng, aead,
    ed25519::{KEY_BYTES, SigningKey},
    kdf::hkdf,
};
use unhidra_types::{Secret, UserId};
use zeroize::{Zeroize as _, Zeroizing};

/// Words of a printed recovery key.
pub const RECOVERY_WORDS: usize = 24;
/// The longest word of the list, in letters.
const MAX_WORD_LETTERS: usize = 8;
const VERSION: u8 = 1;
const SEALED_BYTES: usize = KEY_BYTES + aead::TAG_BYTES;

/// The secret that opens the wrapped identity key.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryKey(Secret<32>);

/// The user identity key as the server keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedIdentity {
    genesis_hash: [u8; 32],
    nonce: [u8; aead::NONCE_BYTES],
    sealed: [u8; SEALED_BYTES],
}

/// Why typed words are not a recovery key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhraseError {
    /// There are more or fewer than [`RECOVERY_WORDS`].
    #[error("recovery key has {0} words instead of 24")]
    WordCount(usize),
    /// A word is not in the list; the first word is number 1.
    #[error("word {0} is not in the list")]
    UnknownWord(usize),
    /// Every word is in the list, and they do not belong together.
    #[error("words do not belong together")]
    Checksum,
}

/// Why a wrapped identity key cannot be opened or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// Not the layout.
    #[error("wrapped identity key is malformed")]
    Malformed,
    /// A version that this one does not know.
    #[error("wrapped identity key needs a newer version")]
    Unsupported,
    /// It belongs to another genesis than the one at hand: the identity key was rotated since, or the server errs.
    #[error("wrapped identity key belongs to another genesis")]
    OtherGenesis,
    /// The recovery key does not open it, or it was altered.
    #[error("recovery key does not open the identity key")]
    WrongKey,
    /// The key is not the one that the genesis names.
    #[error("identity key is not that of the genesis")]
    OtherIdentity,
}

impl RecoveryKey {
    /// Draws a new key.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        let key = Self(Secret::new(bytes));
        bytes.zeroize();
        key
    }

    /// Takes bytes that were drawn before.
    #[must_use]
    pub const fn from_bytes(bytes: Secret<32>) -> Self {
        Self(bytes)
    }

    /// The 24 words, separated by spaces, to be printed once.
    #[must_use]
    pub fn to_phrase(&self) -> Zeroizing<String> {
        #[expect(clippy::expect_used, reason = "BIP-39 takes 32 bytes of entropy")]
        let mnemonic =
            Mnemonic::from_entropy_in(Language::English, self.0.expose()).expect("32 bytes are 24 words");
        // Room for the longest words, so that no reallocation leaves a copy behind.
        let mut phrase = Zeroizing::new(String::with_capacity(RECOVERY_WORDS * (MAX_WORD_LETTERS + 1)));
        for word in mnemonic.words() {
            if !phrase.is_empty() {
                phrase.push(' ');
            }
            phrase.push_str(word);
        }
        phrase
    }

    /// Reads 24 words in any case, with any white space between and around them.
    ///
    /// # Errors
    /// See [`PhraseError`].
    pub fn parse(phrase: &str) -> Result<Self, PhraseError> {
        let words = phrase.split_whitespace().count();
        if words != RECOVERY_WORDS {
            return Err(PhraseError::WordCount(words));
        }
        let lower = Zeroizing::new(phrase.to_ascii_lowercase());
        let mnemonic =
            Mnemonic::parse_in_normalized(Language::English, &lower).map_err(|error| match error {
                bip39::Error::UnknownWord(index) => PhraseError::UnknownWord(index.saturating_add(1)),
                _ => PhraseError::Checksum,
            })?;
        let (mut entropy, _) = mnemonic.to_entropy_array();
        let key = entropy.first_chunk().map(|bytes| Self(Secret::new(*bytes)));
        entropy.zeroize();
        key.ok_or(PhraseError::Checksum)
    }

    fn wrapping_key(&self, user: UserId) -> aead::Key {
        aead::Key::new(hkdf(
            &[0; 32],
            &[self.0.expose()],
            &[label!("UNH1/recovery/uik"), user.as_bytes()],
        ))
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

impl WrappedIdentity {
    /// Bytes of the encoding.
    pub const BYTES: usize = 93;

    /// Seals the identity key of `genesis`.
    ///
    /// # Errors
    /// [`RecoveryError::OtherIdentity`] when `uik` is not the key that `genesis` names.
    pub fn wrap<R: CryptoRng + ?Sized>(
        recovery: &RecoveryKey,
        genesis: &Genesis,
        uik: &SigningKey,
        rng: &mut R,
    ) -> Result<Self, RecoveryError> {
        if uik.verifying_key() != *genesis.uik() {
            return Err(RecoveryError::OtherIdentity);
        }
        let genesis_hash = genesis.hash();
        let mut nonce = [0; aead::NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let sealed = recovery
            .wrapping_key(genesis.user())
            .seal(&nonce, &associated_data(&genesis_hash), uik.to_seed().expose())
            .ok()
            .and_then(|sealed| sealed.try_into().ok());
        #[expect(
            clippy::expect_used,
            reason = "32 bytes are within the cipher's limit and seal to 48"
        )]
        let sealed = sealed.expect("a seed seals to 48 bytes");
        Ok(Self {
            genesis_hash,
            nonce,
            sealed,
        })
    }

    /// Opens the identity key of `genesis`, which the caller has verified or holds as the first of its chain.
    ///
    /// # Errors
    /// [`RecoveryError::OtherGenesis`], [`RecoveryError::WrongKey`], [`RecoveryError::OtherIdentity`].
    pub fn unwrap(&self, recovery: &RecoveryKey, genesis: &Genesis) -> Result<SigningKey, RecoveryError> {
        if self.genesis_hash != genesis.hash() {
            return Err(RecoveryError::OtherGenesis);
        }
        let opened = recovery
            .wrapping_key(genesis.user())
            .open(&self.nonce, &associated_data(&self.genesis_hash), &self.sealed)
            .map(Zeroizing::new)
            .map_err(|_: aead::AeadError| RecoveryError::WrongKey)?;
        let seed = Secret::try_from(opened.as_slice())
            .map_err(|_: core::array::TryFromSliceError| RecoveryError::Malformed)?;
        let uik = SigningKey::from_seed(&seed);
        if uik.verifying_key() == *genesis.uik() {
            Ok(uik)
        } else {
            Err(RecoveryError::OtherIdentity)
        }
    }

    /// The encoding.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        concat(&[&[VERSION], &self.genesis_hash, &self.nonce, &self.sealed])
    }

    /// Reads what [`WrappedIdentity::to_bytes`] made.
    ///
    /// # Errors
    /// [`RecoveryError::Unsupported`] for another version, [`RecoveryError::Malformed`] for another length.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecoveryError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(RecoveryError::Unsupported);
        }
        let wrapped = Self {
            genesis_hash: reader.array()?,
            nonce: reader.array()?,
            sealed: reader.array()?,
        };
        reader.finish()?;
        Ok(wrapped)
    }
}

impl From<Malformed> for RecoveryError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

fn associated_data(genesis_hash: &[u8; 32]) -> [u8; 51] {
    concat(&[label!("UNH1/recovery/uik"), &[VERSION], genesis_hash])
}

#[cfg(test)]
mod tests {
    use super::*;
    use unhidra_types::Timestamp;

    /// Whoever knows the recovery key could seal any seed; what is opened is an identity only if the genesis says so.
    #[test]
    fn a_sealed_key_that_the_genesis_does_not_name_is_not_the_identity() {
        let recovery = RecoveryKey::from_bytes(Secret::new([1; 32]));
        let uik = SigningKey::from_seed(&Secret::new([2; 32]));
        let genesis = Genesis::sign(&uik, UserId::from_bytes([3; 16]), Timestamp::EPOCH, None);
        let (genesis_hash, nonce) = (genesis.hash(), [0; aead::NONCE_BYTES]);
        let sealed = recovery
            .wrapping_key(genesis.user())
            .seal(&nonce, &associated_data(&genesis_hash), &[9; KEY_BYTES])
            .unwrap();
        let wrapped = WrappedIdentity {
            genesis_hash,
            nonce,
            sealed: sealed.try_into().unwrap(),
        };
        let opened = wrapped.unwrap(&recovery, &genesis);
        assert_eq!(opened.err(), Some(RecoveryError::OtherIdentity));
    }
}
