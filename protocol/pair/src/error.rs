//! Why a message was refused, not sealed, or a session not begun.

use unhidra_chain::codec;

use crate::prekey_message::EkHash;

/// Why an envelope was refused. Nothing was stored: the session set before the call is still the right one.
///
/// `Duplicate`, `BadBundle`, `ListWithheld` and `IdentityChanged` are decided before this crate is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Length, flag, padding, point or KEM key is wrong, or the step is impossible. Drop; security event.
    #[error("message is malformed")]
    Malformed,
    /// A version, kind, suite, content or post-quantum part of a later protocol. Keep; a newer program reads it.
    #[error("message needs a newer version")]
    Unsupported,
    /// The first message of a session that was accepted before, or could have been. Drop; security event.
    #[error("first message was seen before")]
    Replay,
    /// No header key of the sending device opens it, or the keys of a first message do not. Ask for a retry.
    #[error("no session opens the message")]
    NoSession,
    /// A first message names a prekey that is not held. Ask for a retry.
    #[error("first message names an unknown prekey")]
    UnknownPrekey,
    /// The header opened and the position is spent. Ask for a retry, unless the message is known.
    #[error("key of the message is gone")]
    KeyGone,
    /// A position lies beyond [`unhidra_types::limits::MAX_SKIP`]. Archive this session, then ask for a retry.
    #[error("message skips too far ahead")]
    SkipTooFar(EkHash),
    /// The header opened, but tag, hash, commitment or conversation do not fit. Fetch once more, then show it as
    /// altered in transit; never ask for a retry.
    #[error("message was altered")]
    BadTag,
}

impl From<codec::Malformed> for OpenError {
    fn from(_: codec::Malformed) -> Self {
        Self::Malformed
    }
}

/// Why a message was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is no session to send on. Initiate one.
    #[error("no session with the device")]
    NoSession,
    /// The sending chain is at [`unhidra_types::limits::MAX_MESSAGES_PER_CHAIN`]. Initiate a new session.
    #[error("sending chain is full")]
    ChainFull,
    /// The peer's ratchet key contributes nothing. Initiate a new session.
    #[error("ratchet key of the peer is not usable")]
    BadPeerKey,
    /// No post-quantum epoch has begun for 30 d of use although both devices can: someone drops what they need for it.
    /// Tell the user and initiate a new session.
    #[error("post-quantum steps do not arrive")]
    EpochOverdue,
    /// The content does not fit into a frame.
    #[error("content is too long")]
    TooLong,
}

/// Why a session was not begun with a peer's prekeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InitiateError {
    /// The bundle is another device's than the set of sessions.
    #[error("bundle belongs to another device")]
    OtherDevice,
    /// One of the peer's keys is of low order.
    #[error("prekey of the peer is not usable")]
    BadPeerKey,
}

/// Why stored bytes are not what this crate stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// Truncated, extended or out of range.
    #[error("stored state is malformed")]
    Malformed,
    /// A version that this program does not read.
    #[error("stored state has an unknown version")]
    UnknownVersion,
}

impl From<codec::Malformed> for StoredError {
    fn from(_: codec::Malformed) -> Self {
        Self::Malformed
    }
}
