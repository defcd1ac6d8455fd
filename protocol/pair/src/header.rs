//! Headers: where a message stands in its session, hidden under a header key (`HK`).

use rand_core::CryptoRng;
use unhidra_chain::{
    ListVersion, Suite,
    codec::{Reader, concat},
    label,
};
use unhidra_crypto::{
    aead::{self, NONCE_BYTES, TAG_BYTES},
    x25519::PublicKey,
};
use unhidra_types::{Secret, Timestamp};

use crate::error::{OpenError, SealError};

/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 62;
/// Bytes of a header on the wire: nonce, ciphertext, tag.
pub(crate) const ENC_HEADER_BYTES: usize = NONCE_BYTES + HEADER_BYTES + TAG_BYTES;

/// What the plaintext of a ratchet message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentKind {
    /// A padded content for the device itself.
    Control,
    /// The key and the hash of a body object.
    Capsule,
}

/// The plaintext header. `pq_epoch` and `pq_type` are zero throughout this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The sender's ratchet key.
    pub(crate) ratchet_key: PublicKey,
    /// `pn`: length of the sender's chain before this one.
    pub(crate) previous: u32,
    /// `n`: position in the chain.
    pub(crate) n: u32,
    pub(crate) content: ContentKind,
    pub(crate) sent_at: Timestamp,
    /// List version of the sending user.
    pub(crate) own_list: ListVersion,
    /// List version of the receiving user that the sender used.
    pub(crate) peer_list: ListVersion,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let content = match self.content {
            ContentKind::Control => 1,
            ContentKind::Capsule => 2,
        };
        concat(&[
            self.ratchet_key.as_bytes(),
            &self.previous.to_be_bytes(),
            &self.n.to_be_bytes(),
            &[0, 0, 0, 0, 0, content],
            &self.sent_at.as_millis().to_be_bytes(),
            &self.own_list.0.to_be_bytes(),
            &self.peer_list.0.to_be_bytes(),
        ])
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, OpenError> {
        let mut reader = Reader::new(bytes);
        let ratchet_key = reader.array()?;
        let (previous, n) = (reader.u32()?, reader.u32()?);
        let (pq_epoch, pq_type) = (reader.u32()?, reader.u8()?);
        let content = match (pq_epoch, pq_type, reader.u8()?) {
            (0, 0, 1) => ContentKind::Control,
            (0, 0, 2) => ContentKind::Capsule,
            _ => return Err(OpenError::Unsupported),
        };
        let header = Self {
            ratchet_key: PublicKey::from_bytes(&ratchet_key).map_err(|_| OpenError::Malformed)?,
            previous,
            n,
            content,
            sent_at: Timestamp::from_millis(reader.u64()?),
            own_list: ListVersion(reader.u32()?),
            peer_list: ListVersion(reader.u32()?),
        };
        reader.finish()?;
        Ok(header)
    }
}

/// `HK`: hides the headers of one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderKey(Secret<32>);

impl HeaderKey {
    pub(crate) const fn new(bytes: Secret<32>) -> Self {
        Self(bytes)
    }

    pub(crate) const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// The nonce is random: a rolled-back sender with a live generator repeats neither it nor the message key.
    pub(crate) fn seal<R: CryptoRng + ?Sized>(
        &self,
        suite: Suite,
        header: Header,
        rng: &mut R,
    ) -> Result<EncHeader, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let sealed = self
            .aead()
            .seal(&nonce, &aad(suite), &header.to_bytes())
            .map_err(|_| SealError::TooLong)?;
        Ok(EncHeader(concat(&[&nonce, &sealed])))
    }

    /// `None` when this is not the key of `sealed`: the next key is tried.
    pub(crate) fn open(&self, suite: Suite, sealed: &EncHeader) -> Option<Result<Header, OpenError>> {
        let (nonce, ciphertext) = sealed.0.split_first_chunk()?;
        let header = self.aead().open(nonce, &aad(suite), ciphertext).ok()?;
        Some(Header::from_bytes(&header))
    }

    fn aead(&self) -> aead::Key {
        aead::Key::new(self.0.clone())
    }
}

/// `enc_header`: the header as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EncHeader([u8; ENC_HEADER_BYTES]);

impl EncHeader {
    pub(crate) const fn new(bytes: [u8; ENC_HEADER_BYTES]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; ENC_HEADER_BYTES] {
        &self.0
    }
}

fn aad(suite: Suite) -> [u8; 11] {
    concat(&[label!("UNH1/hdr"), &suite.to_bytes()])
}
