//! Sending: who gets a message, sealing it once for all of them, and sealing again when a device list has changed.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry as Slot};

use bytes::Bytes;
use unhidra_chain::{Capabilities, Chain, ListVersion as Version, Liveness, PqRatchet};
use unhidra_pair::{
    Address, Outgoing, SealError,
    body::{self, Context, Plaintext},
};
use unhidra_types::{ConversationId, MsgId, UserId};
use unhidra_wire::{content::ContentError, frame::ListVersion};

use crate::{
    effects::{Need, Notice, OutboxChange},
    epochs::capabilities,
    outbox::{Entry, EntryNumber, Queued, SealedBody, SealedCapsule, SealedMessage, State, parts},
    step::{ENTRIES, Step},
    store::StoreError,
};

/// Messages that one step seals; the next step goes on.
const SEALED_PER_STEP: usize = 512;
/// Entries that one step looks at to find them.
const EXAMINED_PER_STEP: usize = 4_096;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The content breaks a bound.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The same line of the same batch was another text before.
    #[error("line {} of the batch was sent before with another text", .line.saturating_add(1))]
    OtherText {
        /// Its place, counted from 0.
        line: u64,
    },
    /// Messages go to somebody else.
    #[error("a message to oneself has no recipient")]
    ToOneself,
    /// The user has blocked the other one.
    #[error("the user is blocked")]
    Blocked,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// For whom a conversation's messages are sealed now.
pub(crate) struct Plan {
    conversation: ConversationId,
    peer: UserId,
    lists: Vec<ListVersion>,
    own_version: Version,
    own_capabilities: Capabilities,
    recipients: Vec<Recipient>,
    owed: Vec<Address>,
}

#[derive(Clone, Copy)]
struct Recipient {
    address: Address,
    cert_hash: [u8; 32],
    /// The version of the recipient's own chain.
    version: Version,
    pq: PqRatchet,
}

/// What one step found out about the conversations it sends to.
#[derive(Default)]
pub(crate) struct Plans {
    /// `None` where something is needed first.
    plans: BTreeMap<ConversationId, Option<Plan>>,
    /// The conversations that have drafts.
    drafted: Option<BTreeSet<ConversationId>>,
}

impl Plans {
    fn get(&self, conversation: ConversationId) -> Option<&Plan> {
        self.plans.get(&conversation)?.as_ref()
    }
}

