//! The device: every use case as one step, which loads, changes and persists before it asks for anything.
//!
//! The driver's loop: frames in ([`Device::receive`]), needs answered, [`Effects`] out; [`Device::outgoing`] hands out
//! what is to be sent, as long as it is not answered. After a crash the loop starts over and nothing is lost or doubled.

mod answers;
mod contacts;
mod frames;
mod identity;
mod linking;
mod pruning;
mod reading;
mod trust;
mod verification;

use unhidra_chain::{Chain, DeviceKind, direct::direct_conversation};
use unhidra_crypto::CryptoRng;
use unhidra_types::{DeviceId, MsgId, Timestamp, UserId};
use unhidra_wire::{
    content::Content,
    frame::{Append, ServerFrame},
};

pub use self::{
    contacts::Known,
    identity::{NextKey, OwnIdentity, RotateError, Rotation, Shown},
    linking::{CertifyError, ChainExtension},
    reading::{Progress, Progression, StoredConversation},
    trust::{Standing, Trust},
};
use crate::{
    effects::Effects,
    identity::{Identity, NewIdentity},
    inbox::Inboxes,
    new_ids::NewIds,
    outbox::{self, EntryNumber},
    peer::{Peer, StoredChain},
    record::Record as _,
    send::{Plans, SubmitError},
    step::{ChainCache, Step},
    store::{Store, StoreError},
};

/// One device of one user, on its store.
pub struct Device<S> {
    store: S,
    me: Identity,
    chains: ChainCache,
    inboxes: Inboxes,
}

/// What a store holds.
pub enum Opened<S> {
    /// A device.
    Device(Box<Device<S>>),
    /// Nothing yet.
    Empty(S),
}

/// Where the id of a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKey<'a> {
    /// Drawn: each message is a new one.
    Random,
    /// Its place in a batch: feeding the batch again sends nothing twice.
    Batch {
        /// The batch.
        name: &'a str,
        /// The place.
        line: u64,
    },
}

/// Messages that the outbox took.
#[derive(Debug)]
pub struct Submitted {
    /// Their ids, in the order given.
    pub ids: Vec<MsgId>,
    /// How many of them were not there already.
    pub new: usize,
    /// What to do now.
    pub effects: Effects,
}

