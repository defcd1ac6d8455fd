//! Messages as they are kept and shown.

use unhidra_chain::codec::{Malformed, Reader};
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId};

use crate::{
    record::{Record, read_bytes, write_bytes},
    store::Table,
};

/// One message of a conversation, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its place in the log, by which messages are shown.
    pub seq: u64,
    /// Its id.
    pub msg_id: MsgId,
    /// Who wrote it.
    pub sender: UserId,
    /// On which device.
    pub sender_device: DeviceId,
    /// When it was sealed, by the sender's clock.
    pub sent_at: Timestamp,
    /// When the server took it.
    pub server_time: Timestamp,
    /// SHA-256 of the body object, by which replies and reports cite it.
    pub body_hash: [u8; 32],
    /// How many messages of this sending device before this one are missing.
    pub missing_before: u64,
    /// What it says.
    pub body: MessageBody,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageBody {
    /// Text.
    Text(String),
    /// Something that needs a newer version; kept as it came.
    Unsupported(Vec<u8>),
}

/// A message without the key it is kept under.
pub(crate) struct StoredMessage {
    pub(crate) msg_id: MsgId,
    pub(crate) sender: UserId,
    pub(crate) sender_device: DeviceId,
    pub(crate) sent_at: Timestamp,
    pub(crate) server_time: Timestamp,
    pub(crate) body_hash: [u8; 32],
    pub(crate) missing_before: u64,
    pub(crate) body: MessageBody,
}

impl StoredMessage {
    pub(crate) fn at(self, conversation: ConversationId, seq: u64) -> Message {
        Message {
            conversation,
            seq,
            msg_id: self.msg_id,
            sender: self.sender,
            sender_device: self.sender_device,
            sent_at: self.sent_at,
            server_time: self.server_time,
            body_hash: self.body_hash,
            missing_before: self.missing_before,
            body: self.body,
        }
    }
}

impl Record for StoredMessage {
    const TABLE: Table = Table::Messages;

    fn size(&self) -> usize {
        let body = match &self.body {
            MessageBody::Text(text) => text.len(),
            MessageBody::Unsupported(content) => content.len(),
        };
        128 + body
    }

    /// `msg_id(16) sender(16) device(16) sent_at(8) server_time(8) body_hash(32) missing_before(8) kind(1) body`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.msg_id.as_bytes());
        out.extend(self.sender.as_bytes());
        out.extend(self.sender_device.as_bytes());
        out.extend(self.sent_at.as_millis().to_be_bytes());
        out.extend(self.server_time.as_millis().to_be_bytes());
        out.extend(self.body_hash);
        out.extend(self.missing_before.to_be_bytes());
        let (kind, body) = match &self.body {
            MessageBody::Text(text) => (1, text.as_bytes()),
            MessageBody::Unsupported(content) => (2, content.as_slice()),
        };
        out.push(kind);
        write_bytes(out, body);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            msg_id: MsgId::from_bytes(reader.array()?),
            sender: UserId::from_bytes(reader.array()?),
            sender_device: DeviceId::from_bytes(reader.array()?),
            sent_at: Timestamp::from_millis(reader.u64()?),
            server_time: Timestamp::from_millis(reader.u64()?),
            body_hash: reader.array()?,
            missing_before: reader.u64()?,
            body: match (reader.u8()?, read_bytes(reader)?) {
                (1, text) => {
                    MessageBody::Text(String::from_utf8(text.to_vec()).map_err(|_not_utf8| Malformed)?)
                }
                (2, content) => MessageBody::Unsupported(content.to_vec()),
                _ => return Err(Malformed),
            },
        })
    }
}
