//! What waits for one connection.
//!
//! The router never waits for a reader. When the inbox is full it drops the notice and marks the connection lagging;
//! the connection then reads its logs from where it is, which replaces everything that was dropped.
//!
//! One lock, held for a few lines: the router leaves what it has for a connection at once, the connection takes all of
//! it at once, and is woken only if it sleeps.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use unhidra_bus::{Entry, presence::Connected};
use unhidra_types::ConversationId;
use unhidra_wire::{close::Close, frame::ListVersion};

use crate::burst::Burst;

/// Notices that wait for one connection: about a second of a busy channel.
const CAPACITY: usize = 256;
/// Bytes of entries that wait for one connection, so that a slow reader of large ones costs no more than one of small
/// ones. An empty inbox takes any entry.
const CAPACITY_BYTES: usize = 1024 * 1024;
/// Room for notices that is kept while none waits.
const KEPT: usize = 4;

/// A notice for one connection.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Entry(Arc<Entry>),
    /// Entries of one log that follow each other.
    Burst(Arc<Burst>),
    Opened(ConversationId),
    ListChanged(ListVersion),
}

impl Item {
    /// How many notices it is.
    fn notices(&self) -> usize {
        match self {
            Self::Burst(burst) => burst.entries().len(),
            Self::Entry(_) | Self::Opened(_) | Self::ListChanged(_) => 1,
        }
    }

    /// What it keeps in memory beyond its own size, if nobody else holds it.
    fn bytes(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.bytes(),
            Self::Burst(burst) => burst.bytes(),
            Self::Opened(_) | Self::ListChanged(_) => 0,
        }
    }
}

/// The end that the router holds.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) who: Arc<Connected>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Item>,
    /// Notices and their bytes, in the queue and in the hand of the connection.
    notices: usize,
    bytes: usize,
    /// Of these, what the connection has taken and not finished.
    in_hand: usize,
    bytes_in_hand: usize,
    /// Notices were dropped.
    lagging: bool,
    /// The peer is to be asked for a sign of life.
    asked: bool,
    end: Option<Close>,
    /// The connection, while it sleeps.
    sleeper: Option<Waker>,
}

/// What a connection is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// There are items.
    Items,
    /// Notices were dropped: read the logs.
    CatchUp,
    /// Ask the peer for a sign of life.
    Ask,
    End(Close),
}

impl Inbox {
    pub(crate) fn new(who: Arc<Connected>) -> Arc<Self> {
        Arc::new(Self {
            who,
            state: Mutex::default(),
        })
    }

    /// Leaves a notice, or marks the connection lagging; whom to wake.
    pub(crate) fn leave(&self, item: Item) -> Option<Waker> {
        let (notices, bytes) = (item.notices(), item.bytes());
        let mut state = self.lock();
        let fits = state.notices == 0
            || state.notices.saturating_add(notices) <= CAPACITY
                && (state.bytes == 0 || state.bytes.saturating_add(bytes) <= CAPACITY_BYTES);
        if fits {
            state.notices += notices;
            state.bytes = state.bytes.saturating_add(bytes);
            state.queue.push_back(item);
        } else if !mem::replace(&mut state.lagging, true) {
            self.who.activity.lagged();
            tracing::debug!(device.id = %self.who.device, "connection is lagging: it will read its logs");
        }
        state.sleeper.take()
    }

    /// Notices that wait, at most [`CAPACITY`].
    pub(crate) fn waiting(&self) -> usize {
        self.lock().notices
    }

    /// Has the peer asked for a sign of life.
    pub(crate) fn ask(&self) {
        let mut state = self.lock();
        state.asked = true;
        wake(state);
    }

    /// Whether it was told to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Ends the connection; the first reason counts.
    pub(crate) fn end(&self, close: Close) {
        let mut state = self.lock();
        state.end.get_or_insert(close);
        wake(state);
    }

