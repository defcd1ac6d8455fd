//! Frames of the subprotocol `unhidra.v1` (`proto/frame.proto`) as values that are valid by construction.
//!
//! Decoding shares the payload bytes of the frame it came from; nothing is copied.

use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message as _;
use unhidra_types::{
    ConversationId, DeviceId, MsgId, SessionId, Timestamp, UserId,
    limits::{MAX_CAPSULES, MAX_FRAME_BYTES},
};

use crate::proto::frame as proto;

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
    /// Longer than [`MAX_FRAME_BYTES`], or one of the server by more than [`FRAME_OVERHEAD`].
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
    /// At most [`MAX_CAPSULES`], a device at most once.
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

impl ClientFrame {
    /// Encodes for one binary WebSocket message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        use proto::client_frame::Kind;
        let kind = match self {
            Self::Append(append) => Kind::Append(append.to_proto()),
            Self::Acknowledge { conversation, seq } => Kind::Acknowledge(proto::Acknowledge {
                conversation: id(conversation.as_bytes()),
                seq: *seq,
            }),
            Self::Fetch {
                conversation,
                from,
                to,
            } => Kind::Fetch(proto::Fetch {
                conversation: id(conversation.as_bytes()),
                from: *from,
                to: *to,
            }),
        };
        proto::ClientFrame { kind: Some(kind) }.encode_to_vec().into()
    }

    /// Decodes one binary WebSocket message.
    ///
    /// # Errors
    /// [`FrameError`] for anything that no client of this version sends.
    pub fn decode(frame: Bytes) -> Result<Self, FrameError> {
        use proto::client_frame::Kind;
        if frame.len() > MAX_FRAME_BYTES {
            return Err(FrameError::TooLong);
        }
        match proto::ClientFrame::decode(frame)
            .map_err(|_| FrameError::Malformed)?
            .kind
        {
            Some(Kind::Append(append)) => Append::from_proto(append).map(Self::Append),
            Some(Kind::Acknowledge(ack)) => Ok(Self::Acknowledge {
                conversation: conversation(&ack.conversation)?,
                seq: ack.seq,
            }),
            Some(Kind::Fetch(fetch)) => Ok(Self::Fetch {
                conversation: conversation(&fetch.conversation)?,
                from: fetch.from,
                to: fetch.to,
            }),
            None => Err(FrameError::Malformed),
        }
    }
}

impl ServerFrame {
    /// Encodes for one binary WebSocket message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        use proto::server_frame::Kind;
        let kind = match self {
            Self::Welcome(welcome) => Kind::Welcome(welcome.to_proto()),
            Self::Appended(appended) => Kind::Appended(proto::Appended {
                conversation: id(appended.conversation.as_bytes()),
                msg_id: id(appended.msg_id.as_bytes()),
                seq: appended.seq,
                server_time: appended.server_time.as_millis(),
                attempt: appended.attempt.into(),
                dest: dest_bytes(appended.dest),
            }),
            Self::Refused(refused) => Kind::Refused(refused.to_proto()),
            Self::Deliver(deliver) => Kind::Deliver(deliver.to_proto()),
            Self::Skip {
                conversation,
                from,
                to,
            } => Kind::Skip(proto::Skip {
                conversation: id(conversation.as_bytes()),
                from: *from,
                to: *to,
            }),
            Self::CaughtUp => Kind::CaughtUp(proto::CaughtUp {}),
            Self::ListChanged(head) => Kind::ListChanged(proto::ListChanged {
                head: Some(head.to_proto()),
            }),
        };
        proto::ServerFrame { kind: Some(kind) }.encode_to_vec().into()
    }

    /// Decodes one binary WebSocket message. `None` stands for a kind of a later version, to be ignored.
    ///
    /// # Errors
    /// [`FrameError`] for bytes that are no frame.
    pub fn decode(frame: Bytes) -> Result<Option<Self>, FrameError> {
        use proto::server_frame::Kind;
        if frame.len() > MAX_FRAME_BYTES + FRAME_OVERHEAD {
            return Err(FrameError::TooLong);
        }
        let Some(kind) = proto::ServerFrame::decode(frame)
            .map_err(|_| FrameError::Malformed)?
            .kind
        else {
            return Ok(None);
        };
        Ok(Some(match kind {
            Kind::Welcome(welcome) => Self::Welcome(Welcome::from_proto(welcome)?),
            Kind::Appended(appended) => Self::Appended(Appended {
                conversation: conversation(&appended.conversation)?,
                msg_id: msg_id(&appended.msg_id)?,
                attempt: attempt(appended.attempt)?,
                dest: dest(&appended.dest)?,
                seq: appended.seq,
                server_time: Timestamp::from_millis(appended.server_time),
            }),
            Kind::Refused(refused) => Self::Refused(Refused::from_proto(refused)?),
            Kind::Deliver(deliver) => Self::Deliver(Deliver::from_proto(deliver)?),
            Kind::Skip(skip) => Self::Skip {
                conversation: conversation(&skip.conversation)?,
                from: skip.from,
                to: skip.to,
            },
            Kind::CaughtUp(proto::CaughtUp {}) => Self::CaughtUp,
            Kind::ListChanged(changed) => Self::ListChanged(ListVersion::from_proto(
                &changed.head.ok_or(FrameError::Field("head"))?,
            )?),
        }))
    }
}

