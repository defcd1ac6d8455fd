//! Post-quantum parts (`enc_pq`): what the two ends of an epoch send each other, hidden like the header that it follows.

use alloc::{boxed::Box, vec::Vec};

use rand_core::CryptoRng;
use unhidra_chain::{codec::concat, label};
use unhidra_crypto::{
    aead::{NONCE_BYTES, TAG_BYTES},
    hash::sha256,
    kem::{CIPHERTEXT_BYTES, ENCAPSULATION_KEY_BYTES},
};

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
        let plaintext: [u8; PART_BYTES] = match self {
            Self::Key(key) => **key,
            Self::Ciphertext(ciphertext) => concat(&[ciphertext.as_slice(), &PADDING]),
        };
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let sealed = header_key
            .aead()
            .seal(&nonce, &aad(header), &plaintext)
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
        match kind {
            PartKind::Key => Some(Self::Key(Box::new(plaintext.try_into().ok()?))),
            PartKind::Ciphertext => {
                let (ciphertext, padding) = plaintext.split_first_chunk()?;
                (padding == PADDING).then(|| Self::Ciphertext(Box::new(*ciphertext)))
            }
        }
    }
}

fn aad(header: &EncHeader) -> [u8; 40] {
    concat(&[label!("UNH1/pq"), &sha256(&[header.as_bytes()])])
}