    /// The next thing to do. `hand` is what the connection took before; when it is empty, all that waits goes into it.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>, hand: &mut VecDeque<Item>) -> Poll<Next> {
        let mut state = self.lock();
        if let Some(close) = state.end {
            return Poll::Ready(Next::End(close));
        }
        if hand.is_empty() {
            state.notices -= mem::take(&mut state.in_hand);
            let bytes_in_hand = mem::take(&mut state.bytes_in_hand);
            state.bytes = state.bytes.saturating_sub(bytes_in_hand);
        }
        if mem::take(&mut state.asked) {
            return Poll::Ready(Next::Ask);
        }
        if mem::take(&mut state.lagging) {
            return Poll::Ready(Next::CatchUp);
        }
        if !hand.is_empty() {
            return Poll::Ready(Next::Items);
        }
        if !state.queue.is_empty() {
            mem::swap(&mut state.queue, hand);
            (state.in_hand, state.bytes_in_hand) = (state.notices, state.bytes);
            return Poll::Ready(Next::Items);
        }
        state.queue.shrink_to(KEPT);
        if !state
            .sleeper
            .as_ref()
            .is_some_and(|sleeper| sleeper.will_wake(cx.waker()))
        {
            state.sleeper = Some(cx.waker().clone());
        }
        drop(state);
        hand.shrink_to(KEPT);
        Poll::Pending
    }

    /// Only whether it is to end: for a connection that can't do anything else now.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Close> {
        let mut state = self.lock();
        match state.end {
            Some(close) => Poll::Ready(close),
            None => {
                state.sleeper = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let sleeper = state.sleeper.take();
    drop(state);
    if let Some(sleeper) = sleeper {
        sleeper.wake();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use unhidra_types::{ConnectionId, DeviceId, MsgId, OrgId, SessionId, Timestamp, UserId};
    use unhidra_wire::frame::Deliver;

    use super::*;

    pub(crate) fn nobody() -> Arc<Connected> {
        Arc::new(Connected {
            id: ConnectionId::from_bytes([0; 16]),
            user: UserId::from_bytes([1; 16]),
            org: OrgId::from_bytes([1; 16]),
            device: DeviceId::from_bytes([2; 16]),
            session: SessionId::from_bytes([3; 16]),
            address: None,
            agent: None,
            since: Timestamp::EPOCH,
            activity: Default::default(),
        })
    }

    /// A connection that sleeps, and what it has in hand.
    fn inbox() -> (Arc<Inbox>, VecDeque<Item>) {
        (Inbox::new(nobody()), VecDeque::new())
    }

    fn next(inbox: &Inbox, hand: &mut VecDeque<Item>) -> Poll<Next> {
        inbox.poll_next(&mut Context::from_waker(Waker::noop()), hand)
    }

    fn opened(number: u8) -> Item {
        Item::Opened(ConversationId::from_bytes([number; 16]))
    }

    #[test]
    fn a_full_inbox_drops_and_asks_for_a_catch_up() {
        let (inbox, mut hand) = inbox();
        for _ in 0..=CAPACITY {
            inbox.leave(opened(1));
        }
        assert_eq!(next(&inbox, &mut hand), Poll::Ready(Next::CatchUp));
        assert_eq!(next(&inbox, &mut hand), Poll::Ready(Next::Items));
        assert_eq!(hand.len(), CAPACITY);
    }

    #[test]
    fn what_the_connection_has_in_hand_counts_until_it_is_done() {
        let (inbox, mut hand) = inbox();
        for _ in 0..CAPACITY {
            inbox.leave(opened(1));
        }
        assert_eq!(next(&inbox, &mut hand), Poll::Ready(Next::Items));
        inbox.leave(opened(2));
        assert_eq!(inbox.waiting(), CAPACITY);
        hand.clear();
        assert_eq!(
            next(&inbox, &mut hand),
            Poll::Ready(Next::CatchUp),
            "the last one was dropped"
        );
        assert_eq!(next(&inbox, &mut hand), Poll::Pending);
        assert_eq!(inbox.waiting(), 0);
    }

    #[test]
    fn only_who_sleeps_is_woken_and_once() {
        let (inbox, mut hand) = inbox();
        assert!(inbox.leave(opened(1)).is_none());
        assert_eq!(next(&inbox, &mut hand), Poll::Ready(Next::Items));
        hand.clear();
        assert_eq!(next(&inbox, &mut hand), Poll::Pending);
        assert!(inbox.leave(opened(2)).is_some());
        assert!(inbox.leave(opened(3)).is_none());
    }

    fn entry(bytes: usize) -> Item {
        Item::Entry(Arc::new(Entry::for_members(Deliver {
            conversation: ConversationId::from_bytes([4; 16]),
            seq: 1,
            msg_id: MsgId::from_bytes([5; 16]),
            sender: UserId::from_bytes([6; 16]),
            sender_device: DeviceId::from_bytes([7; 16]),
            server_time: Timestamp::EPOCH,
            attempt: 0,
            version: 1,
            flags: 0,
            capsule: None,
            body: vec![0; bytes].into(),
        })))
    }

    #[test]
    fn large_entries_fill_an_inbox_before_their_number_does() {
        let (inbox, mut hand) = inbox();
        inbox.leave(entry(CAPACITY_BYTES / 2));
        inbox.leave(entry(CAPACITY_BYTES / 2));
        inbox.leave(entry(1));
        assert_eq!(next(&inbox, &mut hand), Poll::Ready(Next::CatchUp));
        assert_eq!(next(&inbox, &mut hand), Poll::Ready(Next::Items));
        assert_eq!(hand.len(), 2, "the third was dropped");
    }

    #[test]
    fn an_empty_inbox_takes_any_entry() {
        let (inbox, mut hand) = inbox();
        inbox.leave(entry(2 * CAPACITY_BYTES));
        assert_eq!(next(&inbox, &mut hand), Poll::Ready(Next::Items));
    }

    #[test]
    fn the_end_comes_before_everything_else_and_keeps_its_first_reason() {
        let (inbox, mut hand) = inbox();
        inbox.leave(opened(1));
        inbox.end(Close::DeviceRevoked);
        inbox.end(Close::GoingAway);
        for _ in 0..2 {
            assert_eq!(
                next(&inbox, &mut hand),
                Poll::Ready(Next::End(Close::DeviceRevoked))
            );
        }
    }
}