impl Append {
    fn to_proto(&self) -> proto::Append {
        proto::Append {
            conversation: id(self.conversation.as_bytes()),
            msg_id: id(self.msg_id.as_bytes()),
            version: ENVELOPE_VERSION.into(),
            flags: 0,
            attempt: self.attempt.into(),
            list_versions: self
                .list_versions
                .iter()
                .copied()
                .map(ListVersion::to_proto)
                .collect(),
            body: self.body.clone(),
            capsules: self.capsules.iter().map(Capsule::to_proto).collect(),
            dest: dest_bytes(self.dest),
        }
    }

    fn from_proto(append: proto::Append) -> Result<Self, FrameError> {
        if append.version != u32::from(ENVELOPE_VERSION) {
            return Err(FrameError::Field("version"));
        }
        if append.flags != 0 {
            return Err(FrameError::Field("flags"));
        }
        if append.capsules.len() > MAX_CAPSULES {
            return Err(FrameError::Field("capsules"));
        }
        if append.list_versions.len() > 2 {
            return Err(FrameError::Field("list_versions"));
        }
        let capsules: Vec<Capsule> = append
            .capsules
            .into_iter()
            .map(Capsule::from_proto)
            .collect::<Result<_, _>>()?;
        let mut devices: Vec<DeviceId> = capsules.iter().map(|capsule| capsule.device).collect();
        devices.sort_unstable();
        devices.dedup();
        if devices.len() != capsules.len() {
            return Err(FrameError::Field("capsules"));
        }
        let attempt = attempt(append.attempt)?;
        let dest = dest(&append.dest)?;
        match dest {
            Some(dest) if devices != [dest] => return Err(FrameError::Field("dest")),
            None if attempt > 0 => return Err(FrameError::Field("dest")),
            _ => {}
        }
        Ok(Self {
            conversation: conversation(&append.conversation)?,
            msg_id: msg_id(&append.msg_id)?,
            attempt,
            dest,
            list_versions: append
                .list_versions
                .iter()
                .map(ListVersion::from_proto)
                .collect::<Result<_, _>>()?,
            body: append.body,
            capsules,
        })
    }
}

impl ListVersion {
    fn to_proto(self) -> proto::ListVersion {
        proto::ListVersion {
            user: id(self.user.as_bytes()),
            version: self.version,
            head_hash: Bytes::copy_from_slice(&self.head_hash),
        }
    }

    fn from_proto(list: &proto::ListVersion) -> Result<Self, FrameError> {
        Ok(Self {
            user: user(&list.user)?,
            version: list.version,
            head_hash: list
                .head_hash
                .as_ref()
                .try_into()
                .map_err(|_| FrameError::Field("head_hash"))?,
        })
    }
}

impl Capsule {
    fn to_proto(&self) -> proto::Capsule {
        let kind = match self.kind {
            CapsuleKind::Prekey => proto::CapsuleKind::Prekey,
            CapsuleKind::Ratchet => proto::CapsuleKind::Ratchet,
        };
        proto::Capsule {
            device: id(self.device.as_bytes()),
            kind: kind.into(),
            sealed: self.sealed.clone(),
        }
    }

    fn from_proto(capsule: proto::Capsule) -> Result<Self, FrameError> {
        let kind = match capsule.kind() {
            proto::CapsuleKind::Prekey => CapsuleKind::Prekey,
            proto::CapsuleKind::Ratchet => CapsuleKind::Ratchet,
            proto::CapsuleKind::Unspecified => return Err(FrameError::Field("kind")),
        };
        if capsule.sealed.is_empty() {
            return Err(FrameError::Field("sealed"));
        }
        Ok(Self {
            device: device(&capsule.device)?,
            kind,
            sealed: capsule.sealed,
        })
    }
}

