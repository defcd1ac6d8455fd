//! Own messages on their way out: the exact bytes of each, and a queue of what is still to be done.
//!
//! An entry is written once as a draft or sealed, and again only when it is sealed anew for changed device lists. What
//! changes often, its state, is a small record of its own. Accepted entries stay for [`LIFETIME`], and no longer than
//! [`MAX_OUTBOX_ENTRIES`] newer ones, so that a device can still be given its capsule.

mod stored;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use unhidra_pair::{Address, Capsule as BodyKey, Kind};
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId, limits::MAX_OUTBOX_ENTRIES};
use unhidra_wire::frame::{Append, Capsule, CapsuleKind, ListVersion};

use crate::{
    effects::Failure,
    peer::Peer,
    record::{Record, key, last_number},
    store::{KeyRange, Order, StoreError, Table, Transaction},
};

/// How long an entry can be given to a device that lacks it: 7 d.
pub(crate) const LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// Entries that are read at once to be forgotten.
const FORGOTTEN_AT_ONCE: usize = 256;

/// The number of an entry: entries leave in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryNumber(pub(crate) u64);

/// One message and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) conversation: ConversationId,
    pub(crate) msg_id: MsgId,
    /// Which answer to a request for repair it is; 0 for everything else.
    pub(crate) attempt: u8,
    /// The one device that it is for, when that device was owed it or asked for it; else everyone.
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
    /// `None` for what travels without one: repairs, and what is said to a device itself.
    pub(crate) body: Option<SealedBody>,
    /// The lists that the capsules were sealed for.
    pub(crate) lists: Vec<ListVersion>,
    pub(crate) capsules: Vec<SealedCapsule>,
}

/// A body object, sealed once.
#[derive(Clone, Debug)]
pub(crate) struct SealedBody {
    pub(crate) key: BodyKey,
    pub(crate) object: Bytes,
}

/// What one device gets, and the certificate by which it was a recipient.
#[derive(Clone, Debug)]
pub(crate) struct SealedCapsule {
    pub(crate) device: DeviceId,
    pub(crate) cert_hash: [u8; 32],
    pub(crate) kind: CapsuleKind,
    pub(crate) bytes: Bytes,
}

impl SealedCapsule {
    pub(crate) fn new(device: DeviceId, cert_hash: [u8; 32], kind: Kind, bytes: Vec<u8>) -> Self {
        Self {
            device,
            cert_hash,
            kind: match kind {
                Kind::Prekey => CapsuleKind::Prekey,
                Kind::Ratchet => CapsuleKind::Ratchet,
            },
            bytes: Bytes::from(bytes),
        }
    }
}

