//! Frames of the subprotocol `unhidra.v1` (`proto/frame.proto`) as values that are valid by construction.
//!
//! Decoding shares the payload bytes of the frame it came from; nothing is copied.

mod codec;
mod message;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use unhidra_types::{ConversationId, DeviceId, MsgId, SessionId, Timestamp, UserId};

pub use message::messages;

/// The subprotocol that both sides select.
pub const SUBPROTOCOL: &str = "unhidra.v1";
/// What the client offers beside it: this prefix and its access token.
pub const BEARER_PREFIX: &str = "bearer.";
/// The envelope version of this protocol.
pub const ENVELOPE_VERSION: u8 = 1;
/// Answers to repair requests are attempts 1 to this.
pub const MAX_ATTEMPT: u8 = 3;
/// Most bytes that a frame adds to body and capsules together.
pub const FRAME_OVERHEAD: usize = 8 * 1024;

/// Why a WebSocket message is not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`unhidra_types::limits::MAX_FRAME_BYTES`], or one of the server by more than [`FRAME_OVERHEAD`].
    #[error("frame is too long")]
    TooLong,
    /// Not the encoding of a frame of a known kind.
    #[error("malformed frame")]
    Malformed,
    /// A field breaks a bound or has a wrong size.
    #[error("field {0} is out of bounds")]
    Field(&'static str),
}

/// From a device to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// Adds an envelope to a log.
    Append(Append),
    /// Moves this device's cursor.
    Acknowledge {
        /// The log.
        conversation: ConversationId,
        /// The last entry that is processed and persisted.
        seq: u64,
    },
    /// Asks for entries again, both ends included.
    Fetch {
        /// The log.
        conversation: ConversationId,
        /// First entry.
        from: u64,
        /// Last entry.
        to: u64,
    },
}

/// From the server to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFrame {
    /// First on a connection.
    Welcome(Welcome),
    /// The answer to a kept Append.
    Appended(Appended),
    /// The answer to an Append that consumed nothing.
    Refused(Refused),
    /// An entry of a log.
    Deliver(Deliver),
    /// Entries that hold nothing for this device, both ends included.
    Skip {
        /// The log.
        conversation: ConversationId,
        /// First entry.
        from: u64,
        /// Last entry.
        to: u64,
    },
    /// All that was waiting has been sent.
    CaughtUp,
    /// The chain of the device's own user has grown.
    ListChanged(ListVersion),
}

/// One envelope on its way to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The log.
    pub conversation: ConversationId,
    /// Chosen by the sender; with conversation, sender device, destination and attempt the key of idempotence.
    pub msg_id: MsgId,
    /// 0 for a message, 1 to [`MAX_ATTEMPT`] for repairs.
    pub attempt: u8,
    /// The only receiving device of a capsule that was owed, or of a repair.
    pub dest: Option<DeviceId>,
    /// The lists that the sender sealed for.
    pub list_versions: Vec<ListVersion>,
    /// The one body, sealed; empty in a repair.
    pub body: Bytes,
    /// At most [`unhidra_types::limits::MAX_CAPSULES`], a device at most once.
    pub capsules: Vec<Capsule>,
}

/// The last record of a user's device chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListVersion {
    /// Whose chain.
    pub user: UserId,
    /// Sequence number of its last record.
    pub version: u32,
    /// SHA-256 of its last record.
    pub head_hash: [u8; 32],
}

/// What one device gets of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capsule {
    /// The receiving device.
    pub device: DeviceId,
    /// How `sealed` begins.
    pub kind: CapsuleKind,
    /// A ratchet message, with a session prefix if the kind says so.
    pub sealed: Bytes,
}

/// How the sealed bytes of a capsule begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapsuleKind {
    /// With the prefix that lets the receiver begin a session.
    Prekey,
    /// With a ratchet header.
    Ratchet,
}

impl CapsuleKind {
    /// The number on the wire and in stores.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Prekey => 1,
            Self::Ratchet => 2,
        }
    }

    /// The kind of a number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Prekey),
            2 => Some(Self::Ratchet),
            _ => None,
        }
    }
}

/// What the server knows of a device when it connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The device that authenticated.
    pub device: DeviceId,
    /// The session that the connection lives in.
    pub session: SessionId,
    /// The server's clock.
    pub server_time: Timestamp,
    /// The last message accepted from this device in a direct conversation.
    pub last_accepted: Option<MsgId>,
    /// The user's own chain.
    pub own_list: ListVersion,
    /// Prekeys left on the server.
    pub stock: PrekeyStock,
    /// For how long a session with another device may send, in whole seconds; `None` when the organisation sets no limit.
    pub session_age: Option<Duration>,
}

/// Prekeys that the server holds for a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrekeyStock {
    /// Number of the whole set; 0 before the first upload.
    pub generation: u64,
    /// One-time X25519 keys left.
    pub one_time: u32,
    /// One-time ML-KEM keys left.
    pub one_time_kem: u32,
}

/// An Append that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The log.
    pub conversation: ConversationId,
    /// The message.
    pub msg_id: MsgId,
    /// Repeated from the Append.
    pub attempt: u8,
    /// Repeated from the Append.
    pub dest: Option<DeviceId>,
    /// Its place in the log, from 1, without gaps.
    pub seq: u64,
    /// When the server took it.
    pub server_time: Timestamp,
}

/// An Append that consumed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The log that was named.
    pub conversation: ConversationId,
    /// The message that was refused.
    pub msg_id: MsgId,
    /// Repeated from the Append.
    pub attempt: u8,
    /// Repeated from the Append.
    pub dest: Option<DeviceId>,
    /// Why.
    pub reason: Refusal,
    /// Current heads when a list was stale.
    pub heads: Vec<ListVersion>,
    /// When to try again; 0 when that is no help.
    pub retry_after_ms: u32,
}

/// Why an Append was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such conversation, or not a member: not told apart.
    NotFound,
    /// A device list is not the current one.
    StaleList,
    /// A capsule for a device that is not a live device of either user.
    UnknownDevice,
    /// A bound or a rule of the conversation's kind is broken.
    Malformed,
    /// Too many messages.
    RateLimited,
    /// The server can't store anything now.
    Unavailable,
}

/// An entry of a log as one device sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// The log.
    pub conversation: ConversationId,
    /// Its place in the log.
    pub seq: u64,
    /// The message.
    pub msg_id: MsgId,
    /// The authenticated sender.
    pub sender: UserId,
    /// The authenticated sending device.
    pub sender_device: DeviceId,
    /// When the server took it.
    pub server_time: Timestamp,
    /// Repeated from the Append.
    pub attempt: u8,
    /// Envelope version; more than [`ENVELOPE_VERSION`] needs a newer client.
    pub version: u8,
    /// Envelope flags, bound by the associated data.
    pub flags: u16,
    /// This device's capsule; none in a group.
    pub capsule: Option<Capsule>,
    /// The one body; empty in a repair.
    pub body: Bytes,
}
