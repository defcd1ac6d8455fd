//! Entries in the order of their log: what is early waits or is asked for again, what was seen is acknowledged again.
//!
//! It lives in memory only. Whatever is parked here was not acknowledged, so it comes again on the next connection.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use unhidra_types::{ConversationId, Timestamp, UserId};
use unhidra_wire::frame::{CapsuleKind, ClientFrame, Deliver};

use crate::{
    effects::{Need, Notice},
    receive::{Outcome, Tries},
    step::Step,
    store::StoreError,
};

/// Entries parked per conversation while a chain is fetched; later ones are asked for again.
const MAX_PARKED: usize = 512;
/// Entries parked in all conversations together, and the bytes of their bodies and capsules; later ones are asked for
/// again.
const MAX_PARKED_IN_ALL: usize = 2_048;
const MAX_PARKED_BYTES: usize = 16 * 1024 * 1024;
/// Logs of one connection that something is remembered of; when it is full, those go of which nothing is awaited.
const MAX_INBOXES: usize = 16_384;
/// Entries asked for at once: what the server sends in one page.
const PAGE_ENTRIES: u64 = 256;
/// The first pause after entries were asked for again in vain; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(4);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// Something that moves a cursor.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// An entry for this device.
    Entry(Box<Deliver>),
    /// Entries that hold nothing for it, both ends included.
    Nothing {
        conversation: ConversationId,
        from: u64,
        to: u64,
    },
}

/// All logs of the current connection.
#[derive(Default)]
pub(crate) struct Inboxes {
    logs: BTreeMap<ConversationId, Inbox>,
    /// Entries that are parked, and their bytes.
    parked: (usize, usize),
    /// What is to be acknowledged at the end of the step: what was processed here, not what the cursor says, which a
    /// server can raise as it likes.
    processed: BTreeMap<ConversationId, u64>,
    /// Until this user's chain was looked at, first messages wait.
    waits_for: Option<UserId>,
    /// The server has sent its backlog, and that is not told yet.
    catching_up: bool,
}

#[derive(Default)]
struct Inbox {
    /// Behind an entry that needs this user's chain, everything waits.
    needs: Option<UserId>,
    parked: VecDeque<Item>,
    /// The last entry that is known to exist beyond a gap.
    wanted: u64,
    /// The last entry that was asked for.
    asked: u64,
    /// The last entry that was processed on this connection.
    through: u64,
    /// The entry that was fetched again because it was altered.
    fetched_again: Option<u64>,
    /// When a gap may be asked for again.
    patience: Patience,
}

/// The pauses between asking for what may never come. It begins anew whenever something did come.
#[derive(Default)]
struct Patience {
    pause: Duration,
    again_at: Timestamp,
}

impl Item {
    const fn conversation(&self) -> ConversationId {
        match self {
            Self::Entry(deliver) => deliver.conversation,
            Self::Nothing { conversation, .. } => *conversation,
        }
    }

    /// Whether it is the first message of a session, which binds both identities.
    fn begins_session(&self) -> bool {
        let capsule = match self {
            Self::Entry(deliver) => deliver.capsule.as_ref(),
            Self::Nothing { .. } => None,
        };
        capsule.is_some_and(|capsule| capsule.kind == CapsuleKind::Prekey)
    }

    const fn range(&self) -> (u64, u64) {
        match self {
            Self::Entry(deliver) => (deliver.seq, deliver.seq),
            Self::Nothing { from, to, .. } => (*from, *to),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Entry(deliver) => {
                deliver.body.len() + deliver.capsule.as_ref().map_or(0, |capsule| capsule.sealed.len())
            }
            Self::Nothing { .. } => 0,
        }
    }
}

