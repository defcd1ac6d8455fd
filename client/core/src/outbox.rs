//! Own messages on their way out: the exact bytes of each, and a queue of what is still to be done.
//!
//! An entry is written once as a draft or sealed, and again only when it is sealed anew for changed device lists. What
//! changes often, its state, is a small record of its own. Entries stay for [`MAX_OUTBOX_ENTRIES`] messages after they
//! were accepted, so that a device can still be given its capsule.

use std::collections::BTreeMap;

use bytes::Bytes;
use unhidra_chain::codec::{Malformed, Reader};
use unhidra_pair::Capsule as BodyKey;
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId, limits::MAX_OUTBOX_ENTRIES};
use unhidra_wire::frame::{Append, Capsule, CapsuleKind, ListVersion};

use crate::{
    effects::Failure,
    peer::Peer,
    record::{Record, key, last_number, read_bytes, read_option, write_bytes, write_option},
    store::{KeyRange, Order, StoreError, Table, Transaction},
};

/// The number of an entry: entries leave in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryNumber(pub(crate) u64);

/// One message and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) conversation: ConversationId,
    pub(crate) msg_id: MsgId,
    /// The one device that it is for, when that device was owed it; else everyone.
    pub(crate) dest: Option<DeviceId>,
    /// The encoded content.
    pub(crate) content: Vec<u8>,
    /// `None` while it is a draft.
    pub(crate) sealed: Option<SealedMessage>,
}

/// The bytes that leave, and what is needed to seal for one device more.
#[derive(Clone, Debug)]
pub(crate) struct SealedMessage {
    pub(crate) sent_at: Timestamp,
    /// The key and hash of the body.
    pub(crate) key: BodyKey,
    pub(crate) body: Bytes,
    /// The lists that the capsules were sealed for.
    pub(crate) lists: Vec<ListVersion>,
    pub(crate) capsules: Vec<SealedCapsule>,
}

/// What one device gets, and the certificate by which it was a recipient.
#[derive(Clone, Debug)]
pub(crate) struct SealedCapsule {
    pub(crate) device: DeviceId,
    pub(crate) cert_hash: [u8; 32],
    pub(crate) kind: CapsuleKind,
    pub(crate) bytes: Bytes,
}

/// What is still to be done for an entry. The order is that of the queue's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not sealed yet: something is needed first.
    Draft,
    /// To be sent, and sent again until it is answered.
    Ready,
    /// Refused for stale lists: to be sealed for the current ones.
    Stale,
    /// Accepted, but some devices are still to get it.
    Owed,
    /// Given up.
    Failed,
}

/// One row of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) conversation: ConversationId,
    pub(crate) msg_id: MsgId,
    /// How often it was sealed for other lists.
    pub(crate) rounds: u8,
    pub(crate) failure: Option<Failure>,
    /// Live devices without a capsule, and their users.
    pub(crate) owed: Vec<(UserId, DeviceId)>,
}

impl Entry {
    /// The frame, unless the entry is a draft.
    pub(crate) fn append(&self) -> Option<Append> {
        let sealed = self.sealed.as_ref()?;
        Some(Append {
            conversation: self.conversation,
            msg_id: self.msg_id,
            attempt: 0,
            dest: self.dest,
            list_versions: sealed.lists.clone(),
            body: sealed.body.clone(),
            capsules: sealed
                .capsules
                .iter()
                .map(|capsule| Capsule {
                    device: capsule.device,
                    kind: capsule.kind,
                    sealed: capsule.bytes.clone(),
                })
                .collect(),
        })
    }

    pub(crate) fn load_at(tx: &mut dyn Transaction, number: EntryNumber) -> Result<Self, StoreError> {
        Self::load(tx, &number.to_key())?.ok_or(StoreError::Damaged(Self::TABLE))
    }

    /// Writes the entry and makes it findable by its message.
    pub(crate) fn save_at(&self, tx: &mut dyn Transaction, number: EntryNumber) -> Result<(), StoreError> {
        tx.put(Table::OutboxIndex, &self.index_key(), &number.to_key())?;
        self.save(tx, &number.to_key())
    }