/// A device as [`Queued::owed`] lists it.
pub(crate) const fn parts(address: Address) -> (UserId, DeviceId) {
    (address.user, address.device)
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
    /// The server had taken it and does not know it any more: nobody else gets it now.
    pub(crate) again: bool,
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
            attempt: self.attempt,
            dest: self.dest,
            list_versions: sealed.lists.clone(),
            body: sealed
                .body
                .as_ref()
                .map(|body| body.object.clone())
                .unwrap_or_default(),
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
        Self::find_attempt(tx, conversation, msg_id, dest, 0)
    }

    /// The entry that a frame of the server is about.
    pub(crate) fn find_attempt(
        tx: &mut dyn Transaction,
        conversation: ConversationId,
        msg_id: MsgId,
        dest: Option<DeviceId>,
        attempt: u8,
    ) -> Result<Option<EntryNumber>, StoreError> {
        let key = index_key(conversation, msg_id, dest, attempt);
        tx.get(Table::OutboxIndex, &key)?
            .map(|number| last_number(Table::OutboxIndex, &number).map(EntryNumber))
            .transpose()
    }

    /// Forgets the entries that the `added` newest, up to `newest`, push beyond the bound, unless they are still queued.
    pub(crate) fn forget_oldest(
        tx: &mut dyn Transaction,
        newest: EntryNumber,
        added: u64,
    ) -> Result<(), StoreError> {
        let bound = u64::try_from(MAX_OUTBOX_ENTRIES).unwrap_or(u64::MAX);
        let Some(last) = newest.0.checked_sub(bound) else {
            return Ok(());
        };
        // Looking up each in the queue would cost as much as forgetting it, and it is hardly ever there.
        let unsent = Queued::first(tx, &State::PENDING)?;
        let held = Queued::first(tx, &[State::Owed, State::Failed])?;
        let is_before = |first: Option<EntryNumber>, number| first.is_none_or(|first| number < first);
        let end = EntryNumber(last.saturating_add(1)).to_key();
        let mut after = EntryNumber(last.saturating_sub(added));
        loop {
            let range = KeyRange::all().after(&after.to_key()).before(&end);
            let rows = tx.scan(Self::TABLE, &range, Order::Ascending, FORGOTTEN_AT_ONCE)?;
            let is_last = rows.len() < FORGOTTEN_AT_ONCE;
            for row in rows {
                let number = EntryNumber(last_number(Self::TABLE, &row.key)?);
                after = number;
                if !is_before(unsent, number) && Queued::is_unsent(tx, number)? {
                    continue;
                }
                let entry = Self::decode(&row.value)?;
                if is_before(held, number) {
                    entry.erase(tx, number)?;
                } else {
                    entry.forget(tx, number)?;
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Forgets accepted entries that were sealed before `cutoff`, looking at no more than `limit` from `after` on.
    /// Answers with the last one that needs no second look.
    pub(crate) fn forget_old(
        tx: &mut dyn Transaction,
        after: EntryNumber,
        cutoff: Timestamp,
        limit: usize,
    ) -> Result<EntryNumber, StoreError> {
        let mut last = after;
        let range = KeyRange::all().after(&after.to_key());
        for row in tx.scan(Self::TABLE, &range, Order::Ascending, limit)? {
            let number = EntryNumber(last_number(Self::TABLE, &row.key)?);
            let entry = Self::decode(&row.value)?;
            let is_young = entry
                .sealed
                .as_ref()
                .is_none_or(|sealed| sealed.sent_at >= cutoff);
            if is_young || Queued::is_unsent(tx, number)? {
                break;
            }
            // What was given up stays to be looked at, as long as there is room.
            if Queued::load(tx, &queue_key(State::Failed, number))?.is_none() {
                entry.forget(tx, number)?;
            }
            last = number;
        }
        Ok(last)
    }

    pub(crate) fn forget(&self, tx: &mut dyn Transaction, number: EntryNumber) -> Result<(), StoreError> {
        tx.delete(Table::Queue, &queue_key(State::Owed, number))?;
        tx.delete(Table::Queue, &queue_key(State::Failed, number))?;
        self.erase(tx, number)
    }

    /// [`Entry::forget`] for an entry that is not queued.
    fn erase(&self, tx: &mut dyn Transaction, number: EntryNumber) -> Result<(), StoreError> {
        tx.delete(Table::OutboxIndex, &self.index_key())?;
        tx.delete(Self::TABLE, &number.to_key())?;
        Ok(())
    }

    fn index_key(&self) -> Vec<u8> {
        index_key(self.conversation, self.msg_id, self.dest, self.attempt)
    }
}

impl EntryNumber {
    pub(crate) const fn to_key(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl State {
    const ALL: [Self; 5] = [Self::Draft, Self::Ready, Self::Stale, Self::Owed, Self::Failed];
    /// Not yet accepted by the server.
    pub(crate) const PENDING: [Self; 3] = [Self::Draft, Self::Ready, Self::Stale];

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
            again: false,
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

    /// The first entry that is in one of `states`.
    fn first(tx: &mut dyn Transaction, states: &[State]) -> Result<Option<EntryNumber>, StoreError> {
        let mut first: Option<EntryNumber> = None;
        for state in states {
            let range = KeyRange::prefix(&[state.to_byte()]);
            for row in tx.scan(Self::TABLE, &range, Order::Ascending, 1)? {
                let number = EntryNumber(last_number(Self::TABLE, &row.key)?);
                first = Some(first.map_or(number, |first| first.min(number)));
            }
        }
        Ok(first)
    }

    /// Whether an entry is still to reach the server.
    pub(crate) fn is_unsent(tx: &mut dyn Transaction, number: EntryNumber) -> Result<bool, StoreError> {
        for state in [State::Draft, State::Ready, State::Stale] {
            if tx.get(Self::TABLE, &queue_key(state, number))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
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

fn queue_key(state: State, number: EntryNumber) -> Vec<u8> {
    key(&[&[state.to_byte()], &number.to_key()])
}

fn index_key(conversation: ConversationId, msg_id: MsgId, dest: Option<DeviceId>, attempt: u8) -> Vec<u8> {
    let dest = dest.map_or([0; 16], |device| *device.as_bytes());
    let key = key(&[msg_id.as_bytes(), conversation.as_bytes(), &dest]);
    match attempt {
        0 => key,
        attempt => [key.as_slice(), &[attempt]].concat(),
    }
}
