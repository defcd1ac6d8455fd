//! One open step of the device: the transaction, and what was loaded in it.
//!
//! Sessions, conversations and numbers are loaded once and written once however many messages the step handles; that
//! is what makes a batch cheap. Nothing here outlives the step but the verified chains.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry as Slot},
    sync::Arc,
};

use unhidra_chain::{Chain, ListHead, ListVersion};
use unhidra_crypto::CryptoRng;
use unhidra_pair::{Address, LocalDevice, SessionSet};
use unhidra_types::{ConversationId, DeviceId, Timestamp, UserId};

use crate::{
    conversation::Conversation,
    effects::{Effects, Need, Notice},
    identity::Identity,
    outbox::{Entry, EntryNumber},
    peer::{Peer, PeerDevice, StoredChain},
    record::{Record, key, last_number},
    repair::Repair,
    security::{MAX_SECURITY_EVENTS, SecurityEvent},
    setback::LastTaken,
    store::{StoreError, Table, Transaction},
};

/// Chains that were verified, by user. A cached chain is used only while its head is the stored one.
#[derive(Default)]
pub(crate) struct ChainCache {
    chains: HashMap<UserId, Arc<Chain>>,
    /// The list versions that the server withholds, as far as that was told.
    withheld: HashMap<UserId, ListVersion>,
}

/// Users kept in memory; when it is full, all go: chains can be restored from the store, and what was told is told
/// again.
const MAX_CACHED_CHAINS: usize = 1_024;
/// Logs whose cursors are kept; entries of further ones are not taken, and come again with every connection.
pub(crate) const MAX_LOGS: u64 = 16_384;
/// Counts the rows of [`Table::Cursors`].
const LOGS: &str = "logs";
/// Counts the entries that the outbox ever had.
pub(crate) const ENTRIES: &str = "outbox";

/// A step.
pub(crate) struct Step<'a> {
    pub(crate) tx: &'a mut dyn Transaction,
    pub(crate) me: &'a Identity,
    pub(crate) now: Timestamp,
    pub(crate) rng: &'a mut dyn CryptoRng,
    pub(crate) effects: Effects,
    chains: &'a mut ChainCache,
    local: Option<LocalDevice>,
    /// By user and device: an id that two users' lists name is two devices.
    sessions: BTreeMap<(UserId, DeviceId), Loaded<SessionSet>>,
    conversations: BTreeMap<ConversationId, Loaded<Option<Conversation>>>,
    counters: BTreeMap<(ConversationId, DeviceId), u64>,
    numbers: BTreeMap<&'static str, u64>,
    cursors: BTreeMap<ConversationId, Loaded<Option<u64>>>,
    repairs: BTreeMap<(UserId, DeviceId), Loaded<Repair>>,
    own_version: Option<ListVersion>,
    /// Entries that this step has put into the outbox.
    pub(crate) enqueued: u64,
    /// The last message that the server has taken, when this step has learnt of it.
    pub(crate) last_taken: Option<LastTaken>,
}

struct Loaded<T> {
    value: T,
    changed: bool,
}

impl<'a> Step<'a> {
    pub(crate) fn begin(
        tx: &'a mut dyn Transaction,
        me: &'a Identity,
        chains: &'a mut ChainCache,
        now: Timestamp,
        rng: &'a mut dyn CryptoRng,
    ) -> Self {
        Self {
            tx,
            me,
            now,
            rng,
            effects: Effects::default(),
            chains,
            local: None,
            sessions: BTreeMap::new(),
            conversations: BTreeMap::new(),
            counters: BTreeMap::new(),
            numbers: BTreeMap::new(),
            cursors: BTreeMap::new(),
            repairs: BTreeMap::new(),
            own_version: None,
            enqueued: 0,
            last_taken: None,
        }
    }

