//! Device lists between devices: telling a peer what it lacks, and what a claim of a longer list can do.
//!
//! A device that reads an older version of its own user's list in a header tells the sender the records after it, so that
//! a server which holds a revocation back is overruled by the first message (LISTHEAD). A device that reads a longer list
//! of the sender's user sends nothing to that user and asks the claimant for the records. A claim that nobody ever
//! proves lapses after [`CLAIM_LIFETIME`], with a security event.

use std::time::Duration;

use unhidra_chain::{
    ListVersion,
    codec::{Malformed, Reader},
};
use unhidra_crypto::hash::sha256;
use unhidra_pair::Address;
use unhidra_types::{ConversationId, DeviceId, Timestamp, UserId, limits::MAX_CHAIN_RECORDS};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    content::{Content, MAX_LIST_RECORDS},
    rest,
};

use crate::{
    record::{Record, key},
    security::{SecurityEvent, Suspicion},
    step::Step,
    store::{KeyRange, Order, StoreError, Table},
};

/// A device is told, or asked, at most once in this time.
const TELLING_PAUSE: Duration = Duration::from_secs(3_600);
/// How long a claim of a longer list stops sending: 7 d.
const CLAIM_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// A version of its user's list that a device has named, and that is not held.
struct Claim {
    version: ListVersion,
    since: Timestamp,
}