impl Welcome {
    fn to_proto(&self) -> proto::Welcome {
        proto::Welcome {
            device: id(self.device.as_bytes()),
            session: id(self.session.as_bytes()),
            server_time: self.server_time.as_millis(),
            last_accepted: self
                .last_accepted
                .map(|msg| id(msg.as_bytes()))
                .unwrap_or_default(),
            own_list: Some(self.own_list.to_proto()),
            stock: Some(proto::PrekeyStock {
                generation: self.stock.generation,
                one_time: self.stock.one_time,
                one_time_kem: self.stock.one_time_kem,
            }),
        }
    }

    fn from_proto(welcome: proto::Welcome) -> Result<Self, FrameError> {
        let stock = welcome.stock.ok_or(FrameError::Field("stock"))?;
        let last_accepted = match welcome.last_accepted.is_empty() {
            true => None,
            false => Some(msg_id(&welcome.last_accepted)?),
        };
        Ok(Self {
            device: device(&welcome.device)?,
            session: SessionId::try_from(welcome.session.as_ref())
                .map_err(|_| FrameError::Field("session"))?,
            server_time: Timestamp::from_millis(welcome.server_time),
            last_accepted,
            own_list: ListVersion::from_proto(&welcome.own_list.ok_or(FrameError::Field("own_list"))?)?,
            stock: PrekeyStock {
                generation: stock.generation,
                one_time: stock.one_time,
                one_time_kem: stock.one_time_kem,
            },
        })
    }
}

impl Refused {
    fn to_proto(&self) -> proto::Refused {
        let reason = match self.reason {
            Refusal::NotFound => proto::Refusal::NotFound,
            Refusal::StaleList => proto::Refusal::StaleList,
            Refusal::UnknownDevice => proto::Refusal::UnknownDevice,
            Refusal::Malformed => proto::Refusal::Malformed,
            Refusal::RateLimited => proto::Refusal::RateLimited,
            Refusal::Unavailable => proto::Refusal::Unavailable,
        };
        proto::Refused {
            conversation: id(self.conversation.as_bytes()),
            msg_id: id(self.msg_id.as_bytes()),
            reason: reason.into(),
            heads: self.heads.iter().copied().map(ListVersion::to_proto).collect(),
            retry_after_ms: self.retry_after_ms,
            attempt: self.attempt.into(),
            dest: dest_bytes(self.dest),
        }
    }

    fn from_proto(refused: proto::Refused) -> Result<Self, FrameError> {
        let reason = match refused.reason() {
            proto::Refusal::NotFound => Refusal::NotFound,
            proto::Refusal::StaleList => Refusal::StaleList,
            proto::Refusal::UnknownDevice => Refusal::UnknownDevice,
            proto::Refusal::Malformed => Refusal::Malformed,
            proto::Refusal::RateLimited => Refusal::RateLimited,
            // A reason of a later version: nothing was consumed, so trying later is safe.
            proto::Refusal::Unavailable | proto::Refusal::Unspecified => Refusal::Unavailable,
        };
        Ok(Self {
            conversation: conversation(&refused.conversation)?,
            msg_id: msg_id(&refused.msg_id)?,
            attempt: attempt(refused.attempt)?,
            dest: dest(&refused.dest)?,
            reason,
            heads: refused
                .heads
                .iter()
                .map(ListVersion::from_proto)
                .collect::<Result<_, _>>()?,
            retry_after_ms: refused.retry_after_ms,
        })
    }
}

impl Deliver {
    fn to_proto(&self) -> proto::Deliver {
        proto::Deliver {
            conversation: id(self.conversation.as_bytes()),
            seq: self.seq,
            msg_id: id(self.msg_id.as_bytes()),
            sender: id(self.sender.as_bytes()),
            sender_device: id(self.sender_device.as_bytes()),
            server_time: self.server_time.as_millis(),
            version: self.version.into(),
            flags: self.flags.into(),
            attempt: self.attempt.into(),
            capsule: self.capsule.as_ref().map(Capsule::to_proto),
            body: self.body.clone(),
        }
    }

    fn from_proto(deliver: proto::Deliver) -> Result<Self, FrameError> {
        Ok(Self {
            conversation: conversation(&deliver.conversation)?,
            seq: deliver.seq,
            msg_id: msg_id(&deliver.msg_id)?,
            sender: user(&deliver.sender)?,
            sender_device: device(&deliver.sender_device)?,
            server_time: Timestamp::from_millis(deliver.server_time),
            attempt: attempt(deliver.attempt)?,
            version: deliver
                .version
                .try_into()
                .map_err(|_| FrameError::Field("version"))?,
            flags: deliver.flags.try_into().map_err(|_| FrameError::Field("flags"))?,
            capsule: deliver.capsule.map(Capsule::from_proto).transpose()?,
            body: deliver.body,
        })
    }
}

