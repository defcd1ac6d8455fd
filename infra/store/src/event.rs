//! What a commit tells the rest of the server, once it is durable.

use std::sync::Arc;

use unhidra_types::{ConnectionId, ConversationId, DeviceId, SessionId, UserId};

use crate::entry::Entry;

/// Something that connected devices must learn of.
#[derive(Clone, Debug)]
pub enum Event {
    /// An entry was added to a log.
    Appended(Arc<Entry>),
    /// A conversation was opened.
    Opened {
        /// The log.
        conversation: ConversationId,
        /// Everyone in it.
        members: Vec<UserId>,
    },
    /// A user's device chain has grown; for that user's own devices.
    ListChanged {
        /// Whose chain.
        user: UserId,
        /// Sequence number of its last record.
        version: u32,
        /// SHA-256 of its last record.
        head_hash: [u8; 32],
    },
    /// A session was revoked, logged out or replaced.
    SessionEnded(SessionId),
    /// A device was revoked for good.
    DeviceRevoked(DeviceId),
    /// An administrator closed a connection.
    ConnectionClosed(ConnectionId),
}

impl Event {
    /// Bytes that it keeps in memory beyond its own size.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Appended(appended) => appended.entry.bytes(),
            Self::Opened { members, .. } => size_of_val(members.as_slice()),
            Self::ListChanged { .. }
            | Self::SessionEnded(_)
            | Self::DeviceRevoked(_)
            | Self::ConnectionClosed(_) => 0,
        }
    }
}
