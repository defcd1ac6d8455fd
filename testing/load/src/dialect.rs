//! Two ways of saying the same: the protocol of the product, and that of the reference servers, which have no more than
//! a relay needs.
//!
//! Entries of the product are read field by field where they lie (`docs/protocol/frames.md`); other frames are rare and
//! are left to `unhidra-wire`.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use unhidra_types::{ConversationId, MsgId};
use unhidra_wire::frame::{Append, ClientFrame, Refusal, ServerFrame};

use crate::websocket::Outbox;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `unhidra.v1`.
    Unhidra,
    /// That of [`crate::reference`].
    Reference,
}

/// To the reference server: a message, behind its counter.
pub(crate) const REFERENCE_SEND: u8 = 1;
/// From it: a message, behind its place in the log.
pub(crate) const REFERENCE_DELIVER: u8 = 1;
/// From it: the counter of a message that it has.
pub(crate) const REFERENCE_ACCEPTED: u8 = 2;

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    Entry {
        log: [u8; 16],
        seq: u64,
        body: &'a [u8],
    },
    /// The sender's message with this counter is in the log.
    Accepted(u64),
    /// The message with this counter is not in the log.
    Refused(u64, Refusal),
    CaughtUp,
    Other,
}

/// Which message of a sender it is, as the product's `msg_id`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    pub(crate) run: u32,
    pub(crate) sender: u32,
    pub(crate) counter: u64,
}

impl Number {
    fn msg_id(self) -> MsgId {
        let high = u64::from(self.run) << 32 | u64::from(self.sender);
        let number = u128::from(high) << 64 | u128::from(self.counter);
        MsgId::from_bytes(number.to_be_bytes())
    }
}

/// The counter within a `msg_id`.
fn counter(msg_id: &[u8]) -> anyhow::Result<u64> {
    let counter = msg_id.last_chunk().context("a msg_id has 16 bytes")?;
    Ok(u64::from_be_bytes(*counter))
}

impl Dialect {
    /// Queues a message.
    pub(crate) fn send(
        self,
        outbox: &mut Outbox,
        conversation: ConversationId,
        number: Number,
        body: &[u8],
    ) -> anyhow::Result<()> {
        match self {
            Self::Unhidra => {
                let append = Append {
                    conversation,
                    msg_id: number.msg_id(),
                    attempt: 0,
                    dest: None,
                    list_versions: Vec::new(),
                    body: Bytes::copy_from_slice(body),
                    capsules: Vec::new(),
                };
                outbox.binary(&ClientFrame::Append(append).encode())
            }
            Self::Reference => outbox.binary_of(&[&[REFERENCE_SEND], &number.counter.to_be_bytes(), body]),
        }
    }

    /// Queues the news that everything of a log up to `seq` is processed; the reference keeps no cursors.
    pub(crate) fn acknowledge(self, outbox: &mut Outbox, log: [u8; 16], seq: u64) -> anyhow::Result<()> {
        match self {
            Self::Unhidra => {
                let conversation = ConversationId::from_bytes(log);
                outbox.binary(&ClientFrame::Acknowledge { conversation, seq }.encode())
            }
            Self::Reference => Ok(()),
        }
    }

    pub(crate) fn read(self, payload: &[u8]) -> anyhow::Result<Incoming<'_>> {
        match self {
            Self::Unhidra => read_frame(payload),
            Self::Reference => read_reference(payload),
        }
    }
}

fn read_reference(payload: &[u8]) -> anyhow::Result<Incoming<'_>> {
    let (kind, rest) = payload.split_first().context("a message has a kind")?;
    let (number, body) = rest.split_first_chunk().context("a message has a number")?;
    let number = u64::from_be_bytes(*number);
    match *kind {
        REFERENCE_DELIVER => Ok(Incoming::Entry {
            log: [0; 16],
            seq: number,
            body,
        }),
        REFERENCE_ACCEPTED => Ok(Incoming::Accepted(number)),
        other => bail!("a message of the unknown kind {other}"),
    }
}

/// Keys of `ServerFrame`: the field's number and wire type 2 (`proto/frame.proto`).
const DELIVER: u8 = 4 << 3 | 2;
const APPENDED: u8 = 2 << 3 | 2;