fn id(bytes: &[u8; 16]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn conversation(bytes: &[u8]) -> Result<ConversationId, FrameError> {
    bytes.try_into().map_err(|_| FrameError::Field("conversation"))
}

fn msg_id(bytes: &[u8]) -> Result<MsgId, FrameError> {
    match MsgId::try_from(bytes) {
        Ok(MsgId::NONE) | Err(_) => Err(FrameError::Field("msg_id")),
        Ok(id) => Ok(id),
    }
}

fn user(bytes: &[u8]) -> Result<UserId, FrameError> {
    bytes.try_into().map_err(|_| FrameError::Field("user"))
}

fn device(bytes: &[u8]) -> Result<DeviceId, FrameError> {
    bytes.try_into().map_err(|_| FrameError::Field("device"))
}

fn dest(bytes: &[u8]) -> Result<Option<DeviceId>, FrameError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    bytes.try_into().map(Some).map_err(|_| FrameError::Field("dest"))
}

fn dest_bytes(dest: Option<DeviceId>) -> Bytes {
    dest.map(|device| id(device.as_bytes())).unwrap_or_default()
}

fn attempt(number: u32) -> Result<u8, FrameError> {
    match u8::try_from(number) {
        Ok(attempt) if attempt <= MAX_ATTEMPT => Ok(attempt),
        _ => Err(FrameError::Field("attempt")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn append() -> Append {
        Append {
            conversation: ConversationId::from_bytes([1; 16]),
            msg_id: MsgId::from_bytes([2; 16]),
            attempt: 0,
            dest: None,
            list_versions: alloc::vec![ListVersion {
                user: UserId::from_bytes([3; 16]),
                version: 7,
                head_hash: [4; 32]
            }],
            body: Bytes::from_static(b"body"),
            capsules: alloc::vec![Capsule {
                device: DeviceId::from_bytes([5; 16]),
                kind: CapsuleKind::Prekey,
                sealed: Bytes::from_static(b"sealed"),
            }],
        }
    }

    #[test]
    fn an_append_round_trips() {
        let frame = ClientFrame::Append(append());
        assert_eq!(ClientFrame::decode(frame.encode()), Ok(frame));
    }

    #[test]
    fn a_device_named_twice_is_refused() {
        let mut twice = append();
        twice.capsules.push(twice.capsules[0].clone());
        assert_eq!(
            ClientFrame::decode(ClientFrame::Append(twice).encode()),
            Err(FrameError::Field("capsules"))
        );
    }

    #[test]
    fn an_envelope_for_one_device_names_its_only_capsule() {
        let mut owed = append();
        owed.dest = Some(owed.capsules[0].device);
        let frame = ClientFrame::Append(owed.clone());
        assert_eq!(ClientFrame::decode(frame.encode()), Ok(frame));
        owed.dest = Some(DeviceId::from_bytes([9; 16]));
        assert_eq!(
            ClientFrame::decode(ClientFrame::Append(owed).encode()),
            Err(FrameError::Field("dest"))
        );
    }

    #[test]
    fn an_answer_names_all_that_tells_one_append_from_another() {
        let (conversation, msg_id) = (append().conversation, append().msg_id);
        for dest in [None, Some(DeviceId::from_bytes([5; 16]))] {
            let appended = ServerFrame::Appended(Appended {
                conversation,
                msg_id,
                attempt: 1,
                dest,
                seq: 7,
                server_time: Timestamp::from_millis(8),
            });
            assert_eq!(ServerFrame::decode(appended.encode()), Ok(Some(appended)));
            let refused = ServerFrame::Refused(Refused {
                conversation,
                msg_id,
                attempt: 1,
                dest,
                reason: Refusal::StaleList,
                heads: append().list_versions,
                retry_after_ms: 9,
            });
            assert_eq!(ServerFrame::decode(refused.encode()), Ok(Some(refused)));
        }
    }

    #[test]
    fn an_oversized_frame_is_refused_before_it_is_parsed() {
        let frame = Bytes::from(alloc::vec![0; MAX_FRAME_BYTES + 1]);
        assert_eq!(ClientFrame::decode(frame), Err(FrameError::TooLong));
    }

    #[test]
    fn a_server_frame_of_a_later_version_is_ignored() {
        // Field 100, length-delimited, empty.
        assert_eq!(
            ServerFrame::decode(Bytes::from_static(&[0xa2, 0x06, 0x00])),
            Ok(None)
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let bytes = Bytes::from(bytes);
            if let Ok(frame) = ClientFrame::decode(bytes.clone()) {
                prop_assert_eq!(ClientFrame::decode(frame.encode()), Ok(frame));
            }
            if let Ok(Some(frame)) = ServerFrame::decode(bytes) {
                prop_assert_eq!(ServerFrame::decode(frame.encode()), Ok(Some(frame)));
            }
        }
    }
}