    /// The entry of a message for everyone, or for the one device that was owed it.
    pub(crate) fn find(
        tx: &mut dyn Transaction,
        conversation: ConversationId,
        msg_id: MsgId,
        dest: Option<DeviceId>,
    ) -> Result<Option<EntryNumber>, StoreError> {
        let key = index_key(conversation, msg_id, dest);
        tx.get(Table::OutboxIndex, &key)?
            .map(|number| last_number(Table::OutboxIndex, &number).map(EntryNumber))
            .transpose()
    }

    /// Forgets the entry that `newest` pushes beyond the bound, unless it is still queued.
    pub(crate) fn forget_oldest(tx: &mut dyn Transaction, newest: EntryNumber) -> Result<(), StoreError> {
        let bound = u64::try_from(MAX_OUTBOX_ENTRIES).unwrap_or(u64::MAX);
        let Some(number) = newest.0.checked_sub(bound).map(EntryNumber) else {
            return Ok(());
        };
        let Some(entry) = Self::load(tx, &number.to_key())? else {
            return Ok(());
        };
        for state in [State::Draft, State::Ready, State::Stale] {
            if Queued::load(tx, &queue_key(state, number))?.is_some() {
                return Ok(());
            }
        }
        tx.delete(Table::Queue, &queue_key(State::Owed, number))?;
        tx.delete(Table::Queue, &queue_key(State::Failed, number))?;
        tx.delete(Table::OutboxIndex, &entry.index_key())?;
        tx.delete(Self::TABLE, &number.to_key())?;
        Ok(())
    }

    fn index_key(&self) -> Vec<u8> {
        index_key(self.conversation, self.msg_id, self.dest)
    }
}

