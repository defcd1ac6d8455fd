//! Asking for messages that could not be opened (`docs/protocol/repair-and-lists.md`, Repair).
//!
//! An entry that no session opens waits with its body, and the sending device is asked for a new capsule through its
//! control log. Questions are collected for each device, repeated ever more rarely, and travel in a session that works;
//! where the session itself is what failed, in a new one, and that at most every [`FIRST_PAUSE`], doubling.
//!
//! - [`answer`]: the other side: who is given a capsule again

mod answer;

use std::time::Duration;

use unhidra_chain::codec::{Malformed, Reader};
use unhidra_pair::Address;
use unhidra_types::Timestamp;
use unhidra_wire::content::{Content, MAX_RETRY_IDS, Unopened};

use crate::{
    effects::Need,
    record::{Record, key},
    security::Suspicion,
    step::Step,
    store::{KeyRange, Order, StoreError, Table},
    waiting::{Place, Request},
};

/// The pause before a message is asked for again, and before a second new session for the sake of repair.
const FIRST_PAUSE: Duration = Duration::from_secs(600);
/// The longest of these pauses, each of which is twice as long as the one before.
const MAX_PAUSE: Duration = Duration::from_secs(86_400);
/// What arrives within it is asked for together.
const GATHERING: Duration = Duration::from_secs(5);
/// How soon a bundle that did not come is asked for again.
const BUNDLE_PAUSE: Duration = Duration::from_secs(60);
/// Questions to one device at once; a control log takes 64 of a sender.
const MAX_QUESTIONS: usize = 4;
/// Devices looked at in one step; the others have their turn in the next.
const DEVICES_PER_STEP: usize = 256;
/// When a question is due next, for all devices: the first moment.
const WAKE_AT: &str = "repair wake";

/// How it stands with what one device sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repair {
    /// Something came that no session opened, and nothing since that one did.
    pub(crate) suspect: bool,
    /// The next bundle begins a new session, whatever there is.
    pub(crate) renew: bool,
    /// The pause after the next new session.
    pause: Duration,
    /// When a new session may be begun.
    session_at: Timestamp,
    /// When it was asked last.
    asked_at: Timestamp,
    /// When there is something to ask; the end of time when there is not.
    wake_at: Timestamp,
    /// When it was last told of records of this user's list that it lacks.
    pub(crate) told_at: Timestamp,
    /// A version of its user's list that it claimed and that never came: it blocks nothing any more.
    pub(crate) unproven: u32,
}

/// The end of time.
const NEVER: Timestamp = Timestamp::from_millis(u64::MAX);

impl Repair {
    pub(crate) const fn new() -> Self {
        Self {
            suspect: false,
            renew: false,
            pause: Duration::ZERO,
            session_at: Timestamp::EPOCH,
            asked_at: Timestamp::EPOCH,
            wake_at: NEVER,
            told_at: Timestamp::EPOCH,
            unproven: 0,
        }
    }

    pub(crate) fn key(peer: Address) -> Vec<u8> {
        key(&[peer.user.as_bytes(), peer.device.as_bytes()])
    }

    /// A new session was begun for it.
    pub(crate) const fn renewed(&mut self, now: Timestamp) {
        self.renew = false;
        self.suspect = false;
        self.wake_at = now;
    }
}

