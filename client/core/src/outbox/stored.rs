//! Entries of the outbox and rows of its queue as records.

use bytes::Bytes;
use unhidra_chain::codec::{Malformed, Reader};
use unhidra_pair::Capsule as BodyKey;
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId};
use unhidra_wire::frame::{CapsuleKind, ListVersion};

use super::{Entry, Queued, SealedBody, SealedCapsule, SealedMessage};
use crate::{
    effects::Failure,
    record::{Record, read_bytes, read_option, write_bytes, write_option},
    store::Table,
};

/// In the byte that counts rounds: the server had taken the entry before.
const AGAIN: u8 = 0x80;

impl Record for Entry {
    const TABLE: Table = Table::Outbox;

    fn size(&self) -> usize {
        let sealed = self.sealed.as_ref().map_or(0, SealedMessage::size);
        64 + self.content.len() + sealed
    }

    /// `conversation(16) msg_id(16) dest?(1 | 16) content sealed(1: 0 no, 1 with a body, 2 without)`, then, if sealed,
    /// `sent_at(8) K_b|hash(64) lists(1 | user(16) version(4) hash(32) each) capsules(1 | device(16) cert_hash(32) kind(1)
    /// bytes each) body`. Without a body, `attempt(1)` comes first, and neither key nor body is there.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.conversation.as_bytes());
        out.extend(self.msg_id.as_bytes());
        write_option(out, self.dest.as_ref().map(DeviceId::as_bytes));
        write_bytes(out, &self.content);
        match &self.sealed {
            None => out.push(0),
            Some(sealed) if sealed.body.is_some() => {
                out.push(1);
                sealed.write(out);
            }
            Some(sealed) => {
                out.extend([2, self.attempt]);
                sealed.write(out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut entry = Self {
            conversation: ConversationId::from_bytes(reader.array()?),
            msg_id: MsgId::from_bytes(reader.array()?),
            attempt: 0,
            dest: read_option(reader)?.map(DeviceId::from_bytes),
            content: read_bytes(reader)?.to_vec(),
            sealed: None,
        };
        match reader.u8()? {
            0 => {}
            1 => entry.sealed = Some(SealedMessage::read(reader, true)?),
            2 => {
                entry.attempt = reader.u8()?;
                entry.sealed = Some(SealedMessage::read(reader, false)?);
            }
            _ => return Err(Malformed),
        }
        Ok(entry)
    }
}

impl SealedMessage {
    fn size(&self) -> usize {
        let body = self.body.as_ref().map_or(0, |body| 68 + body.object.len());
        let capsules = self.capsules.iter().map(|capsule| 53 + capsule.bytes.len());
        16 + 52 * self.lists.len() + capsules.sum::<usize>() + body
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.sent_at.as_millis().to_be_bytes());
        if let Some(body) = &self.body {
            out.extend(body.key.to_bytes().expose());
        }
        out.push(count(self.lists.len()));
        for list in &self.lists {
            out.extend(list.user.as_bytes());
            out.extend(list.version.to_be_bytes());
            out.extend(list.head_hash);
        }
        out.push(count(self.capsules.len()));
        for capsule in &self.capsules {
            out.extend(capsule.device.as_bytes());
            out.extend(capsule.cert_hash);
            out.push(capsule.kind.number());
            write_bytes(out, &capsule.bytes);
        }
        if let Some(body) = &self.body {
            write_bytes(out, &body.object);
        }
    }

    fn read(reader: &mut Reader<'_>, has_body: bool) -> Result<Self, Malformed> {
        let sent_at = Timestamp::from_millis(reader.u64()?);
        let key = match has_body {
            true => {
                let bytes = reader.array::<{ BodyKey::BYTES }>()?;
                Some(BodyKey::from_bytes(&bytes).map_err(|_| Malformed)?)
            }
            false => None,
        };
        let mut lists = Vec::new();
        for _ in 0..reader.u8()? {
            lists.push(ListVersion {
                user: UserId::from_bytes(reader.array()?),
                version: reader.u32()?,
                head_hash: reader.array()?,
            });
        }
        let mut capsules = Vec::new();
        for _ in 0..reader.u8()? {
            capsules.push(SealedCapsule {
                device: DeviceId::from_bytes(reader.array()?),
                cert_hash: reader.array()?,
                kind: CapsuleKind::from_number(reader.u8()?).ok_or(Malformed)?,
                bytes: Bytes::copy_from_slice(read_bytes(reader)?),
            });
        }
        let body = match key {
            Some(key) => Some(SealedBody {
                key,
                object: Bytes::copy_from_slice(read_bytes(reader)?),
            }),
            None => None,
        };
        Ok(Self {
            sent_at,
            body,
            lists,
            capsules,
        })
    }
}

impl Record for Queued {
    const TABLE: Table = Table::Queue;

    /// `conversation(16) msg_id(16) rounds(1; the top bit: was taken before) failure(1) owed(1 | user(16) device(16) each)`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.conversation.as_bytes());
        out.extend(self.msg_id.as_bytes());
        out.push(self.rounds | if self.again { AGAIN } else { 0 });
        out.push(match self.failure {
            None => 0,
            Some(Failure::NotFound) => 1,
            Some(Failure::Malformed) => 2,
            Some(Failure::ListsKeepChanging) => 3,
            Some(Failure::IdentityChanged) => 4,
        });
        out.push(count(self.owed.len()));
        for (user, device) in &self.owed {
            out.extend(user.as_bytes());
            out.extend(device.as_bytes());
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let conversation = ConversationId::from_bytes(reader.array()?);
        let msg_id = MsgId::from_bytes(reader.array()?);
        let rounds = reader.u8()?;
        let failure = match reader.u8()? {
            0 => None,
            1 => Some(Failure::NotFound),
            2 => Some(Failure::Malformed),
            3 => Some(Failure::ListsKeepChanging),
            4 => Some(Failure::IdentityChanged),
            _ => return Err(Malformed),
        };
        let mut owed = Vec::new();
        for _ in 0..reader.u8()? {
            owed.push((
                UserId::from_bytes(reader.array()?),
                DeviceId::from_bytes(reader.array()?),
            ));
        }
        Ok(Self {
            conversation,
            msg_id,
            rounds: rounds & !AGAIN,
            again: rounds & AGAIN != 0,
            failure,
            owed,
        })
    }
}

/// Lists and capsules are bounded by the devices of two users, so one byte counts them.
fn count(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}
