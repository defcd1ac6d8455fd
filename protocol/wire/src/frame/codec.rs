//! How frames lie in bytes. Whatever decodes keeps every bound that the types promise.

use core::time::Duration;

use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message as _;
use unhidra_types::{
    ConversationId, DeviceId, MsgId, SessionId, Timestamp, UserId,
    limits::{MAX_CAPSULES, MAX_FRAME_BYTES},
};

use super::{
    Append, Appended, Capsule, CapsuleKind, ClientFrame, Deliver, ENVELOPE_VERSION, FRAME_OVERHEAD,
    FrameError, ListVersion, MAX_ATTEMPT, PrekeyStock, Refusal, Refused, ServerFrame, Welcome,
    message::{MAX_HEAD, put_head},
};
use crate::proto::frame as proto;

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
        self.to_proto().encode_to_vec().into()
    }

    /// Encodes with the head of the one frame that a server sends it in, as it goes over the socket: what many connections
    /// get is laid out once.
    #[must_use]
    pub fn encode_message(&self) -> Bytes {
        let frame = self.to_proto();
        let length = frame.encoded_len();
        let mut message = Vec::with_capacity(length.saturating_add(MAX_HEAD));
        put_head(&mut message, length);
        frame.encode_raw(&mut message);
        message.into()
    }

    fn to_proto(&self) -> proto::ServerFrame {
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
        proto::ServerFrame { kind: Some(kind) }
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
            session_age: self
                .session_age
                .map(|age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX))
                .unwrap_or_default(),
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
            session_age: match welcome.session_age {
                0 => None,
                seconds => Some(Duration::from_secs(seconds.into())),
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