impl EntryNumber {
    const fn to_key(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl State {
    const ALL: [Self; 5] = [Self::Draft, Self::Ready, Self::Stale, Self::Owed, Self::Failed];

    const fn to_byte(self) -> u8 {
        match self {
            Self::Draft => 0,
            Self::Ready => 1,
            Self::Stale => 2,
            Self::Owed => 3,
            Self::Failed => 4,
        }
    }
}

impl Queued {
    pub(crate) const fn new(conversation: ConversationId, msg_id: MsgId) -> Self {
        Self {
            conversation,
            msg_id,
            rounds: 0,
            failure: None,
            owed: Vec::new(),
        }
    }

    pub(crate) fn enqueue(
        &self,
        tx: &mut dyn Transaction,
        state: State,
        number: EntryNumber,
    ) -> Result<(), StoreError> {
        self.save(tx, &queue_key(state, number))
    }

    /// Takes an entry out of the queue if it is there in `state`.
    pub(crate) fn dequeue(
        tx: &mut dyn Transaction,
        state: State,
        number: EntryNumber,
    ) -> Result<Option<Self>, StoreError> {
        let queued = Self::load(tx, &queue_key(state, number))?;
        if queued.is_some() {
            tx.delete(Self::TABLE, &queue_key(state, number))?;
        }
        Ok(queued)
    }

    /// The state of an entry, if something is still to be done for it.
    pub(crate) fn state_of(
        tx: &mut dyn Transaction,
        number: EntryNumber,
    ) -> Result<Option<(State, Self)>, StoreError> {
        for state in State::ALL {
            if let Some(queued) = Self::load(tx, &queue_key(state, number))? {
                return Ok(Some((state, queued)));
            }
        }
        Ok(None)
    }

    /// The first `limit` entries in `state` after `after`.
    pub(crate) fn list(
        tx: &mut dyn Transaction,
        state: State,
        after: Option<EntryNumber>,
        limit: usize,
    ) -> Result<Vec<(EntryNumber, Self)>, StoreError> {
        let mut range = KeyRange::prefix(&[state.to_byte()]);
        if let Some(after) = after {
            range = range.after(&queue_key(state, after));
        }
        tx.scan(Self::TABLE, &range, Order::Ascending, limit)?
            .into_iter()
            .map(|row| {
                let number = EntryNumber(last_number(Self::TABLE, &row.key)?);
                Ok((number, Self::decode(&row.value)?))
            })
            .collect()
    }
}

/// The first `limit` sealed entries after `after`, as they are sent, without those that are held back: nothing goes to
/// a user below a required list version (`docs/protocol/repair-and-lists.md`).
pub(crate) fn outgoing(
    tx: &mut dyn Transaction,
    after: Option<EntryNumber>,
    limit: usize,
) -> Result<Vec<(EntryNumber, Append)>, StoreError> {
    let mut may_seal: BTreeMap<UserId, bool> = BTreeMap::new();
    let (mut frames, mut after) = (Vec::new(), after);
    while frames.len() < limit {
        let ready = Queued::list(tx, State::Ready, after, limit - frames.len())?;
        let Some((last, _)) = ready.last() else { break };
        after = Some(*last);
        for (number, _) in ready {
            let append = Entry::load_at(tx, number)?.append();
            let append = append.ok_or(StoreError::Damaged(Table::Outbox))?;
            let mut is_held_back = false;
            for list in &append.list_versions {
                is_held_back |= !match may_seal.get(&list.user) {
                    Some(known) => *known,
                    None => {
                        let known = Peer::load(tx, list.user.as_bytes())?.is_some_and(|peer| peer.may_seal());
                        may_seal.insert(list.user, known);
                        known
                    }
                };
            }
            if !is_held_back {
                frames.push((number, append));
            }
        }
    }
    Ok(frames)
}

impl Record for Entry {
    const TABLE: Table = Table::Outbox;

    /// `conversation(16) msg_id(16) dest?(1 | 16) content sealed(1)`, then, if sealed, `sent_at(8) K_b|hash(64)
    /// lists(1 | user(16) version(4) hash(32) each) capsules(1 | device(16) cert_hash(32) kind(1) bytes each) body`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.conversation.as_bytes());
        out.extend(self.msg_id.as_bytes());
        write_option(out, self.dest.as_ref().map(DeviceId::as_bytes));
        write_bytes(out, &self.content);
        out.push(u8::from(self.sealed.is_some()));
        if let Some(sealed) = &self.sealed {
            sealed.write(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            conversation: ConversationId::from_bytes(reader.array()?),
            msg_id: MsgId::from_bytes(reader.array()?),
            dest: read_option(reader)?.map(DeviceId::from_bytes),
            content: read_bytes(reader)?.to_vec(),
            sealed: match reader.u8()? {
                0 => None,
                1 => Some(SealedMessage::read(reader)?),
                _ => return Err(Malformed),
            },
        })
    }
}

impl SealedMessage {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.sent_at.as_millis().to_be_bytes());
        out.extend(self.key.to_bytes().expose());
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
        write_bytes(out, &self.body);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let sent_at = Timestamp::from_millis(reader.u64()?);
        let key = BodyKey::from_bytes(&reader.array::<{ BodyKey::BYTES }>()?).map_err(|_| Malformed)?;
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
        Ok(Self {
            sent_at,
            key,
            body: Bytes::copy_from_slice(read_bytes(reader)?),
            lists,
            capsules,
        })
    }
}

impl Record for Queued {
    const TABLE: Table = Table::Queue;

    /// `conversation(16) msg_id(16) rounds(1) failure(1) owed(1 | user(16) device(16) each)`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.conversation.as_bytes());
        out.extend(self.msg_id.as_bytes());
        out.push(self.rounds);
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
            rounds,
            failure,
            owed,
        })
    }
}

fn queue_key(state: State, number: EntryNumber) -> Vec<u8> {
    key(&[&[state.to_byte()], &number.to_key()])
}

fn index_key(conversation: ConversationId, msg_id: MsgId, dest: Option<DeviceId>) -> Vec<u8> {
    let dest = dest.map_or([0; 16], |device| *device.as_bytes());
    key(&[msg_id.as_bytes(), conversation.as_bytes(), &dest])
}

/// Lists and capsules are bounded by the devices of two users, so one byte counts them.
fn count(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}