impl Step<'_> {
    /// Reads the versions in the header of an authentic message.
    pub(crate) fn heed_lists(
        &mut self,
        sender: Address,
        (own_list, peer_list): (ListVersion, ListVersion),
        archived_since: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.require_list(sender, own_list, archived_since)?;
        let held = self.own_version()?;
        if peer_list < held {
            self.tell_list(sender, peer_list)?;
        }
        Ok(())
    }

    /// A device names a longer list of its user than the one held: nothing is sealed for that user until it is here.
    ///
    /// What was sealed before the user's identity was replaced counts in the list of the old genesis.
    fn require_list(
        &mut self,
        sender: Address,
        version: ListVersion,
        archived_since: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let Some(mut peer) = self.peer(sender.user)? else {
            return Ok(());
        };
        let is_of_another_genesis = archived_since.is_some_and(|since| since <= peer.since);
        if is_of_another_genesis {
            return Ok(());
        }
        let Some(head) = peer.head.filter(|head| head.version < version) else {
            return Ok(());
        };
        let is_possible = usize::try_from(version.0).is_ok_and(|version| version < MAX_CHAIN_RECORDS);
        if !is_possible {
            return self.doubt(sender);
        }
        // A device whose claim came to nothing is not believed again before that version is reached.
        if self.repair(sender)?.unproven > head.version.0 {
            return Ok(());
        }
        let place = Claim::key(sender);
        if Claim::load(self.tx, &place)?.is_none_or(|claim| claim.version < version) {
            // A higher claim goes on with the time of the first, so that no device can stop sending for longer.
            let since = Claim::load(self.tx, &place)?.map_or(self.now, |claim| claim.since);
            Claim { version, since }.save(self.tx, &place)?;
        }
        if peer.required < version {
            peer.required = version;
            peer.save(self.tx, sender.user.as_bytes())?;
            self.need_chain(sender.user)?;
        }
        self.ask_list(sender)
    }

    /// Tells a device the records of this user's list after `held`.
    fn tell_list(&mut self, peer: Address, held: ListVersion) -> Result<(), StoreError> {
        let Some(own) = self.chain(self.me.user)? else {
            return Ok(());
        };
        let records: Vec<Vec<u8>> = own
            .records_after(held)
            .take(MAX_LIST_RECORDS)
            .map(<[u8]>::to_vec)
            .collect();
        let from = held.0.saturating_add(1);
        self.tell(peer, &Content::ListHead { from, records })
    }

    /// Asks a device for the records that its claim is about: the version held stands in the header.
    fn ask_list(&mut self, peer: Address) -> Result<(), StoreError> {
        let from = self
            .peer(peer.user)?
            .and_then(|peer| peer.head)
            .map_or(1, |head| head.version.0.saturating_add(1));
        let records = Vec::new();
        self.tell(peer, &Content::ListHead { from, records })
    }

    fn tell(&mut self, peer: Address, content: &Content) -> Result<(), StoreError> {
        let told_at = self.repair(peer)?.told_at;
        let is_due = told_at == Timestamp::EPOCH || self.now.since(told_at) >= TELLING_PAUSE;
        if is_due && self.say(peer, content)? {
            self.repair_mut(peer)?.told_at = self.now;
        }
        Ok(())
    }

    /// Records of the sender's list, which count as if the server had handed them out.
    pub(crate) fn take_list_head(
        &mut self,
        sender: Address,
        from: u32,
        records: Vec<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let Some(last) = records.last() else {
            return Ok(());
        };
        let length = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let head = rest::ChainHead {
            version: from.saturating_add(length).saturating_sub(1),
            hash: Base64Array(sha256(&[last])),
        };
        let answer = rest::ChainRecords {
            records: records.into_iter().map(Base64).collect(),
            head,
        };
        self.learn(sender.user, from, &answer).map(drop)
    }

    /// Drops claims that were met, and lifts what those that nobody proved have stopped.
    pub(crate) fn review_claims(&mut self) -> Result<(), StoreError> {
        let rows = self
            .tx
            .scan(Table::Claims, &KeyRange::all(), Order::Ascending, usize::MAX)?;
        for row in rows {
            let claimant = Claim::claimant(&row.key)?;
            let claim = Claim::decode(&row.value)?;
            let chain = self.chain(claimant.user)?;
            let replaced = self
                .peer(claimant.user)?
                .map_or(Timestamp::EPOCH, |peer| peer.since);
            if claim.since <= replaced {
                // It was about the list of an identity that is no more.
                self.tx.delete(Table::Claims, &row.key)?;
                continue;
            }
            let is_met = chain
                .as_ref()
                .is_none_or(|chain| chain.head().version >= claim.version);
            let is_revoked = chain.as_ref().is_some_and(|chain| {
                chain
                    .device(claimant.device)
                    .is_some_and(|device| device.revoked_at().is_some())
            });
            if !is_met && !is_revoked && self.now.since(claim.since) < CLAIM_LIFETIME {
                continue;
            }
            self.tx.delete(Table::Claims, &row.key)?;
            if !is_met {
                self.repair_mut(claimant)?.unproven = claim.version.0;
                self.doubt(claimant)?;
                self.require_remaining(claimant.user)?;
            }
        }
        Ok(())
    }

    /// Requires no more than the claims that are left.
    fn require_remaining(&mut self, user: UserId) -> Result<(), StoreError> {
        let Some(mut peer) = self.peer(user)? else {
            return Ok(());
        };
        let mut required = ListVersion(0);
        let range = KeyRange::prefix(user.as_bytes());
        for row in self
            .tx
            .scan(Table::Claims, &range, Order::Ascending, usize::MAX)?
        {
            required = required.max(Claim::decode(&row.value)?.version);
        }
        peer.required = required;
        peer.save(self.tx, user.as_bytes())?;
        self.effects.more = true;
        self.effects.outbox = crate::effects::OutboxChange::Requeued;
        Ok(())
    }

    fn doubt(&mut self, claimant: Address) -> Result<(), StoreError> {
        self.log(&SecurityEvent {
            at: self.now,
            reason: Suspicion::UnprovenList,
            sender: claimant.user,
            device: claimant.device,
            conversation: ConversationId::CONTROL,
            seq: 0,
        })
    }
}

impl Claim {
    fn key(claimant: Address) -> Vec<u8> {
        key(&[claimant.user.as_bytes(), claimant.device.as_bytes()])
    }

    fn claimant(key: &[u8]) -> Result<Address, StoreError> {
        let mut reader = Reader::new(key);
        let damaged = |Malformed| StoreError::Damaged(Table::Claims);
        Ok(Address {
            user: UserId::from_bytes(reader.array().map_err(damaged)?),
            device: DeviceId::from_bytes(reader.array().map_err(damaged)?),
        })
    }
}

impl Record for Claim {
    const TABLE: Table = Table::Claims;

    /// `version(4) since(8)`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.version.0.to_be_bytes());
        out.extend(self.since.as_millis().to_be_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            version: ListVersion(reader.u32()?),
            since: Timestamp::from_millis(reader.u64()?),
        })
    }
}
