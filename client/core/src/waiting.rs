//! Entries that can't be opened or understood yet, kept with everything that a later attempt needs.

use bytes::Bytes;
use unhidra_chain::codec::{Malformed, Reader};
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId};
use unhidra_wire::frame::{Capsule, CapsuleKind, Deliver};

use crate::{
    record::{Record, read_bytes, write_bytes},
    security::Suspicion,
    store::Table,
};

/// One entry that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The log.
    pub conversation: ConversationId,
    /// Its place in the log.
    pub seq: u64,
    /// The message.
    pub msg_id: MsgId,
    /// Who the server says has sent it.
    pub sender: UserId,
    /// From which device.
    pub sender_device: DeviceId,
    /// Why it waits.
    pub reason: Suspicion,
    /// Since when.
    pub since: Timestamp,
    /// When the server took it.
    pub server_time: Timestamp,
    /// The envelope's version and flags.
    pub(crate) envelope: (u8, u16),
    /// This device's capsule, if there was one.
    pub(crate) capsule: Option<(CapsuleKind, Bytes)>,
    /// The sealed body.
    pub(crate) body: Bytes,
}

impl Waiting {
    pub(crate) fn new(deliver: &Deliver, reason: Suspicion, now: Timestamp) -> Self {
        Self {
            conversation: deliver.conversation,
            seq: deliver.seq,
            msg_id: deliver.msg_id,
            sender: deliver.sender,
            sender_device: deliver.sender_device,
            reason,
            since: now,
            server_time: deliver.server_time,
            envelope: (deliver.version, deliver.flags),
            capsule: deliver
                .capsule
                .as_ref()
                .map(|capsule| (capsule.kind, capsule.sealed.clone())),
            body: deliver.body.clone(),
        }
    }
}

impl Waiting {
    /// The entry as it came, for another try on `device`.
    pub(crate) fn to_deliver(&self, device: DeviceId) -> Deliver {
        let (version, flags) = self.envelope;
        Deliver {
            conversation: self.conversation,
            seq: self.seq,
            msg_id: self.msg_id,
            sender: self.sender,
            sender_device: self.sender_device,
            server_time: self.server_time,
            attempt: 0,
            version,
            flags,
            capsule: self
                .capsule
                .clone()
                .map(|(kind, sealed)| Capsule { device, kind, sealed }),
            body: self.body.clone(),
        }
    }
}

impl Record for Waiting {
    const TABLE: Table = Table::Waiting;

    /// `conversation(16) seq(8) msg_id(16) sender(16) device(16) reason(1) since(8) server_time(8) version(1) flags(2)
    /// capsule kind(1; 0 none) capsule body`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.conversation.as_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.msg_id.as_bytes());
        out.extend(self.sender.as_bytes());
        out.extend(self.sender_device.as_bytes());
        out.push(self.reason.number());
        out.extend(self.since.as_millis().to_be_bytes());
        out.extend(self.server_time.as_millis().to_be_bytes());
        let (version, flags) = self.envelope;
        out.push(version);
        out.extend(flags.to_be_bytes());
        let (kind, capsule) = match &self.capsule {
            Some((kind, capsule)) => (kind.number(), capsule.as_ref()),
            None => (0, [].as_slice()),
        };
        out.push(kind);
        write_bytes(out, capsule);
        write_bytes(out, &self.body);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            conversation: ConversationId::from_bytes(reader.array()?),
            seq: reader.u64()?,
            msg_id: MsgId::from_bytes(reader.array()?),
            sender: UserId::from_bytes(reader.array()?),
            sender_device: DeviceId::from_bytes(reader.array()?),
            reason: Suspicion::from_number(reader.u8()?).ok_or(Malformed)?,
            since: Timestamp::from_millis(reader.u64()?),
            server_time: Timestamp::from_millis(reader.u64()?),
            envelope: (reader.u8()?, reader.u16()?),
            capsule: match (reader.u8()?, read_bytes(reader)?) {
                (0, _) => None,
                (kind, capsule) => Some((
                    CapsuleKind::from_number(kind).ok_or(Malformed)?,
                    Bytes::copy_from_slice(capsule),
                )),
            },
            body: Bytes::copy_from_slice(read_bytes(reader)?),
        })
    }
}