    /// Writes everything that was changed. The step's effects are good once the transaction has committed.
    pub(crate) fn finish(self) -> Result<Effects, StoreError> {
        if let Some(newest) = self.numbers.get(ENTRIES) {
            Entry::forget_oldest(self.tx, EntryNumber(*newest), self.enqueued)?;
        }
        for sessions in self.sessions.into_values() {
            if sessions.changed {
                let key = sessions_key(sessions.value.peer());
                self.tx.put(Table::Sessions, &key, &sessions.value.to_bytes())?;
            }
        }
        for (id, conversation) in self.conversations {
            if let Loaded {
                value: Some(conversation),
                changed: true,
            } = conversation
            {
                conversation.save(self.tx, id.as_bytes())?;
            }
        }
        for ((conversation, device), cseq) in self.counters {
            let key = key(&[conversation.as_bytes(), device.as_bytes()]);
            self.tx.put(Table::Counters, &key, &cseq.to_be_bytes())?;
        }
        for (conversation, cursor) in self.cursors {
            if let Loaded {
                value: Some(seq),
                changed: true,
            } = cursor
            {
                self.tx
                    .put(Table::Cursors, conversation.as_bytes(), &seq.to_be_bytes())?;
            }
        }
        for ((user, device), repair) in self.repairs {
            if repair.changed {
                let place = Repair::key(Address { user, device });
                repair.value.save(self.tx, &place)?;
            }
        }
        if let Some(last) = self.last_taken {
            last.keep(self.tx)?;
        }
        for (name, number) in self.numbers {
            self.tx
                .put(Table::Numbers, name.as_bytes(), &number.to_be_bytes())?;
        }
        Ok(self.effects)
    }

    /// What is known of a user.
    pub(crate) fn peer(&mut self, user: UserId) -> Result<Option<Peer>, StoreError> {
        Peer::load(self.tx, user.as_bytes())
    }

    /// The verified chain held of a user, whatever is due about it.
    pub(crate) fn chain(&mut self, user: UserId) -> Result<Option<Arc<Chain>>, StoreError> {
        let Some(head) = self.peer(user)?.and_then(|peer| peer.head) else {
            return Ok(None);
        };
        if let Some(chain) = self.chains.get(user, head) {
            return Ok(Some(chain));
        }
        let chain = StoredChain::restore(self.tx, user)?.filter(|chain| chain.head() == head);
        let chain = chain
            .map(Arc::new)
            .ok_or(StoreError::Damaged(StoredChain::TABLE))?;
        self.chains.keep(&chain);
        Ok(Some(chain))
    }

    pub(crate) fn keep_chain(&mut self, chain: &Arc<Chain>) -> Result<(), StoreError> {
        self.own_version = None;
        self.chains.keep(chain);
        StoredChain::put(self.tx, chain)
    }

    /// The version of the own user's list held; 0 before there is one.
    pub(crate) fn own_version(&mut self) -> Result<ListVersion, StoreError> {
        if let Some(version) = self.own_version {
            return Ok(version);
        }
        let head = self.peer(self.me.user)?.and_then(|own| own.head);
        let version = head.map_or(ListVersion(0), |head| head.version);
        self.own_version = Some(version);
        Ok(version)
    }

    /// How it stands with what a device sends.
    pub(crate) fn repair(&mut self, peer: Address) -> Result<Repair, StoreError> {
        self.load_repair(peer).map(|loaded| loaded.value)
    }

    /// The same, to be changed.
    pub(crate) fn repair_mut(&mut self, peer: Address) -> Result<&mut Repair, StoreError> {
        let loaded = self.load_repair(peer)?;
        loaded.changed = true;
        Ok(&mut loaded.value)
    }

    fn load_repair(&mut self, peer: Address) -> Result<&mut Loaded<Repair>, StoreError> {
        use std::collections::btree_map::Entry;
        match self.repairs.entry((peer.user, peer.device)) {
            Entry::Occupied(loaded) => Ok(loaded.into_mut()),
            Entry::Vacant(vacant) => {
                let value = Repair::load(self.tx, &Repair::key(peer))?.unwrap_or(Repair::new());
                let changed = false;
                Ok(vacant.insert(Loaded { value, changed }))
            }
        }
    }

    /// The devices whose standing this step has looked at.
    pub(crate) fn changed_repairs(&self) -> Vec<Address> {
        let keys = self.repairs.keys();
        keys.map(|(user, device)| Address {
            user: *user,
            device: *device,
        })
        .collect()
    }

    /// Tells, once for each version, that the server withholds a list that is required.
    pub(crate) fn notice_withheld(&mut self, user: UserId, required: ListVersion) {
        if self.chains.withheld.len() >= MAX_CACHED_CHAINS {
            self.chains.withheld.clear();
        }
        if self.chains.withheld.insert(user, required) != Some(required) {
            self.effects.notices.push(Notice::ListWithheld(user));
        }
    }

