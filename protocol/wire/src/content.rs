//! What a message says once it is opened (`proto/content.proto`).

use alloc::{string::String, vec::Vec};

use bytes::Bytes;
use prost::Message as _;
use unhidra_types::{ConversationId, MsgId, limits::MAX_TEXT_BYTES};

use crate::proto::content as proto;

/// Message ids in one receipt.
pub const MAX_RECEIPT_IDS: usize = 256;
/// Messages in one retry.
pub const MAX_RETRY_IDS: usize = 64;
/// Chain records in one list head.
pub const MAX_LIST_RECORDS: usize = 256;

/// Content of a known kind, or the fact that a newer version is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text that a person wrote.
    Text(String),
    /// Messages that the sending device has opened and stored.
    Receipt(Vec<MsgId>),
    /// Messages that the sending device could not open; in a control log only.
    Retry(Vec<Unopened>),
    /// Records of the sending user's chain from number `from` on, or the question for those that the sender lacks; in
    /// a control log only.
    ListHead {
        /// The number of the first record, at least 1.
        from: u32,
        /// The records as they were signed.
        records: Vec<Vec<u8>>,
    },
    /// A kind that this version does not know.
    Unknown,
}

/// A message that could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unopened {
    /// Its conversation.
    pub conversation: ConversationId,
    /// The message.
    pub msg_id: MsgId,
    /// Why.
    pub reason: UnopenedReason,
}

/// Why a message could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnopenedReason {
    /// No header key opens it.
    NoHeaderKey,
    /// Its position is spent.
    KeyGone,
    /// It names a prekey that is not held.
    UnknownPrekey,
    /// It lies too far ahead.
    SkipTooFar,
    /// The entry had no capsule.
    NoCapsule,
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
                    .map(|id| Bytes::copy_from_slice(id.as_bytes()))
                    .collect(),
            }),
            Self::Retry(unopened) if unopened.len() > MAX_RETRY_IDS => return Err(ContentError::Malformed),
            Self::Retry(unopened) => Kind::Retry(proto::Retry {
                unopened: unopened.iter().copied().map(Unopened::to_proto).collect(),
            }),
            Self::ListHead { records, .. } if records.len() > MAX_LIST_RECORDS => {
                return Err(ContentError::Malformed);
            }
            Self::ListHead { from, records } => Kind::ListHead(proto::ListHead {
                from: *from,
                records: records
                    .iter()
                    .map(|record| Bytes::copy_from_slice(record))
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
            Some(Kind::Retry(retry)) if retry.unopened.len() > MAX_RETRY_IDS => Err(ContentError::Malformed),
            Some(Kind::Retry(retry)) => {
                let unopened = retry.unopened.iter().map(Unopened::from_proto);
                unopened.collect::<Result<_, _>>().map(Self::Retry)
            }
            Some(Kind::ListHead(head)) if head.from == 0 || head.records.len() > MAX_LIST_RECORDS => {
                Err(ContentError::Malformed)
            }
            Some(Kind::ListHead(head)) => Ok(Self::ListHead {
                from: head.from,
                records: head.records.iter().map(|record| record.to_vec()).collect(),
            }),
        }
    }
}

impl Unopened {
    fn to_proto(self) -> proto::Unopened {
        use proto::UnopenedReason as Reason;
        let reason = match self.reason {
            UnopenedReason::NoHeaderKey => Reason::NoHeaderKey,
            UnopenedReason::KeyGone => Reason::KeyGone,
            UnopenedReason::UnknownPrekey => Reason::UnknownPrekey,
            UnopenedReason::SkipTooFar => Reason::SkipTooFar,
            UnopenedReason::NoCapsule => Reason::NoCapsule,
        };
        proto::Unopened {
            conversation: Bytes::copy_from_slice(self.conversation.as_bytes()),
            msg_id: Bytes::copy_from_slice(self.msg_id.as_bytes()),
            reason: reason.into(),
        }
    }

    fn from_proto(unopened: &proto::Unopened) -> Result<Self, ContentError> {
        use proto::UnopenedReason as Reason;
        let malformed = |_| ContentError::Malformed;
        Ok(Self {
            conversation: ConversationId::try_from(unopened.conversation.as_ref()).map_err(malformed)?,
            msg_id: MsgId::try_from(unopened.msg_id.as_ref()).map_err(malformed)?,
            reason: match unopened.reason() {
                Reason::KeyGone => UnopenedReason::KeyGone,
                Reason::UnknownPrekey => UnopenedReason::UnknownPrekey,
                Reason::SkipTooFar => UnopenedReason::SkipTooFar,
                Reason::NoCapsule => UnopenedReason::NoCapsule,
                // A reason of a later version: the message is as unread as with any other.
                Reason::NoHeaderKey | Reason::Unspecified => UnopenedReason::NoHeaderKey,
            },
        })
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
            Content::Retry(alloc::vec![Unopened {
                conversation: ConversationId::from_bytes([4; 16]),
                msg_id: MsgId::from_bytes([5; 16]),
                reason: UnopenedReason::SkipTooFar,
            }]),
            Content::ListHead {
                from: 2,
                records: alloc::vec![alloc::vec![6; 231]],
            },
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