fn read_frame(payload: &[u8]) -> anyhow::Result<Incoming<'_>> {
    match payload.split_first() {
        Some((&DELIVER, rest)) => {
            let mut fields = Fields(delimited(&mut &*rest)?);
            let (mut log, mut seq, mut body) = ([0; 16], 0, [].as_slice());
            while let Some((number, value)) = fields.next()? {
                match (number, value) {
                    (1, Value::Bytes(bytes)) => log = bytes.try_into().context("an id has 16 bytes")?,
                    (2, Value::Number(value)) => seq = value,
                    (11, Value::Bytes(bytes)) => body = bytes,
                    _ => {}
                }
            }
            Ok(Incoming::Entry { log, seq, body })
        }
        Some((&APPENDED, rest)) => {
            let mut fields = Fields(delimited(&mut &*rest)?);
            while let Some((number, value)) = fields.next()? {
                if let (2, Value::Bytes(msg_id)) = (number, value) {
                    return Ok(Incoming::Accepted(counter(msg_id)?));
                }
            }
            bail!("an answer has no msg_id")
        }
        _ => Ok(match ServerFrame::decode(Bytes::copy_from_slice(payload))? {
            Some(ServerFrame::Refused(refused)) => {
                Incoming::Refused(counter(refused.msg_id.as_bytes())?, refused.reason)
            }
            Some(ServerFrame::CaughtUp) => Incoming::CaughtUp,
            _ => Incoming::Other,
        }),
    }
}

/// Fields of a protobuf message, in the order of its bytes.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> anyhow::Result<Option<(u64, Value<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut self.0)?),
            2 => Value::Bytes(delimited(&mut self.0)?),
            other => bail!("a field has the unknown wire type {other}"),
        };
        Ok(Some((key >> 3, value)))
    }
}

fn delimited<'a>(bytes: &mut &'a [u8]) -> anyhow::Result<&'a [u8]> {
    let length = usize::try_from(varint(bytes)?)?;
    let (field, rest) = bytes.split_at_checked(length).context("a field is cut off")?;
    *bytes = rest;
    Ok(field)
}

fn varint(bytes: &mut &[u8]) -> anyhow::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().context("a number is cut off")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number is too long")
}

#[cfg(test)]
mod tests {
    use unhidra_types::{DeviceId, Timestamp, UserId};
    use unhidra_wire::frame::{Appended, Deliver, Refused};

    use super::*;
    use crate::websocket::{Inbox, Message};

    const NUMBER: Number = Number {
        run: 3,
        sender: 4,
        counter: 1 << 33,
    };

    #[test]
    fn an_entry_is_read_as_the_wire_writes_it() {
        let deliver = Deliver {
            conversation: ConversationId::from_bytes([5; 16]),
            seq: 300,
            msg_id: NUMBER.msg_id(),
            sender: UserId::from_bytes([1; 16]),
            sender_device: DeviceId::from_bytes([2; 16]),
            server_time: Timestamp::from_millis(1_790_000_000_000),
            attempt: 0,
            version: 1,
            flags: 0,
            capsule: None,
            body: Bytes::from_static(&[9; 200]),
        };
        let frame = ServerFrame::Deliver(deliver).encode();
        let entry = Incoming::Entry {
            log: [5; 16],
            seq: 300,
            body: &[9; 200],
        };
        assert_eq!(Dialect::Unhidra.read(&frame).unwrap(), entry);
        assert!(Dialect::Unhidra.read(&frame[..frame.len() - 1]).is_err());
    }

    #[test]
    fn an_answer_names_the_message_by_its_counter() {
        let conversation = ConversationId::from_bytes([5; 16]);
        let appended = ServerFrame::Appended(Appended {
            conversation,
            msg_id: NUMBER.msg_id(),
            attempt: 0,
            dest: None,
            seq: 1,
            server_time: Timestamp::from_millis(1),
        });
        let refused = ServerFrame::Refused(Refused {
            conversation,
            msg_id: NUMBER.msg_id(),
            attempt: 0,
            dest: None,
            reason: Refusal::RateLimited,
            heads: Vec::new(),
            retry_after_ms: 5,
        });
        let read = |frame: &Bytes| format!("{:?}", Dialect::Unhidra.read(frame).unwrap());
        assert_eq!(
            read(&appended.encode()),
            format!("{:?}", Incoming::Accepted(1 << 33))
        );
        let expected = Incoming::Refused(1 << 33, Refusal::RateLimited);
        assert_eq!(read(&refused.encode()), format!("{expected:?}"));
        assert_eq!(
            Dialect::Unhidra.read(&ServerFrame::CaughtUp.encode()).unwrap(),
            Incoming::CaughtUp
        );
    }

    #[test]
    fn what_is_sent_is_a_frame_of_the_protocol() {
        let mut outbox = Outbox::new(1);
        let conversation = ConversationId::from_bytes([5; 16]);
        Dialect::Unhidra
            .send(&mut outbox, conversation, NUMBER, &[7; 200])
            .unwrap();
        Dialect::Unhidra.acknowledge(&mut outbox, [5; 16], 9).unwrap();
        let mut inbox = Inbox::holding(outbox.waiting());
        let mut frames = Vec::new();
        while let Some(Message::Binary(payload)) = inbox.message().unwrap() {
            frames.push(ClientFrame::decode(Bytes::copy_from_slice(payload)).unwrap());
        }
        assert!(matches!(&frames[0], ClientFrame::Append(append) if append.body == vec![7; 200]));
        assert_eq!(frames[1], ClientFrame::Acknowledge { conversation, seq: 9 });
    }
}