    /// This device as its own chain certifies it; `None` before that.
    pub(crate) fn local(&mut self) -> Result<Option<LocalDevice>, StoreError> {
        if self.local.is_none() {
            let own = self.chain(self.me.user)?;
            self.local = own.and_then(|own| self.me.local(&own));
        }
        Ok(self.local.clone())
    }

    /// The sessions with a device; an empty set before the first.
    pub(crate) fn sessions(&mut self, peer: Address) -> Result<&SessionSet, StoreError> {
        match self.sessions.entry((peer.user, peer.device)) {
            std::collections::btree_map::Entry::Occupied(loaded) => Ok(&loaded.into_mut().value),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let value = match self.tx.get(Table::Sessions, &sessions_key(peer))? {
                    Some(bytes) => SessionSet::from_bytes(&bytes)
                        .map_err(|_malformed| StoreError::Damaged(Table::Sessions))?,
                    None => SessionSet::new(peer),
                };
                let changed = false;
                Ok(&vacant.insert(Loaded { value, changed }).value)
            }
        }
    }

    /// Changes the sessions with a device, unless `change` fails.
    pub(crate) fn with_sessions<T, E>(
        &mut self,
        peer: Address,
        change: impl FnOnce(&SessionSet, &mut dyn CryptoRng) -> Result<(SessionSet, T), E>,
    ) -> Result<Result<T, E>, StoreError> {
        self.sessions(peer)?;
        let loaded = self
            .sessions
            .get_mut(&(peer.user, peer.device))
            .ok_or(StoreError::Damaged(Table::Sessions))?;
        Ok(change(&loaded.value, self.rng).map(|(next, result)| {
            loaded.value = next;
            loaded.changed = true;
            result
        }))
    }

    pub(crate) fn set_sessions(&mut self, sessions: SessionSet) {
        let peer = sessions.peer();
        let changed = true;
        self.sessions.insert(
            (peer.user, peer.device),
            Loaded {
                value: sessions,
                changed,
            },
        );
    }

    /// Closes all sessions with a device, both ways.
    pub(crate) fn close_sessions(&mut self, peer: Address) -> Result<(), StoreError> {
        self.sessions.remove(&(peer.user, peer.device));
        self.tx.delete(Table::SendingSince, &sessions_key(peer))?;
        self.tx.delete(Table::Sessions, &sessions_key(peer)).map(drop)
    }

    pub(crate) fn conversation(&mut self, id: ConversationId) -> Result<Option<&Conversation>, StoreError> {
        self.load_conversation(id).map(|loaded| loaded.value.as_ref())
    }

    /// The conversation with `peer`, to be changed; it is made if it is not there.
    pub(crate) fn conversation_with(
        &mut self,
        id: ConversationId,
        peer: UserId,
    ) -> Result<&mut Conversation, StoreError> {
        let loaded = self.load_conversation(id)?;
        loaded.changed = true;
        Ok(loaded.value.get_or_insert_with(|| Conversation::with(peer)))
    }

    fn load_conversation(
        &mut self,
        id: ConversationId,
    ) -> Result<&mut Loaded<Option<Conversation>>, StoreError> {
        use std::collections::btree_map::Entry;
        match self.conversations.entry(id) {
            Entry::Occupied(loaded) => Ok(loaded.into_mut()),
            Entry::Vacant(vacant) => {
                let value = Conversation::load(self.tx, id.as_bytes())?;
                let changed = false;
                Ok(vacant.insert(Loaded { value, changed }))
            }
        }
    }

    /// Takes note of a sending device's `cseq`; says how many before it are missing.
    pub(crate) fn count_message(
        &mut self,
        conversation: ConversationId,
        device: DeviceId,
        cseq: u64,
    ) -> Result<u64, StoreError> {
        use std::collections::btree_map::Entry;
        match self.counters.entry((conversation, device)) {
            Entry::Occupied(mut last) => {
                let missing = cseq.saturating_sub(last.get().saturating_add(1));
                last.insert(cseq.max(*last.get()));
                Ok(missing)
            }
            Entry::Vacant(vacant) => {
                let key = key(&[conversation.as_bytes(), device.as_bytes()]);
                let last = self.tx.get(Table::Counters, &key)?;
                let last = last
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(u64::from_be_bytes);
                vacant.insert(cseq.max(last.unwrap_or(0)));
                // The first message seen of a device may be any: this device began to listen there.
                Ok(last.map_or(0, |last| cseq.saturating_sub(last.saturating_add(1))))
            }
        }
    }

    /// The last entry of a log that is processed; none before the first arrived.
    pub(crate) fn cursor(&mut self, conversation: ConversationId) -> Result<Option<u64>, StoreError> {
        use std::collections::btree_map::Entry;
        match self.cursors.entry(conversation) {
            Entry::Occupied(loaded) => Ok(loaded.get().value),
            Entry::Vacant(vacant) => {
                let value = self
                    .tx
                    .get(Table::Cursors, conversation.as_bytes())?
                    .map(|seq| last_number(Table::Cursors, &seq))
                    .transpose()?;
                let changed = false;
                vacant.insert(Loaded { value, changed });
                Ok(value)
            }
        }
    }

    /// Sets how far a log is processed. False, and nothing is set, when it is a new log and [`MAX_LOGS`] are known.
    pub(crate) fn set_cursor(&mut self, conversation: ConversationId, seq: u64) -> Result<bool, StoreError> {
        if self.cursor(conversation)?.is_none() {
            let logs = self.number(LOGS)?;
            if logs >= MAX_LOGS {
                return Ok(false);
            }
            self.set_number(LOGS, logs.saturating_add(1));
        }
        let (value, changed) = (Some(seq), true);
        self.cursors.insert(conversation, Loaded { value, changed });
        Ok(true)
    }

    /// Raises a running number and returns it; the first is 1.
    pub(crate) fn next_number(&mut self, name: &'static str) -> Result<u64, StoreError> {
        let number = self.number(name)?.saturating_add(1);
        self.numbers.insert(name, number);
        Ok(number)
    }

    pub(crate) fn number(&mut self, name: &'static str) -> Result<u64, StoreError> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let bytes = self.tx.get(Table::Numbers, name.as_bytes())?;
        let number = match bytes {
            None => 0,
            Some(bytes) => bytes
                .try_into()
                .map(u64::from_be_bytes)
                .map_err(|_| StoreError::Damaged(Table::Numbers))?,
        };
        Ok(number)
    }

    pub(crate) fn set_number(&mut self, name: &'static str, number: u64) {
        self.numbers.insert(name, number);
    }

    /// Keeps a security event and counts it.
    pub(crate) fn log(&mut self, event: &SecurityEvent) -> Result<(), StoreError> {
        let number = self.next_number("security events")?;
        event.save(self.tx, &number.to_be_bytes())?;
        if let Some(oldest) = number.checked_sub(MAX_SECURITY_EVENTS) {
            self.tx.delete(Table::SecurityEvents, &oldest.to_be_bytes())?;
        }
        self.next_number(event.reason.text()).map(drop)
    }

    pub(crate) fn peer_device(&mut self, peer: Address) -> Result<PeerDevice, StoreError> {
        PeerDevice::of(self.tx, peer)
    }

    /// Asks for the part of a user's chain that is not held yet.
    pub(crate) fn need_chain(&mut self, user: UserId) -> Result<(), StoreError> {
        let from = self
            .peer(user)?
            .and_then(|peer| peer.head)
            .map_or(0, |head| head.version.0.saturating_add(1));
        self.effects.needs.insert(Need::Chain { user, from });
        Ok(())
    }
}

fn sessions_key(peer: Address) -> Vec<u8> {
    key(&[peer.user.as_bytes(), peer.device.as_bytes()])
}

impl ChainCache {
    fn get(&self, user: UserId, head: ListHead) -> Option<Arc<Chain>> {
        self.chains
            .get(&user)
            .filter(|chain| chain.head() == head)
            .cloned()
    }

    fn keep(&mut self, chain: &Arc<Chain>) {
        if self.chains.len() >= MAX_CACHED_CHAINS {
            self.chains.clear();
        }
        match self.chains.entry(chain.user()) {
            Slot::Occupied(mut held) => drop(held.insert(Arc::clone(chain))),
            Slot::Vacant(vacant) => drop(vacant.insert(Arc::clone(chain))),
        }
    }
}