impl Inboxes {
    /// Takes an item in its turn.
    pub(crate) fn arrive(&mut self, step: &mut Step<'_>, item: Item) -> Result<(), StoreError> {
        let conversation = item.conversation();
        if self.logs.len() >= MAX_INBOXES && !self.logs.contains_key(&conversation) {
            self.logs.retain(|_, inbox| inbox.needs.is_some());
        }
        let (waits_for, (entries, bytes)) = (self.waits_for, self.parked);
        let inbox = self.logs.entry(conversation).or_default();
        if inbox.needs.is_none() && item.begins_session() {
            inbox.needs = waits_for;
        }
        if inbox.needs.is_none() {
            let before = inbox.parked_size();
            let processed = inbox.process(step, item, false)?;
            let after = moved(self.parked, before, inbox.parked_size());
            if after.0 > MAX_PARKED_IN_ALL || after.1 > MAX_PARKED_BYTES {
                inbox.put_off();
            } else {
                self.parked = after;
            }
            self.note(conversation, processed);
        } else if inbox.parked.len() < MAX_PARKED
            && entries < MAX_PARKED_IN_ALL
            && bytes.saturating_add(item.bytes()) <= MAX_PARKED_BYTES
        {
            self.parked = (entries + 1, bytes + item.bytes());
            inbox.parked.push_back(item);
        } else {
            inbox.wanted = inbox.wanted.max(item.range().1);
        }
        Ok(())
    }

    fn note(&mut self, conversation: ConversationId, processed: Option<u64>) {
        if let Some(seq) = processed {
            let through = self.processed.entry(conversation).or_insert(seq);
            *through = seq.max(*through);
        }
    }

    /// The server has sent all that it had.
    pub(crate) const fn catch_up(&mut self) {
        self.catching_up = true;
    }

    /// Tells that the backlog is processed, once the gaps in it have been filled that were asked for.
    pub(crate) fn tell_caught_up(&mut self, step: &mut Step<'_>) -> Result<(), StoreError> {
        if !self.catching_up {
            return Ok(());
        }
        for (conversation, inbox) in &self.logs {
            let cursor = step.cursor(*conversation)?;
            if inbox.needs.is_none() && cursor.is_some_and(|cursor| inbox.wanted > cursor) {
                return Ok(());
            }
        }
        self.catching_up = false;
        step.effects.notices.push(Notice::CaughtUp);
        // The backlog has been read, so keys that only it could name may go.
        step.expire_prekeys()
    }

    /// Lets first messages wait until this user's chain was looked at.
    pub(crate) const fn wait_for(&mut self, user: UserId) {
        self.waits_for = Some(user);
    }

    /// Goes on with what waited for a user's chain, unless more of it is on its way.
    pub(crate) fn resume(&mut self, step: &mut Step<'_>, user: UserId) -> Result<(), StoreError> {
        let is_user = |need: &Need| matches!(need, Need::Chain { user: needed, .. } if *needed == user);
        if step.effects.needs.iter().any(is_user) {
            return Ok(());
        }
        if self.waits_for == Some(user) {
            self.waits_for = None;
        }
        let waiting: Vec<ConversationId> = self
            .logs
            .iter()
            .filter(|(_, inbox)| inbox.needs == Some(user))
            .map(|(conversation, _)| *conversation)
            .collect();
        for conversation in waiting {
            let Some(inbox) = self.logs.get_mut(&conversation) else {
                continue;
            };
            let before = inbox.parked_size();
            inbox.needs = None;
            let mut chain_fetched = true;
            let mut through = None;
            while inbox.needs.is_none()
                && let Some(item) = inbox.parked.pop_front()
            {
                through = through.max(inbox.process(step, item, chain_fetched)?);
                chain_fetched = false;
            }
            self.parked = moved(self.parked, before, inbox.parked_size());
            self.note(conversation, through);
        }
        Ok(())
    }

    /// Acknowledges what was processed.
    pub(crate) fn acknowledge(&mut self, step: &mut Step<'_>) {
        for (conversation, seq) in std::mem::take(&mut self.processed) {
            step.effects
                .frames
                .push(ClientFrame::Acknowledge { conversation, seq });
        }
    }

    /// Asks again for gaps whose answer has not come: the server ends a page early when its entries are large. What
    /// never comes is asked for ever more rarely.
    pub(crate) fn ask_again(&mut self, step: &mut Step<'_>) -> Result<(), StoreError> {
        for (conversation, inbox) in &mut self.logs {
            let cursor = step.cursor(*conversation)?;
            if let Some(cursor) = cursor
                && inbox.needs.is_none()
                && inbox.wanted > cursor
                && inbox.patience.is_over(step.now)
            {
                inbox.asked = 0;
                inbox.ask(step, *conversation, cursor, inbox.wanted);
            }
        }
        Ok(())
    }