impl Step<'_> {
    /// Takes a message that is not there yet into the outbox, sealed if everything is at hand.
    pub(crate) fn submit(
        &mut self,
        plans: &mut Plans,
        conversation: ConversationId,
        peer: UserId,
        msg_id: MsgId,
        content: Vec<u8>,
    ) -> Result<(), StoreError> {
        self.conversation_with(conversation, peer)?;
        let mut entry = Entry {
            conversation,
            msg_id,
            attempt: 0,
            dest: None,
            content,
            sealed: None,
        };
        let mut queued = Queued::new(conversation, msg_id);
        self.plan(plans, conversation, peer)?;
        // A draft that waits keeps its place: what comes after it in the conversation waits as well.
        let is_first = !self.drafted(plans)?.contains(&conversation);
        let sealed = is_first && self.seal(plans, &mut entry, &mut queued)?;
        let state = if sealed { State::Ready } else { State::Draft };
        if !sealed {
            self.drafted(plans)?.insert(conversation);
        }
        self.enqueue(&entry, &queued, state)
    }

    /// Puts a new entry at the end of the outbox.
    pub(crate) fn enqueue(&mut self, entry: &Entry, queued: &Queued, state: State) -> Result<(), StoreError> {
        let number = EntryNumber(self.next_number(ENTRIES)?);
        entry.save_at(self.tx, number)?;
        queued.enqueue(self.tx, state, number)?;
        if state == State::Ready {
            self.effects.outbox = self.effects.outbox.max(OutboxChange::Grown);
        }
        self.enqueued += 1;
        Ok(())
    }

    /// Goes on with drafts, stale entries and owed devices, as far as one step may.
    pub(crate) fn advance(&mut self) -> Result<(), StoreError> {
        let mut plans = Plans::default();
        let mut sealed = self.advance_state(&mut plans, State::Stale)?;
        sealed += self.advance_state(&mut plans, State::Draft)?;
        sealed += self.advance_owed(&mut plans)?;
        self.effects.more |= sealed >= SEALED_PER_STEP;
        self.ask_for_repair()
    }

    fn drafted<'p>(&mut self, plans: &'p mut Plans) -> Result<&'p mut BTreeSet<ConversationId>, StoreError> {
        let drafted = match plans.drafted.take() {
            Some(drafted) => drafted,
            None => Queued::list(self.tx, State::Draft, None, EXAMINED_PER_STEP)?
                .into_iter()
                .map(|(_, queued)| queued.conversation)
                .collect(),
        };
        Ok(plans.drafted.insert(drafted))
    }

    fn advance_state(&mut self, plans: &mut Plans, state: State) -> Result<usize, StoreError> {
        let mut sealed = 0;
        for (number, mut queued) in Queued::list(self.tx, state, None, EXAMINED_PER_STEP)? {
            if sealed >= SEALED_PER_STEP {
                break;
            }
            if !self.is_planned(plans, queued.conversation)? {
                continue;
            }
            let mut entry = Entry::load_at(self.tx, number)?;
            let done = match state {
                State::Stale => self.seal_again(plans, &mut entry, &mut queued)?,
                _ => self.seal(plans, &mut entry, &mut queued)?,
            };
            if done {
                entry.save_at(self.tx, number)?;
                Queued::dequeue(self.tx, state, number)?;
                queued.enqueue(self.tx, State::Ready, number)?;
                self.effects.outbox = self.effects.outbox.max(OutboxChange::Requeued);
                sealed += 1;
            }
        }
        Ok(sealed)
    }

    /// Gives accepted messages to devices that had no usable bundle before, as entries of their own.
    fn advance_owed(&mut self, plans: &mut Plans) -> Result<usize, StoreError> {
        let mut sealed = 0;
        for (number, mut queued) in Queued::list(self.tx, State::Owed, None, SEALED_PER_STEP)? {
            self.is_planned(plans, queued.conversation)?;
            let Some(plan) = plans.get(queued.conversation) else {
                continue;
            };
            let reachable: Vec<Recipient> = plan
                .recipients
                .iter()
                .filter(|recipient| queued.owed.contains(&parts(recipient.address)))
                .copied()
                .collect();
            let still_owed = |address: &(UserId, _)| plan.owed.iter().any(|owed| parts(*owed) == *address);
            queued.owed.retain(still_owed);
            let entry = Entry::load_at(self.tx, number)?;
            for recipient in &reachable {
                sealed += usize::from(self.seal_owed(plan, recipient, &entry)?);
            }
            Queued::dequeue(self.tx, State::Owed, number)?;
            if !queued.owed.is_empty() {
                queued.enqueue(self.tx, State::Owed, number)?;
            }
        }
        Ok(sealed)
    }

    /// Queues an accepted message once more, for one device that it was owed to.
    fn seal_owed(&mut self, plan: &Plan, recipient: &Recipient, entry: &Entry) -> Result<bool, StoreError> {
        let dest = recipient.address.device;
        let is_queued = Entry::find(self.tx, entry.conversation, entry.msg_id, Some(dest))?.is_some();
        let (Some(original), false) = (&entry.sealed, is_queued) else {
            return Ok(false);
        };
        let mut message = SealedMessage {
            lists: plan.lists.clone(),
            capsules: Vec::new(),
            ..original.clone()
        };
        let mut queued = Queued::new(entry.conversation, entry.msg_id);
        self.seal_for(plan, recipient, entry, &mut message, &mut queued)?;
        let entry = Entry {
            dest: Some(dest),
            content: Vec::new(),
            sealed: Some(message),
            ..*entry
        };
        self.enqueue(&entry, &queued, State::Ready)?;
        Ok(true)
    }

    /// Seals a draft if everything is at hand: body once, then a capsule for each device.
    fn seal(&mut self, plans: &Plans, entry: &mut Entry, queued: &mut Queued) -> Result<bool, StoreError> {
        let Some(plan) = plans.get(entry.conversation) else {
            return Ok(false);
        };
        let conversation = self.conversation_with(entry.conversation, plan.peer)?;
        let plaintext = Plaintext {
            peer: plan.peer,
            cseq: conversation.sealed.saturating_add(1),
            after: conversation.last,
            content: entry.content.clone(),
        };
        let context = Context {
            conversation: entry.conversation,
            msg_id: entry.msg_id,
            sender: self.me.address(),
        };
        let Ok(body) = body::seal(&plaintext, &context, self.rng) else {
            // The bounds of content leave room in a frame, so only a damaged draft is too long.
            return Err(StoreError::Damaged(crate::store::Table::Outbox));
        };
        self.conversation_with(entry.conversation, plan.peer)?.sealed = plaintext.cseq;
        let mut message = SealedMessage {
            sent_at: self.now,
            body: Some(SealedBody {
                key: body.capsule,
                object: Bytes::from(body.object),
            }),
            lists: plan.lists.clone(),
            capsules: Vec::with_capacity(plan.recipients.len()),
        };
        queued.owed = plan.owed.iter().copied().map(parts).collect();
        for recipient in &plan.recipients {
            self.seal_for(plan, recipient, entry, &mut message, queued)?;
        }
        entry.sealed = Some(message);
        self.effects.outbox = self.effects.outbox.max(OutboxChange::Grown);
        self.notice_owed(queued);
        Ok(true)
    }

    /// Seals a refused entry for the current lists: stored capsules stay as they are, capsules of devices that are
    /// gone are dropped, and new devices get one.
    fn seal_again(
        &mut self,
        plans: &Plans,
        entry: &mut Entry,
        queued: &mut Queued,
    ) -> Result<bool, StoreError> {
        let (Some(plan), Some(mut message)) = (plans.get(entry.conversation), entry.sealed.clone()) else {
            return Ok(false);
        };
        let same_lists = plan.lists.iter().all(|list| message.lists.contains(list));
        // What the server had taken before was not refused for its lists.
        if same_lists && !(queued.again && queued.rounds == 0) {
            // Nothing newer is known yet: what the server holds is on its way, or the server is not telling.
            self.need_chain(plan.peer)?;
            self.need_chain(self.me.user)?;
            return Ok(false);
        }
        let recipients = &plan.recipients;
        let of_the_first = |capsule: &SealedCapsule| {
            recipients
                .iter()
                .any(|recipient| recipient.address.device == capsule.device)
        };
        message.capsules.retain(of_the_first);
        message.lists.clone_from(&plan.lists);
        queued.owed = match entry.dest {
            None if !queued.again => plan.owed.iter().copied().map(parts).collect(),
            _ => Vec::new(),
        };
        let new = recipients.iter().filter(|recipient| {
            // What is for one device concerns no other, and what was taken before nobody new.
            entry.dest.is_none()
                && !queued.again
                && message
                    .capsules
                    .iter()
                    .all(|capsule| capsule.device != recipient.address.device)
        });
        for recipient in new.copied().collect::<Vec<_>>() {
            self.seal_for(plan, &recipient, entry, &mut message, queued)?;
        }
        if message.capsules.is_empty() {
            return Ok(false);
        }
        entry.sealed = Some(message);
        self.notice_owed(queued);
        Ok(true)
    }

    /// Adds the capsule of one device; a device whose session can't send is owed it.
    fn seal_for(
        &mut self,
        plan: &Plan,
        recipient: &Recipient,
        entry: &Entry,
        message: &mut SealedMessage,
        queued: &mut Queued,
    ) -> Result<(), StoreError> {
        let outgoing = Outgoing {
            sender: self.me.address(),
            msg_id: entry.msg_id,
            sent_at: message.sent_at,
            own_list: plan.own_version,
            peer_list: recipient.version,
            pq: recipient.pq,
        };
        let (conversation, now) = (plan.conversation, self.now);
        let Some(SealedBody { key, .. }) = &message.body else {
            return Err(StoreError::Damaged(crate::store::Table::Outbox));
        };
        let capsule = self.with_sessions(recipient.address, |sessions, rng| {
            let sealed = sessions.seal_capsule(&outgoing, conversation, key, now, rng)?;
            let capsule = SealedCapsule::new(
                recipient.address.device,
                recipient.cert_hash,
                sealed.kind,
                sealed.bytes,
            );
            Ok::<_, SealError>((sealed.sessions, capsule))
        })?;
        match capsule {
            Ok(capsule) => message.capsules.push(capsule),
            Err(_session_is_spent) => {
                let ended = self.sessions(recipient.address)?.archive_all(now);
                self.set_sessions(ended);
                queued.owed.push(parts(recipient.address));
            }
        }
        Ok(())
    }

    /// Finds out for whom to seal in a conversation; what is missing becomes a need.
    fn plan(
        &mut self,
        plans: &mut Plans,
        conversation: ConversationId,
        peer: UserId,
    ) -> Result<(), StoreError> {
        if let Slot::Vacant(vacant) = plans.plans.entry(conversation) {
            vacant.insert(self.make_plan(conversation, peer)?);
        }
        Ok(())
    }

    /// Plans for a conversation that is known already; says whether everything is at hand.
    fn is_planned(&mut self, plans: &mut Plans, conversation: ConversationId) -> Result<bool, StoreError> {
        if let Some(peer) = self.conversation(conversation)?.map(|found| found.peer) {
            self.plan(plans, conversation, peer)?;
        }
        Ok(plans.get(conversation).is_some())
    }

    fn make_plan(&mut self, conversation: ConversationId, peer: UserId) -> Result<Option<Plan>, StoreError> {
        let on_server = self
            .conversation(conversation)?
            .is_some_and(|found| found.on_server);
        if !on_server {
            self.effects.needs.insert(Need::Conversation(peer));
        }
        let mut chains = Vec::with_capacity(2);
        for user in BTreeSet::from([self.me.user, peer]) {
            let known = self.peer(user)?;
            match known {
                Some(known) if known.may_seal() => chains.extend(self.chain(user)?),
                Some(known) if known.changed.is_some() => {}
                Some(_) | None => self.need_chain(user)?,
            }
        }
        if self.local()?.is_none() || chains.len() < 2 {
            return Ok(None);
        }
        let own_live = |chain: &std::sync::Arc<Chain>| {
            chain.user() != self.me.user || chain.is_live(self.me.device, self.now).is_live()
        };
        if !chains.iter().all(own_live) {
            return Ok(None);
        }
        let own = chains.iter().find(|chain| chain.user() == self.me.user);
        let mut plan = Plan {
            conversation,
            peer,
            lists: Vec::with_capacity(2),
            own_version: Version(0),
            own_capabilities: own.map_or(Capabilities::NONE, |own| capabilities(own, self.me.device)),
            recipients: Vec::new(),
            owed: Vec::new(),
        };
        let mut complete = on_server;
        for chain in &chains {
            complete &= self.plan_chain(chain, &mut plan)?;
        }
        Ok(Some(plan).filter(|plan| complete && !plan.recipients.is_empty()))
    }

    /// Adds the live devices of one user; false when bundles are needed first.
    fn plan_chain(&mut self, chain: &Chain, plan: &mut Plan) -> Result<bool, StoreError> {
        let (user, head) = (chain.user(), chain.head());
        plan.lists.push(ListVersion {
            user,
            version: head.version.0,
            head_hash: head.hash,
        });
        if user == self.me.user {
            plan.own_version = head.version;
        }
        let mut without_session = Vec::new();
        for device in chain.live_devices(self.now) {
            let address = Address {
                user,
                device: device.certificate().subject().device,
            };
            if address.device == self.me.device {
                continue;
            }
            let pq = PqRatchet::between(plan.own_capabilities, device.certificate().subject().capabilities);
            self.end_overdue(address, pq, plan.conversation)?;
            if self.sessions(address)?.active().is_some() {
                plan.recipients.push(Recipient {
                    address,
                    cert_hash: *device.certificate_hash(),
                    version: head.version,
                    pq,
                });
            } else if self.peer_device(address)?.is_owed(self.now) {
                plan.owed.push(address);
            } else {
                without_session.push(address.device);
            }
        }
        let complete = without_session.is_empty();
        if !complete {
            self.effects.needs.insert(Need::Bundles {
                user,
                devices: without_session,
            });
        }
        Ok(complete)
    }

    fn notice_owed(&mut self, queued: &Queued) {
        let owed = queued.owed.iter().map(|(_, device)| Notice::Owed {
            device: *device,
            msg_id: queued.msg_id,
        });
        self.effects.notices.extend(owed);
    }

    /// Notices that this device is out, if the own chain says so.
    pub(crate) fn notice_revocation(&mut self) -> Result<(), StoreError> {
        let Some(own) = self.chain(self.me.user)? else {
            return Ok(());
        };
        let is_out = match own.is_live(self.me.device, self.now) {
            Liveness::Revoked => true,
            // A device that took part once: a rotation has left it out.
            Liveness::Unknown => crate::prekeys::were_made(self.tx)?,
            _ => false,
        };
        if is_out {
            self.effects.notices.push(Notice::Revoked);
        }
        Ok(())
    }
}
