//! Entries that can't be opened or understood yet, kept with everything that a later attempt needs.
//!
//! Each has a small row beside it, by which it is found by its message and by its sender, and which says when it is to be
//! asked for.

use std::time::Duration;

use bytes::Bytes;
use unhidra_chain::codec::{Malformed, Reader};
use unhidra_pair::Address;
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId};
use unhidra_wire::{
    content::{Unopened, UnopenedReason},
    frame::{Capsule, CapsuleKind, Deliver},
};

use crate::{
    outbox::LIFETIME,
    record::{Record, key, read_bytes, write_bytes},
    repair::pause_after,
    security::Suspicion,
    store::{KeyRange, Order, StoreError, Table, Transaction},
};

/// Entries kept waiting, of all conversations together; the oldest go first.
pub(crate) const MAX_WAITING: u64 = 1_000;
/// Bytes of their bodies and capsules; the oldest go first.
pub(crate) const MAX_WAITING_BYTES: u64 = 64 * 1024 * 1024;
/// How long an entry merely waits before that is said: 30 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a person is told of an entry that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingState {
    /// It was asked for again, a moment ago.
    Waiting,
    /// It could not be opened yet: it is asked for, now and then.
    Unopened,
    /// It was not given again in seven days.
    Lost,
    /// It was altered on its way, and is not asked for.
    Altered,
    /// It needs a newer version of this program.
    NeedsNewerVersion,
}

impl WaitingState {
    /// Its name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Unopened => "unopened",
            Self::Lost => "lost",
            Self::Altered => "altered",
            Self::NeedsNewerVersion => "unsupported",
        }
    }

    /// A sentence fragment for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Waiting => "waiting for this message",
            Self::Unopened => "this message could not be opened yet",
            Self::Lost => "this message is lost",
            Self::Altered => "this message was altered in transit",
            Self::NeedsNewerVersion => "this message needs a newer version of unhidra",
        }
    }
}

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
    /// What a person is told of it.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> WaitingState {
        match self.reason {
            Suspicion::BadTag => WaitingState::Altered,
            Suspicion::Unsupported => WaitingState::NeedsNewerVersion,
            _ if now.since(self.since) >= LIFETIME => WaitingState::Lost,
            _ if now.since(self.since) >= PATIENCE => WaitingState::Unopened,
            _ => WaitingState::Waiting,
        }
    }

    /// Where it is found by its message.
    pub(crate) const fn place(&self) -> Place {
        Place {
            sender: Address {
                user: self.sender,
                device: self.sender_device,
            },
            conversation: self.conversation,
            msg_id: self.msg_id,
        }
    }

    /// Bytes that count against [`MAX_WAITING_BYTES`].
    pub(crate) fn bytes(&self) -> u64 {
        let capsule = self.capsule.as_ref().map_or(0, |(_, bytes)| bytes.len());
        u64::try_from(self.body.len() + capsule).unwrap_or(u64::MAX)
    }

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

/// What tells one waiting entry from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) sender: Address,
    pub(crate) conversation: ConversationId,
    pub(crate) msg_id: MsgId,
}

impl Place {
    fn key(&self) -> Vec<u8> {
        key(&[
            self.sender.user.as_bytes(),
            self.sender.device.as_bytes(),
            self.conversation.as_bytes(),
            self.msg_id.as_bytes(),
        ])
    }

    fn from_key(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut reader = Reader::new(bytes);
        let damaged = |Malformed| StoreError::Damaged(Table::Requests);
        Ok(Self {
            sender: Address {
                user: UserId::from_bytes(reader.array().map_err(damaged)?),
                device: DeviceId::from_bytes(reader.array().map_err(damaged)?),
            },
            conversation: ConversationId::from_bytes(reader.array().map_err(damaged)?),
            msg_id: MsgId::from_bytes(reader.array().map_err(damaged)?),
        })
    }
}