    /// Whether entries are known to be there that were not processed yet: beyond a gap, or for want of a chain.
    pub(crate) fn is_behind(&self) -> bool {
        self.logs
            .values()
            .any(|inbox| inbox.needs.is_some() || inbox.wanted > inbox.through)
    }

    /// Entries that are parked.
    pub(crate) const fn parked(&self) -> usize {
        self.parked.0
    }

    /// Forgets everything: the next connection begins at the acknowledged cursors.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What is parked in all, when one log had `before` and has `after`: entries and bytes.
const fn moved(all: (usize, usize), before: (usize, usize), after: (usize, usize)) -> (usize, usize) {
    (
        all.0.saturating_sub(before.0).saturating_add(after.0),
        all.1.saturating_sub(before.1).saturating_add(after.1),
    )
}

impl Patience {
    /// Whether the pause is over; the next one begins then.
    fn is_over(&mut self, now: Timestamp) -> bool {
        let is_over = now >= self.again_at;
        if is_over {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE);
            self.again_at = now.saturating_add(self.pause);
        }
        is_over
    }
}

impl Inbox {
    /// Gives up the one entry that was just parked: there is no room. It is asked for again.
    fn put_off(&mut self) {
        self.needs = None;
        if let Some(item) = self.parked.pop_front() {
            let (_, to) = item.range();
            self.asked = self.asked.max(to);
            self.wanted = self.wanted.max(to);
        }
    }

    fn parked_size(&self) -> (usize, usize) {
        (self.parked.len(), self.parked.iter().map(Item::bytes).sum())
    }

    /// Processes an item if it is the next; says through where the log is to be acknowledged.
    ///
    /// A message that is not known at a number that was passed already is news all the same: the server gives numbers
    /// again after it was set back, and a number that it stated once, however large, must not hide what comes later. The
    /// log goes on from there.
    fn process(
        &mut self,
        step: &mut Step<'_>,
        item: Item,
        chain_fetched: bool,
    ) -> Result<Option<u64>, StoreError> {
        let conversation = item.conversation();
        let (from, to) = item.range();
        if let Some(cursor) = step.cursor(conversation)? {
            if to <= cursor {
                let is_news = match &item {
                    Item::Entry(deliver) => !step.is_known(deliver)?,
                    Item::Nothing { .. } => false,
                };
                if !is_news {
                    self.through = self.through.max(to);
                    return Ok(Some(to));
                }
                (self.asked, self.wanted) = (0, 0);
            } else if from > cursor.saturating_add(1) {
                self.ask(step, conversation, cursor, to);
                return Ok(None);
            }
        }
        if let Item::Entry(deliver) = item {
            let tries = Tries {
                chain_fetched,
                fetched_again: self.fetched_again == Some(deliver.seq),
            };
            match step.deliver(&deliver, tries)? {
                Outcome::Done => {}
                Outcome::NeedsChain(user) => {
                    step.need_chain(user)?;
                    self.needs = Some(user);
                    self.parked.push_front(Item::Entry(deliver));
                    return Ok(None);
                }
                Outcome::FetchAgain => {
                    self.fetched_again = Some(deliver.seq);
                    self.asked = deliver.seq;
                    self.wanted = self.wanted.max(deliver.seq);
                    let (from, to) = (deliver.seq, deliver.seq);
                    step.effects.frames.push(ClientFrame::Fetch {
                        conversation,
                        from,
                        to,
                    });
                    return Ok(None);
                }
            }
        }
        if !step.set_cursor(conversation, to)? {
            return Ok(None);
        }
        (self.through, self.patience) = (to, Patience::default());
        if self.asked <= to && self.wanted > to {
            self.ask(step, conversation, to, self.wanted);
        }
        Ok(Some(to))
    }

    /// Asks for what lies between the cursor and `to`, unless that was asked for already and may be on its way.
    fn ask(&mut self, step: &mut Step<'_>, conversation: ConversationId, cursor: u64, to: u64) {
        self.wanted = self.wanted.max(to);
        if self.asked <= cursor {
            let from = cursor.saturating_add(1);
            self.asked = self.wanted.min(cursor.saturating_add(PAGE_ENTRIES));
            step.effects.frames.push(ClientFrame::Fetch {
                conversation,
                from,
                to: self.asked,
            });
        }
    }
}