impl<S: Store> Device<S> {
    /// Opens the device that a store holds, if there is one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(mut store: S) -> Result<Opened<S>, StoreError> {
        let me: Option<Identity> = store.transaction(|tx| Identity::load_own(tx))?;
        Ok(match me {
            Some(me) => Opened::Device(Box::new(Self::with(store, me))),
            None => Opened::Empty(store),
        })
    }

    /// Makes the keys of a device that no chain names yet.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn create(
        mut store: S,
        user: UserId,
        device: DeviceId,
        kind: DeviceKind,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, StoreError> {
        let me = Identity::draw(user, device, kind, rng);
        store.transaction(|tx| me.save_own(tx))?;
        Ok(Self::with(store, me))
    }

    fn with(store: S, me: Identity) -> Self {
        Self {
            store,
            me,
            chains: ChainCache::default(),
            inboxes: Inboxes::default(),
        }
    }

    /// Makes the user's identity on this device, the user's first. Until the server has taken the records, calling
    /// it again makes another one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn found_identity(
        &mut self,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<NewIdentity, StoreError> {
        let founded = self.me.found(now, rng);
        let me = &self.me;
        self.store.transaction(|tx| {
            let chain =
                Chain::verify(&founded.records).map_err(|_| StoreError::Damaged(StoredChain::TABLE))?;
            let mut peer = Peer::pinned(crate::peer::Identity::of(chain.genesis()));
            peer.head = Some(chain.head());
            StoredChain::put(tx, &chain)?;
            peer.save(tx, me.user.as_bytes())?;
            me.save_own(tx)
        })?;
        Ok(founded)
    }

    /// Whether a server has taken this device's certificate at some time: making another identity would throw the
    /// one away that others know.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn has_taken_part(&mut self) -> Result<bool, StoreError> {
        self.store.transaction(crate::prekeys::were_made)
    }

    /// The user.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.me.user
    }

    /// The device.
    #[must_use]
    pub const fn id(&self) -> DeviceId {
        self.me.device
    }

    /// Whether it holds the user identity key.
    #[must_use]
    pub const fn can_certify(&self) -> bool {
        self.me.certify.is_some()
    }

    /// Its own proof of possession, uploaded with its first certificate.
    #[must_use]
    pub fn proof(&self) -> [u8; 64] {
        self.me.prove()
    }

    /// Answers a login challenge made of `token`, for the server that is known as `origin`.
    #[must_use]
    pub fn sign_login(&self, origin: &str, token: &str) -> [u8; 64] {
        self.me.sign_login(origin, token)
    }

    /// The store, for what its driver keeps there ([`Table::Profile`](crate::store::Table::Profile)).
    pub const fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Takes messages for `peer` into the outbox, as many as one transaction is to hold.
    ///
    /// # Errors
    /// [`SubmitError::Content`] for a message that breaks a bound, [`SubmitError::OtherText`] for a line of a batch
    /// that was another one before: none of them is taken then.
    pub fn submit(
        &mut self,
        peer: UserId,
        messages: &[(MessageKey<'_>, Content)],
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Submitted, SubmitError> {
        if peer == self.me.user {
            return Err(SubmitError::ToOneself);
        }
        let conversation = direct_conversation(self.me.user, peer);
        self.step(now, rng, |step, _| {
            if crate::Contact::of(step.tx, peer)?.blocked {
                return Err(SubmitError::Blocked);
            }
            step.accept_contact(peer)?;
            let (mut plans, mut drawn) = (Plans::default(), NewIds::default());
            let mut ids = Vec::with_capacity(messages.len());
            let mut new = 0;
            for (key, content) in messages {
                let content = content.encode()?;
                let (msg_id, is_there) = match key {
                    // An id that is drawn is new: looking it up would cost as much as anything here.
                    MessageKey::Random => (drawn.draw(step.rng), false),
                    MessageKey::Batch { name, line } => {
                        let msg_id = step.me.batch_id(conversation, name, *line);
                        (msg_id, step.has_line(*line, conversation, msg_id, &content)?)
                    }
                };
                if !is_there {
                    step.submit(&mut plans, conversation, peer, msg_id, content)?;
                    new += 1;
                }
                ids.push(msg_id);
            }
            Ok((ids, new))
        })
        .map(|((ids, new), effects)| Submitted { ids, new, effects })
    }

    /// Goes on with what waits: drafts, stale entries, owed devices, receipts.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn advance(&mut self, now: Timestamp, rng: &mut dyn CryptoRng) -> Result<Effects, StoreError> {
        self.effects(now, rng, |step, _| {
            step.advance()?;
            step.write_receipts(&mut Plans::default())
        })
    }

    /// Processes frames of one connection, in order, in one transaction.
    ///
    /// # Errors
    /// See [`StoreError`]: nothing was processed then; connect again.
    pub fn receive(
        &mut self,
        frames: Vec<ServerFrame>,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Effects, StoreError> {
        self.effects(now, rng, |step, inboxes| {
            for frame in frames {
                frames::take_frame(step, inboxes, frame)?;
            }
            inboxes.acknowledge(step);
            inboxes.tell_caught_up(step)?;
            step.write_receipts(&mut Plans::default())?;
            step.ask_for_repair()
        })
    }

    /// To be called when nothing has arrived for a few seconds: asks again for what should have, and goes on with what
    /// waits for its time.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn idle(&mut self, now: Timestamp, rng: &mut dyn CryptoRng) -> Result<Effects, StoreError> {
        self.effects(now, rng, |step, inboxes| {
            inboxes.ask_again(step)?;
            step.look_after_sessions()?;
            step.review_claims()?;
            step.advance()
        })
    }

    /// Entries in memory that wait for a device list: for a report.
    #[must_use]
    pub const fn parked(&self) -> usize {
        self.inboxes.parked()
    }

    /// Whether entries are known to be on the server that this connection has not processed yet, though the server may
    /// have said that it has sent everything.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.inboxes.is_behind()
    }

    /// Forgets what the last connection had begun to deliver.
    pub fn disconnected(&mut self) {
        self.inboxes.clear();
    }

    /// The first `limit` entries to send after `after`, in order. Each is sent until it is answered, always with the
    /// same bytes; none while a list of its users is required that is not held.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn outgoing(
        &mut self,
        after: Option<EntryNumber>,
        limit: usize,
    ) -> Result<Vec<(EntryNumber, Append)>, StoreError> {
        self.store.transaction(|tx| outbox::outgoing(tx, after, limit))
    }

    fn effects(
        &mut self,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
        run: impl FnOnce(&mut Step<'_>, &mut Inboxes) -> Result<(), StoreError>,
    ) -> Result<Effects, StoreError> {
        self.step(now, rng, run).map(|((), effects)| effects)
    }

    /// Runs one step: what it returns is durable.
    fn step<T, E: From<StoreError>>(
        &mut self,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
        run: impl FnOnce(&mut Step<'_>, &mut Inboxes) -> Result<T, E>,
    ) -> Result<(T, Effects), E> {
        let Self {
            store,
            me,
            chains,
            inboxes,
        } = self;
        let result = store.transaction(|tx| {
            let mut step = Step::begin(tx, me, chains, now, rng);
            let result = run(&mut step, inboxes)?;
            Ok((result, step.finish()?))
        });
        if result.is_err() {
            // What is in memory may be ahead of the store now.
            inboxes.clear();
        }
        result
    }
}