/// The small row of a waiting entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The number of the entry.
    pub(crate) number: u64,
    msg: (ConversationId, MsgId),
    reason: Suspicion,
    since: Timestamp,
    asks: u8,
    next_at: Timestamp,
}

impl Request {
    pub(crate) const fn new(number: u64, waiting: &Waiting) -> Self {
        Self {
            number,
            msg: (waiting.conversation, waiting.msg_id),
            reason: waiting.reason,
            since: waiting.since,
            asks: 0,
            next_at: waiting.since,
        }
    }

    /// What is asked; `None` when asking can't help.
    pub(crate) const fn unopened(&self) -> Option<Unopened> {
        let reason = match self.reason {
            Suspicion::NoSession => UnopenedReason::NoHeaderKey,
            Suspicion::KeyGone => UnopenedReason::KeyGone,
            Suspicion::UnknownPrekey => UnopenedReason::UnknownPrekey,
            Suspicion::SkipTooFar => UnopenedReason::SkipTooFar,
            Suspicion::NoCapsule => UnopenedReason::NoCapsule,
            _ => return None,
        };
        let (conversation, msg_id) = self.msg;
        Some(Unopened {
            conversation,
            msg_id,
            reason,
        })
    }

    /// Notes that its sender was asked for it at `now`, and when to ask again.
    pub(crate) fn asked(&mut self, now: Timestamp) {
        self.asks = self.asks.saturating_add(1);
        self.next_at = now.saturating_add(pause_after(self.asks));
    }

    pub(crate) const fn next_at(&self) -> Timestamp {
        self.next_at
    }

    pub(crate) fn find(tx: &mut dyn Transaction, place: &Place) -> Result<Option<Self>, StoreError> {
        Self::load(tx, &place.key())
    }

    pub(crate) fn keep(&self, tx: &mut dyn Transaction, place: &Place) -> Result<(), StoreError> {
        self.save(tx, &place.key())
    }

    pub(crate) fn forget(tx: &mut dyn Transaction, place: &Place) -> Result<(), StoreError> {
        tx.delete(Table::Requests, &place.key()).map(drop)
    }

    /// What is to be asked of a device now, the oldest first, and when the next of the others is due.
    pub(crate) fn due(
        tx: &mut dyn Transaction,
        device: Address,
        now: Timestamp,
    ) -> Result<(Vec<(Place, Self)>, Timestamp), StoreError> {
        let prefix = key(&[device.user.as_bytes(), device.device.as_bytes()]);
        let rows = tx.scan(
            Table::Requests,
            &KeyRange::prefix(&prefix),
            Order::Ascending,
            usize::MAX,
        )?;
        let mut next = Timestamp::from_millis(u64::MAX);
        let mut due = Vec::new();
        for row in rows {
            let request = Self::decode(&row.value)?;
            if request.unopened().is_none() || now.since(request.since) >= LIFETIME {
                continue;
            }
            if request.next_at <= now {
                due.push((Place::from_key(&row.key)?, request));
            } else {
                next = next.min(request.next_at);
            }
        }
        due.sort_unstable_by_key(|(_, request)| request.number);
        Ok((due, next))
    }
}

impl Record for Request {
    const TABLE: Table = Table::Requests;

    /// `number(8) conversation(16) msg_id(16) reason(1) since(8) asks(1) next_at(8)`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.number.to_be_bytes());
        out.extend(self.msg.0.as_bytes());
        out.extend(self.msg.1.as_bytes());
        out.push(self.reason.number());
        out.extend(self.since.as_millis().to_be_bytes());
        out.push(self.asks);
        out.extend(self.next_at.as_millis().to_be_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            number: reader.u64()?,
            msg: (
                ConversationId::from_bytes(reader.array()?),
                MsgId::from_bytes(reader.array()?),
            ),
            reason: Suspicion::from_number(reader.u8()?).ok_or(Malformed)?,
            since: Timestamp::from_millis(reader.u64()?),
            asks: reader.u8()?,
            next_at: Timestamp::from_millis(reader.u64()?),
        })
    }
}
