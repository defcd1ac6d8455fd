//! What a message says once it is opened (`proto/content.proto`).

use alloc::{string::String, vec::Vec};

use prost::Message as _;
use unhidra_types::{MsgId, limits::MAX_TEXT_BYTES};

use crate::proto::content as proto;

/// Message ids in one receipt.
pub const MAX_RECEIPT_IDS: usize = 256;

/// Content of a known kind, or the fact that a newer version is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text that a person wrote.
    Text(String),
    /// Messages that the sending device has opened and stored.
    Receipt(Vec<MsgId>),
    /// A kind that this version does not know.
    Unknown,
}

/// Why bytes are not content, or content can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Not the encoding of content.
    #[error("malformed content")]
    Malformed,
    /// Text beyond [`MAX_TEXT_BYTES`].
    #[error("text is longer than {MAX_TEXT_BYTES} bytes")]
    TextTooLong,
}

impl Content {
    /// Checks the bounds of content that is about to be sent, and encodes it.
    ///
    /// # Errors
    /// [`ContentError::TextTooLong`]; [`ContentError::Malformed`] for [`Content::Unknown`] and over-long receipts.
    pub fn encode(&self) -> Result<Vec<u8>, ContentError> {
        use proto::content::Kind;
        let kind = match self {
            Self::Text(text) if text.len() > MAX_TEXT_BYTES => return Err(ContentError::TextTooLong),
            Self::Text(text) => Kind::Text(proto::Text { text: text.clone() }),
            Self::Receipt(ids) if ids.len() > MAX_RECEIPT_IDS => return Err(ContentError::Malformed),
            Self::Receipt(ids) => Kind::Receipt(proto::Receipt {
                delivered: ids
                    .iter()
                    .map(|id| bytes::Bytes::copy_from_slice(id.as_bytes()))
                    .collect(),
            }),
            Self::Unknown => return Err(ContentError::Malformed),
        };
        Ok(proto::Content { kind: Some(kind) }.encode_to_vec())
    }

    /// Decodes what a peer sealed.
    ///
    /// # Errors
    /// [`ContentError`] when the encoding or a bound is broken.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        use proto::content::Kind;
        let content = proto::Content::decode(bytes).map_err(|_| ContentError::Malformed)?;
        match content.kind {
            None => Ok(Self::Unknown),
            Some(Kind::Text(text)) if text.text.len() > MAX_TEXT_BYTES => Err(ContentError::TextTooLong),
            Some(Kind::Text(text)) => Ok(Self::Text(text.text)),
            Some(Kind::Receipt(receipt)) if receipt.delivered.len() > MAX_RECEIPT_IDS => {
                Err(ContentError::Malformed)
            }
            Some(Kind::Receipt(receipt)) => receipt
                .delivered
                .iter()
                .map(|id| MsgId::try_from(id.as_ref()))
                .collect::<Result<_, _>>()
                .map(Self::Receipt)
                .map_err(|_| ContentError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_kinds_round_trip() {
        for content in [
            Content::Text("grüße".into()),
            Content::Receipt(alloc::vec![MsgId::from_bytes([3; 16])]),
        ] {
            assert_eq!(Content::decode(&content.encode().unwrap()), Ok(content));
        }
    }

    #[test]
    fn an_unknown_kind_is_told_apart_from_garbage() {
        // Field 999, length-delimited, empty: a kind of a later version.
        assert_eq!(Content::decode(&[0xba, 0x3e, 0x00]), Ok(Content::Unknown));
        assert_eq!(Content::decode(&[0xff]), Err(ContentError::Malformed));
    }

    #[test]
    fn text_beyond_the_bound_is_refused_on_both_sides() {
        let long = Content::Text("x".repeat(MAX_TEXT_BYTES + 1));
        assert_eq!(long.encode(), Err(ContentError::TextTooLong));
    }
}
