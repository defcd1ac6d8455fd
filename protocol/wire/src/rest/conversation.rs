//! Conversations and their entries.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId};

use crate::base64::Base64;

/// `POST /v1/conversations`: opens a conversation, or names the one that exists. Answered with [`Conversation`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields, tag = "kind")]
pub enum OpenConversation {
    /// Between the caller and one other user.
    Direct {
        /// The other user.
        peer: UserId,
    },
    /// Between the caller and others; the log is opaque.
    Group {
        /// The others, at most 1,000.
        members: Vec<UserId>,
    },
}

/// One log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Conversation {
    /// The log.
    pub conversation_id: ConversationId,
    /// Its kind.
    pub kind: ConversationKind,
    /// Everyone in it.
    pub members: Vec<UserId>,
    /// The last entry's number; 0 when empty.
    pub head: u64,
}

/// Kinds of log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConversationKind {
    /// Two users; one body and a capsule for each device.
    Direct,
    /// Members; one body and no capsules.
    Group,
}

/// `GET /v1/conversations?after=ID&limit=N`: the caller's conversations.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Conversations {
    /// In order of their ids.
    pub conversations: Vec<Conversation>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ConversationId>,
}

/// `POST /v1/conversations/{conversation}/entries`: appends to a group's log. Answered with [`AppendedEntry`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AppendEntry {
    /// Chosen by the sender; repeating it is idempotent.
    pub msg_id: MsgId,
    /// Opaque to the server.
    pub body: Base64,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AppendedEntry {
    /// Its number in the log, from 1, without gaps.
    pub seq: u64,
    /// When the server took it.
    pub server_time: Timestamp,
}

/// `GET /v1/conversations/{conversation}/entries?after=SEQ&limit=N`: a page of at most 256 entries, which ends early once
/// it holds 256 KiB of bodies.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Entries {
    /// In order.
    pub entries: Vec<Entry>,
    /// The log's last number.
    pub head: u64,
    /// Where the next page begins; absent at the end of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// One entry as the log keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// The message.
    pub msg_id: MsgId,
    /// The authenticated sender.
    pub sender: UserId,
    /// The authenticated sending device.
    pub sender_device: DeviceId,
    /// When the server took it.
    pub server_time: Timestamp,
    /// The sealed body; absent once it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Base64>,
}