impl Step<'_> {
    /// Takes note of an entry that waits for a capsule that opens it.
    pub(crate) fn note_unopened(&mut self, sender: Address, reason: Suspicion) -> Result<(), StoreError> {
        let now = self.now;
        let repair = self.repair_mut(sender)?;
        repair.suspect |= matches!(
            reason,
            Suspicion::NoSession | Suspicion::KeyGone | Suspicion::UnknownPrekey
        );
        let soon = repair.asked_at.saturating_add(GATHERING).max(now);
        repair.wake_at = repair.wake_at.min(soon);
        self.wake_at(soon)
    }

    /// A message was opened: the session with the device works. `repaired` when it had been asked for.
    pub(crate) fn note_opened(&mut self, sender: Address, repaired: Repaired) -> Result<(), StoreError> {
        if !self.repair(sender)?.suspect && repaired == Repaired::No {
            return Ok(());
        }
        let repair = self.repair_mut(sender)?;
        repair.suspect = false;
        if repaired == Repaired::Yes {
            repair.pause = Duration::ZERO;
        }
        Ok(())
    }

    /// Asks for what is due.
    pub(crate) fn ask_for_repair(&mut self) -> Result<(), StoreError> {
        let wake_at = self.number(WAKE_AT)?;
        if wake_at == 0 || self.now < Timestamp::from_millis(wake_at) {
            return Ok(());
        }
        let mut next = NEVER;
        let mut due = Vec::new();
        let rows = self
            .tx
            .scan(Table::Repairs, &KeyRange::all(), Order::Ascending, usize::MAX)?;
        for row in rows {
            let peer = address(&row.key)?;
            let repair = self.repair(peer)?;
            if repair.wake_at <= self.now && due.len() < DEVICES_PER_STEP {
                due.push(peer);
            } else {
                next = next.min(repair.wake_at);
            }
        }
        // Those of this step are not in the store yet.
        for peer in self.changed_repairs() {
            let repair = self.repair(peer)?;
            if repair.wake_at <= self.now && due.len() < DEVICES_PER_STEP && !due.contains(&peer) {
                due.push(peer);
            }
        }
        for peer in due {
            let wake_at = self.ask(peer)?;
            self.repair_mut(peer)?.wake_at = wake_at;
            next = next.min(wake_at);
        }
        self.set_number(WAKE_AT, if next == NEVER { 0 } else { next.as_millis() });
        Ok(())
    }

    /// Asks one device; says when it is to be looked at again.
    fn ask(&mut self, peer: Address) -> Result<Timestamp, StoreError> {
        let now = self.now;
        let known = self.peer(peer.user)?;
        let chain = self.chain(peer.user)?;
        let is_live = chain.is_some_and(|chain| chain.is_live(peer.device, now).is_live())
            && known.is_some_and(|known| known.changed.is_none());
        if !is_live || self.local()?.is_none() {
            return Ok(now.saturating_add(FIRST_PAUSE));
        }
        let (mut due, mut next) = Request::due(self.tx, peer, now)?;
        if due.is_empty() {
            return Ok(next);
        }
        if due.len() > MAX_QUESTIONS * MAX_RETRY_IDS {
            due.truncate(MAX_QUESTIONS * MAX_RETRY_IDS);
            next = now.saturating_add(GATHERING);
        }
        if let Some(later) = self.needs_session(peer)? {
            return Ok(later);
        }
        for requests in due.chunks(MAX_RETRY_IDS) {
            let unopened: Vec<Unopened> = requests
                .iter()
                .filter_map(|(_, request)| request.unopened())
                .collect();
            if !self.say(peer, &Content::Retry(unopened))? {
                return Ok(now.saturating_add(BUNDLE_PAUSE));
            }
        }
        for (place, mut request) in due {
            request.asked(now);
            next = next.min(request.next_at());
            request.keep(self.tx, &place)?;
        }
        self.repair_mut(peer)?.asked_at = now;
        Ok(next)
    }

    /// Sees to a session that can carry a question; `Some` when one has to be begun first, with when to look again.
    fn needs_session(&mut self, peer: Address) -> Result<Option<Timestamp>, StoreError> {
        let now = self.now;
        let has_active = self.sessions(peer)?.active().is_some();
        let repair = self.repair(peer)?;
        let may_begin = now >= repair.session_at;
        match (has_active, repair.suspect, may_begin) {
            // A session that was begun for repair lately is the best there is.
            (true, false, _) | (true, true, false) => return Ok(None),
            (false, _, false) => return Ok(Some(repair.session_at)),
            (_, _, true) => {}
        }
        let repair = self.repair_mut(peer)?;
        repair.renew = true;
        repair.pause = (repair.pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE);
        repair.session_at = now.saturating_add(repair.pause);
        self.effects.needs.insert(Need::Bundles {
            user: peer.user,
            devices: vec![peer.device],
        });
        Ok(Some(now.saturating_add(BUNDLE_PAUSE)))
    }

    /// Lets the next look at questions be no later than `at`.
    pub(crate) fn wake_at(&mut self, at: Timestamp) -> Result<(), StoreError> {
        let wake_at = self.number(WAKE_AT)?;
        if wake_at == 0 || at.as_millis() < wake_at {
            self.set_number(WAKE_AT, at.as_millis().max(1));
        }
        Ok(())
    }
}

/// Whether a message that was opened had been asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repaired {
    Yes,
    No,
}

/// The pause after a message was asked for so many times.
pub(crate) fn pause_after(asks: u8) -> Duration {
    let doublings = u32::from(asks.saturating_sub(1)).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(MAX_PAUSE)
}

fn address(key: &[u8]) -> Result<Address, StoreError> {
    let mut reader = Reader::new(key);
    let damaged = |Malformed| StoreError::Damaged(Table::Repairs);
    Ok(Address {
        user: unhidra_types::UserId::from_bytes(reader.array().map_err(damaged)?),
        device: unhidra_types::DeviceId::from_bytes(reader.array().map_err(damaged)?),
    })
}

impl Record for Repair {
    const TABLE: Table = Table::Repairs;

    /// `flags(1: 1 suspect, 2 renew) pause(8) session_at(8) asked_at(8) wake_at(8) told_at(8) unproven(4)`.
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.suspect) | u8::from(self.renew) << 1);
        out.extend(self.pause.as_secs().to_be_bytes());
        for at in [self.session_at, self.asked_at, self.wake_at, self.told_at] {
            out.extend(at.as_millis().to_be_bytes());
        }
        out.extend(self.unproven.to_be_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let flags = reader.u8()?;
        if flags > 3 {
            return Err(Malformed);
        }
        Ok(Self {
            suspect: flags & 1 != 0,
            renew: flags & 2 != 0,
            pause: Duration::from_secs(reader.u64()?),
            session_at: Timestamp::from_millis(reader.u64()?),
            asked_at: Timestamp::from_millis(reader.u64()?),
            wake_at: Timestamp::from_millis(reader.u64()?),
            told_at: Timestamp::from_millis(reader.u64()?),
            unproven: reader.u32()?,
        })
    }
}

/// Where a message waits, for the sake of those who look it up by itself.
pub(crate) const fn place_of(deliver: &unhidra_wire::frame::Deliver) -> Place {
    Place {
        sender: Address {
            user: deliver.sender,
            device: deliver.sender_device,
        },
        conversation: deliver.conversation,
        msg_id: deliver.msg_id,
    }
}
