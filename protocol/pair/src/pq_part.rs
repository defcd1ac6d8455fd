//! Post-quantum parts (`enc_pq`): what the two ends of an epoch send each other, hidden like the header that it follows.

use alloc::{boxed::Box, vec::Vec};

use rand_core::CryptoRng;
use unhidra_chain::{codec::concat, label};
use unhidra_crypto::{
    aead::{NONCE_BYTES, TAG_BYTES},
    hash::sha256,
    kem::{CIPHERTEXT_BYTES, DecapsulationKey, ENCAPSULATION_KEY_BYTES, EncapsulationKey, SEED_BYTES},
};
use unhidra_types::Secret;

use crate::{
    error::SealError,
    header::{EncHeader, HeaderKey},
};

/// Bytes of a part: the longer of the two kinds, so that its length tells nothing of its kind.
const PART_BYTES: usize = ENCAPSULATION_KEY_BYTES;
/// Bytes of a part on the wire: nonce, ciphertext, tag.
pub(crate) const ENC_PQ_BYTES: usize = NONCE_BYTES + PART_BYTES + TAG_BYTES;
/// What follows a ciphertext.
const PADDING: [u8; PART_BYTES - CIPHERTEXT_BYTES] = [0; PART_BYTES - CIPHERTEXT_BYTES];

/// Header field `pq_type`, where there is a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartKind {
    /// An encapsulation key.
    Key,
    /// A ciphertext under the peer's key.
    Ciphertext,
}

/// One half of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Key(Box<[u8; ENCAPSULATION_KEY_BYTES]>),
    Ciphertext(Box<[u8; CIPHERTEXT_BYTES]>),
}

impl Part {
    pub(crate) const fn kind(&self) -> PartKind {
        match self {
            Self::Key(_) => PartKind::Key,
            Self::Ciphertext(_) => PartKind::Ciphertext,
        }
    }

    /// `enc_pq`, which belongs to one header.
    pub(crate) fn seal<R: CryptoRng + ?Sized>(
        &self,
        header_key: &HeaderKey,
        header: &EncHeader,
        rng: &mut R,
    ) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let sealed = header_key
            .aead()
            .seal(&nonce, &aad(header), &self.to_bytes())
            .map_err(|_| SealError::TooLong)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// `None` when it is none of this header, or is padded with anything but zeros.
    pub(crate) fn open(
        kind: PartKind,
        header_key: &HeaderKey,
        header: &EncHeader,
        sealed: &[u8; ENC_PQ_BYTES],
    ) -> Option<Self> {
        let (nonce, sealed) = sealed.split_first_chunk()?;
        let plaintext = header_key.aead().open(nonce, &aad(header), sealed).ok()?;
        Self::from_bytes(kind, &plaintext)
    }

    fn to_bytes(&self) -> [u8; PART_BYTES] {
        match self {
            Self::Key(key) => **key,
            Self::Ciphertext(ciphertext) => concat(&[ciphertext.as_slice(), &PADDING]),
        }
    }

    fn from_bytes(kind: PartKind, bytes: &[u8]) -> Option<Self> {
        match kind {
            PartKind::Key => Some(Self::Key(Box::new(bytes.try_into().ok()?))),
            PartKind::Ciphertext => {
                let (ciphertext, padding) = bytes.split_first_chunk()?;
                (padding == PADDING).then(|| Self::Ciphertext(Box::new(*ciphertext)))
            }
        }
    }
}

/// Reads `bytes` as a part of either kind, and does what is done with a part whose message has passed its tag.
#[doc(hidden)]
pub fn fuzz_part(bytes: &[u8]) {
    for kind in [PartKind::Key, PartKind::Ciphertext] {
        let Some(part) = Part::from_bytes(kind, bytes) else {
            continue;
        };
        assert_eq!(part.to_bytes(), bytes);
        match part {
            Part::Key(key) => {
                if let Ok(read) = EncapsulationKey::from_bytes(&key) {
                    assert_eq!(read.to_bytes(), *key);
                }
            }
            Part::Ciphertext(ciphertext) => {
                let key = DecapsulationKey::from_seed(&Secret::new([0; SEED_BYTES]));
                let secret = key.decapsulate(&ciphertext);
                assert_eq!(secret, key.decapsulate(&ciphertext));
            }
        }
    }
}

fn aad(header: &EncHeader) -> [u8; 40] {
    concat(&[label!("UNH1/pq"), &sha256(&[header.as_bytes()])])
}
