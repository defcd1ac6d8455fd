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

use crate::{
    error::{OpenError, SealError},
    pq_part::PartKind,
};

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

/// The plaintext header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The sender's ratchet key.
    pub(crate) ratchet_key: PublicKey,
    /// `pn`: length of the sender's chain before this one.
    pub(crate) previous: u32,
    /// `n`: position in the chain.
    pub(crate) n: u32,
    /// `pq_epoch`: post-quantum secrets mixed in before this chain, the one of its own step included.
    pub(crate) epoch: u32,
    /// `pq_type`: the part behind this header.
    pub(crate) part: Option<PartKind>,
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
        let part = match self.part {
            None => 0,
            Some(PartKind::Key) => 1,
            Some(PartKind::Ciphertext) => 2,
        };
        concat(&[
            self.ratchet_key.as_bytes(),
            &self.previous.to_be_bytes(),
            &self.n.to_be_bytes(),
            &self.epoch.to_be_bytes(),
            &[part, content],
            &self.sent_at.as_millis().to_be_bytes(),
            &self.own_list.0.to_be_bytes(),
            &self.peer_list.0.to_be_bytes(),
        ])
    }

    fn from_bytes(suite: Suite, bytes: &[u8]) -> Result<Self, OpenError> {
        let mut reader = Reader::new(bytes);
        let ratchet_key = reader.array()?;
        let (previous, n) = (reader.u32()?, reader.u32()?);
        let (epoch, pq_type) = (reader.u32()?, reader.u8()?);
        let part = match pq_type {
            0 => None,
            1 => Some(PartKind::Key),
            2 => Some(PartKind::Ciphertext),
            _ => return Err(OpenError::Unsupported),
        };
        // The suite without the KEM has no epochs.
        if suite == Suite::Classical && (epoch != 0 || part.is_some()) {
            return Err(OpenError::Unsupported);
        }
        let content = match reader.u8()? {
            1 => ContentKind::Control,
            2 => ContentKind::Capsule,
            _ => return Err(OpenError::Unsupported),
        };
        let header = Self {
            ratchet_key: PublicKey::from_bytes(&ratchet_key).map_err(|_| OpenError::Malformed)?,
            previous,
            n,
            epoch,
            part,
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
        Some(Header::from_bytes(suite, &header))
    }

    pub(crate) fn aead(&self) -> aead::Key {
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

/// Reads `bytes` as a header of either suite.
#[doc(hidden)]
pub fn fuzz_header(bytes: &[u8]) {
    for suite in [Suite::Classical, Suite::Hybrid] {
        if let Ok(header) = Header::from_bytes(suite, bytes) {
            assert_eq!(header.to_bytes(), bytes);
        }
    }
}

fn aad(suite: Suite) -> [u8; 11] {
    concat(&[label!("UNH1/hdr"), &suite.to_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: HeaderKey = HeaderKey::new(Secret::new([3; 32]));

    fn header() -> Header {
        Header {
            ratchet_key: PublicKey::from_bytes(&[9; 32]).unwrap(),
            previous: 1,
            n: 2,
            epoch: 6,
            part: Some(PartKind::Ciphertext),
            content: ContentKind::Capsule,
            sent_at: Timestamp::from_millis(3),
            own_list: ListVersion(4),
            peer_list: ListVersion(5),
        }
    }

    /// What a peer who holds the header key can make a receiver read.
    fn open(plaintext: &[u8]) -> Option<Result<Header, OpenError>> {
        let sealed = KEY.aead().seal(&[0; 12], &aad(Suite::Hybrid), plaintext).unwrap();
        KEY.open(Suite::Hybrid, &EncHeader(concat(&[&[0; 12], &sealed])))
    }

    #[test]
    fn a_header_is_62_bytes_in_the_order_of_the_specification() {
        let expected = [
            [9; 32].as_slice(),
            &[0, 0, 0, 1],
            &[0, 0, 0, 2],
            &[0, 0, 0, 6],
            &[2, 2],
            &[0, 0, 0, 0, 0, 0, 0, 3],
            &[0, 0, 0, 4],
            &[0, 0, 0, 5],
        ]
        .concat();
        assert_eq!(header().to_bytes().as_slice(), expected);
        assert_eq!(open(&expected), Some(Ok(header())));
    }

    /// Invariant 25.
    #[test]
    fn an_unknown_content_or_post_quantum_part_waits_for_a_newer_program() {
        // pq_type and content, with values that this version does not have.
        for (at, value) in [(44, 3), (44, 0xff), (45, 0), (45, 3), (45, 0xff)] {
            let mut bytes = header().to_bytes();
            bytes[at] = value;
            assert_eq!(open(&bytes), Some(Err(OpenError::Unsupported)), "byte {at}");
        }
    }

    /// Invariant 25.
    #[test]
    fn the_suite_without_a_kem_has_no_epochs_and_no_parts() {
        let open = |header: Header| {
            let suite = Suite::Classical;
            let sealed = KEY
                .aead()
                .seal(&[0; 12], &aad(suite), &header.to_bytes())
                .unwrap();
            KEY.open(suite, &EncHeader(concat(&[&[0; 12], &sealed]))).unwrap()
        };
        let plain = Header {
            epoch: 0,
            part: None,
            ..header()
        };
        assert_eq!(open(plain), Ok(plain));
        let part = Some(PartKind::Key);
        for other in [Header { epoch: 1, ..plain }, Header { part, ..plain }] {
            assert_eq!(open(other), Err(OpenError::Unsupported));
        }
    }

    /// Invariant 24.
    #[test]
    fn a_ratchet_key_in_another_encoding_is_malformed() {
        for last in [0x80, 0xff] {
            let mut bytes = header().to_bytes();
            bytes[..32].fill(0xff);
            bytes[31] = last;
            assert_eq!(open(&bytes), Some(Err(OpenError::Malformed)));
        }
    }

    /// Invariant 13.
    #[test]
    fn a_header_opens_only_in_its_suite() {
        let sealed = KEY
            .aead()
            .seal(&[0; 12], &aad(Suite::Classical), &header().to_bytes())
            .unwrap();
        let sealed = EncHeader(concat(&[&[0; 12], &sealed]));
        assert_eq!(KEY.open(Suite::Hybrid, &sealed), None);
        assert!(KEY.open(Suite::Classical, &sealed).is_some());
    }
}
