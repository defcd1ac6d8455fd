//! What waits for one connection.
//!
//! The router never waits for a reader. When the inbox is full it drops the notice and marks the connection lagging;
//! the connection then reads its logs from where it is, which replaces everything that was dropped.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::{Notify, mpsc};
use unhidra_bus::{Entry, presence::Connected};
use unhidra_types::ConversationId;
use unhidra_wire::{close::Close, frame::ListVersion};

/// Notices that wait for one connection: about a second of a busy channel.
const CAPACITY: usize = 256;
/// Bytes of entries that wait for one connection, so that a slow reader of large ones costs no more than one of small
/// ones. An empty inbox takes any entry.
const CAPACITY_BYTES: usize = 1024 * 1024;

/// A notice for one connection.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Entry(Arc<Entry>),
    Opened(ConversationId),
    ListChanged(ListVersion),
}

impl Item {
    /// What it keeps in memory beyond its own size, if nobody else holds it.
    fn bytes(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.bytes(),
            Self::Opened(_) | Self::ListChanged(_) => 0,
        }
    }
}

/// The end that the router holds.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) who: Arc<Connected>,
    queue: mpsc::Sender<Item>,
    /// Bytes of the entries in the queue.
    held: AtomicUsize,
    lagging: Notify,
    /// For the log alone: said once each time.
    is_lagging: AtomicBool,
    ending: Notify,
    end: Mutex<Option<Close>>,
    /// The peer is to be asked for a sign of life.
    asked: Notify,
}

/// The end that the connection reads.
pub(crate) struct Items {
    pub(crate) inbox: Arc<Inbox>,
    queue: mpsc::Receiver<Item>,
}

/// What a connection is to do next.
#[derive(Debug)]
pub(crate) enum Next {
    Item(Item),
    /// Notices were dropped: read the logs.
    CatchUp,
    End(Close),
}

pub(crate) fn inbox(who: Arc<Connected>) -> Items {
    let (sender, queue) = mpsc::channel(CAPACITY);
    let inbox = Inbox {
        who,
        queue: sender,
        held: AtomicUsize::new(0),
        lagging: Notify::new(),
        is_lagging: AtomicBool::new(false),
        ending: Notify::new(),
        end: Mutex::new(None),
        asked: Notify::new(),
    };
    Items {
        inbox: Arc::new(inbox),
        queue,
    }
}

impl Inbox {
    /// Leaves a notice, or marks the connection lagging.
    pub(crate) fn leave(&self, item: Item) {
        let bytes = item.bytes();
        // Before the reader can subtract it.
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let fits = before == 0 || before.saturating_add(bytes) <= CAPACITY_BYTES;
        if !fits || self.queue.try_send(item).is_err() {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
            self.lag();
        }
    }

    fn lag(&self) {
        if !self.is_lagging.swap(true, Ordering::Relaxed) {
            self.who.activity.lagged();
            tracing::debug!(device.id = %self.who.device, "connection is lagging: it will read its logs");
        }
        self.lagging.notify_one();
    }

    /// Notices that wait, at most [`CAPACITY`].
    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    fn taken(&self, item: Item) -> Item {
        self.held.fetch_sub(item.bytes(), Ordering::Relaxed);
        item
    }

    /// Has the peer asked for a sign of life.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Waits until the peer is to be asked.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Whether it was told to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Ends the connection; the first reason counts.
    pub(crate) fn end(&self, close: Close) {
        self.end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(close);
        self.ending.notify_one();
    }
}

impl Items {
    /// Waits for the next thing to do.
    ///
    /// # Cancellation safety
    /// Nothing is lost when the call is dropped.
    pub(crate) async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            close = ended(&self.inbox) => Next::End(close),
            () = self.inbox.lagging.notified() => {
                self.inbox.is_lagging.store(false, Ordering::Relaxed);
                Next::CatchUp
            }
            // The inbox itself holds a sender, so the queue never ends before the connection does.
            Some(item) = self.queue.recv() => Next::Item(self.inbox.taken(item)),
        }
    }

    /// A notice that is already there.
    pub(crate) fn ready(&mut self) -> Option<Item> {
        self.queue.try_recv().ok().map(|item| self.inbox.taken(item))
    }
}

/// Waits until the connection is to end.
pub(crate) async fn ended(inbox: &Inbox) -> Close {
    loop {
        let notified = inbox.ending.notified();
        if let Some(close) = *inbox.end.lock().unwrap_or_else(PoisonError::into_inner) {
            return close;
        }
        notified.await;
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

    fn items() -> Items {
        inbox(nobody())
    }

    fn opened(number: u8) -> Item {
        Item::Opened(ConversationId::from_bytes([number; 16]))
    }

    #[tokio::test]
    async fn a_full_inbox_drops_and_asks_for_a_catch_up() {
        let mut items = items();
        for _ in 0..=CAPACITY {
            items.inbox.leave(opened(1));
        }
        assert!(matches!(items.next().await, Next::CatchUp));
        let mut waiting = 0;
        while items.ready().is_some() {
            waiting += 1;
        }
        assert_eq!(waiting, CAPACITY);
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

    #[tokio::test]
    async fn large_entries_fill_an_inbox_before_their_number_does() {
        let mut items = items();
        items.inbox.leave(entry(CAPACITY_BYTES / 2));
        items.inbox.leave(entry(CAPACITY_BYTES / 2));
        items.inbox.leave(entry(1));
        assert!(matches!(items.next().await, Next::CatchUp));
        assert!(items.ready().is_some());
        items.inbox.leave(entry(1));
        assert!(items.ready().is_some() && items.ready().is_some());
        assert!(items.ready().is_none(), "the one that was dropped");
    }

    #[tokio::test]
    async fn the_end_comes_before_everything_else_and_keeps_its_first_reason() {
        let mut items = items();
        items.inbox.leave(opened(1));
        items.inbox.end(Close::DeviceRevoked);
        items.inbox.end(Close::GoingAway);
        assert!(matches!(items.next().await, Next::End(Close::DeviceRevoked)));
        assert!(matches!(items.next().await, Next::End(Close::DeviceRevoked)));
    }
}
