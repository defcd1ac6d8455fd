//! Who is connected, and which logs each connection follows.

use std::{
    collections::HashMap,
    iter::Peekable,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use tokio::time::{Instant, sleep};
use unhidra_bus::{Entry, Notice, Notices, Presence};
use unhidra_types::{ConversationId, DeviceId, UserId};
use unhidra_wire::close::Close;

use crate::{
    burst::Burst,
    inbox::{Inbox, Item},
};

/// Connections of one device. A further one takes the place of one that gives no sign of life, or is refused.
pub const MAX_CONNECTIONS_PER_DEVICE: usize = 4;
/// How long a connection has to give one.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// Why a connection was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// The server holds as many connections as configured.
    #[error("server is full")]
    Full,
    /// The device has [`MAX_CONNECTIONS_PER_DEVICE`] connections.
    #[error("device has {MAX_CONNECTIONS_PER_DEVICE} connections already")]
    TooManyOfDevice,
}

/// All connections of this node.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max_connections: usize,
    presence: Presence,
    state: Mutex<State>,
}

/// Each map holds at most `max_connections` connections, each of them at most `messaging::MAX_LOGS` logs.
#[derive(Debug, Default)]
struct State {
    connections: usize,
    by_conversation: HashMap<ConversationId, Vec<Arc<Inbox>>>,
    by_user: HashMap<UserId, Vec<Arc<Inbox>>>,
    by_device: HashMap<DeviceId, Vec<Arc<Inbox>>>,
    /// Why whoever comes from now on has to go again.
    ended: Option<Close>,
}

impl Registry {
    /// A registry for at most `max_connections`.
    #[must_use]
    pub fn new(max_connections: usize) -> Self {
        Self(Arc::new(Shared {
            max_connections,
            presence: Presence::default(),
            state: Mutex::default(),
        }))
    }

    /// Who is connected, for administrators.
    #[must_use]
    pub fn presence(&self) -> Presence {
        self.0.presence.clone()
    }

    /// Connections now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    /// Logs that at least one connection follows.
    #[must_use]
    pub fn logs(&self) -> usize {
        self.lock().by_conversation.len()
    }

    /// Notices that wait for all connections together.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let state = self.lock();
        let inboxes = state.by_user.values().flatten();
        inboxes.map(|inbox| inbox.waiting()).sum()
    }

    /// Delivers what the bus says until it is closed.
    ///
    /// # Cancellation safety
    /// Notices that were not delivered are gaps, which connections close from the log.
    pub async fn deliver(self, mut notices: Notices) {
        let mut sleepers = Vec::new();
        while let Some(batch) = notices.recv().await {
            let state = self.lock();
            let mut batch = batch.into_iter().peekable();
            while let Some(notice) = batch.next() {
                match notice {
                    Notice::Entry(entry) => state.deliver(&run_of(entry, &mut batch), &mut sleepers),
                    other => state.tell(other, &mut sleepers),
                }
            }
            drop(state);
            // After the lock, and each once: a connection that is woken takes all that waits for it.
            sleepers.drain(..).for_each(Waker::wake);
        }
    }

    pub(crate) fn admit(&self, inbox: &Arc<Inbox>) -> Result<(), AdmissionError> {
        let mut state = self.lock();
        if state.connections >= self.0.max_connections {
            return Err(AdmissionError::Full);
        }
        let of_device = state.of_device(inbox).filter(|other| !other.is_ending());
        if of_device.count() >= MAX_CONNECTIONS_PER_DEVICE {
            return Err(AdmissionError::TooManyOfDevice);
        }
        let of_user = state.by_user.entry(inbox.who.user).or_default();
        of_user.push(Arc::clone(inbox));
        let of_device = state.by_device.entry(inbox.who.device).or_default();
        of_device.push(Arc::clone(inbox));
        state.connections += 1;
        if let Some(close) = state.ended {
            inbox.end(close);
        }
        self.0.presence.enter(Arc::clone(&inbox.who));
        Ok(())
    }

    /// [`Registry::admit`], or in the place of a connection of the same session that does not answer a ping: a device that
    /// lost its network would find its own connections in its way until they time out.
    ///
    /// # Cancellation safety
    /// Dropped, connections may have been pinged.
    pub(crate) async fn admit_or_replace(&self, inbox: &Arc<Inbox>) -> Result<(), AdmissionError> {
        match self.admit(inbox) {
            Err(AdmissionError::TooManyOfDevice) => {}
            decided => return decided,
        }
        let earlier: Vec<_> = {
            let state = self.lock();
            let of_device = state.of_device(inbox);
            of_device
                .filter(|other| other.who.session == inbox.who.session)
                .cloned()
                .collect()
        };
        let began = Instant::now();
        earlier.iter().for_each(|other| other.ask());
        sleep(SIGN_OF_LIFE).await;
        let silent = earlier
            .iter()
            .find(|other| !other.is_ending() && !other.who.activity.heard_since(began));
        if let Some(silent) = silent {
            silent.end(Close::Replaced);
        }
        self.admit(inbox)
    }

    /// Lets the connection hear of a log that it does not follow yet.
    pub(crate) fn follow(&self, inbox: &Arc<Inbox>, conversation: ConversationId) {
        self.lock()
            .by_conversation
            .entry(conversation)
            .or_default()
            .push(Arc::clone(inbox));
    }

    /// Undoes [`Registry::follow`].
    pub(crate) fn unfollow(&self, inbox: &Arc<Inbox>, conversation: ConversationId) {
        remove(&mut self.lock().by_conversation, &conversation, inbox);
    }

    /// Forgets a connection and the logs that it follows.
    pub(crate) fn leave(&self, inbox: &Arc<Inbox>, conversations: impl Iterator<Item = ConversationId>) {
        let mut state = self.lock();
        self.0.presence.leave(inbox.who.id);
        remove(&mut state.by_user, &inbox.who.user, inbox);
        remove(&mut state.by_device, &inbox.who.device, inbox);
        for conversation in conversations {
            remove(&mut state.by_conversation, &conversation, inbox);
        }
        state.connections -= 1;
    }

    /// Ends every connection, also those that come after it: for shutdown.
    pub(crate) fn end_all(&self, close: Close) {
        let mut state = self.lock();
        state.ended = Some(close);
        state
            .by_user
            .values()
            .flatten()
            .for_each(|inbox| inbox.end(close));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of_device(&self, inbox: &Inbox) -> impl Iterator<Item = &Arc<Inbox>> {
        let of_user = self.by_user.get(&inbox.who.user).into_iter().flatten();
        of_user.filter(move |other| other.who.device == inbox.who.device)
    }

    /// Leaves entries of one log, which came one after the other, with everyone who follows it.
    fn deliver(&self, mut run: &[Arc<Entry>], sleepers: &mut Vec<Waker>) {
        let Some(first) = run.first() else {
            return;
        };
        let listeners = match first.control_receiver() {
            Some(device) => self.by_device.get(&device),
            None => self.by_conversation.get(&first.shared().conversation),
        };
        let Some(listeners) = listeners else {
            return;
        };
        while let Some(entry) = run.first() {
            let (item, rest) = match Burst::of_front(run) {
                Some(burst) => {
                    let rest = run.get(burst.entries().len()..);
                    (Item::Burst(Arc::new(burst)), rest)
                }
                None => (Item::Entry(Arc::clone(entry)), run.get(1..)),
            };
            let left = listeners.iter().filter_map(|inbox| inbox.leave(item.clone()));
            sleepers.extend(left);
            run = rest.unwrap_or_default();
        }
    }

    fn tell(&self, notice: Notice, sleepers: &mut Vec<Waker>) {
        match notice {
            Notice::Entry(entry) => self.deliver(&[entry], sleepers),
            Notice::Opened {
                conversation,
                members,
            } => {
                let inboxes = members.iter().filter_map(|member| self.by_user.get(member));
                let left = inboxes
                    .flatten()
                    .filter_map(|inbox| inbox.leave(Item::Opened(conversation)));
                sleepers.extend(left);
            }
            Notice::ListChanged(head) => {
                let inboxes = self.by_user.get(&head.user).into_iter().flatten();
                sleepers.extend(inboxes.filter_map(|inbox| inbox.leave(Item::ListChanged(head))));
            }
            Notice::SessionEnded(session) => {
                self.end(|inbox| inbox.who.session == session, Close::SessionEnded);
            }
            Notice::DeviceRevoked(device) => {
                self.end(|inbox| inbox.who.device == device, Close::DeviceRevoked);
            }
            Notice::ConnectionClosed(id) => self.end(|inbox| inbox.who.id == id, Close::ByAdministrator),
        }
    }

    /// Walks all connections: sessions end rarely, and an index for it would cost every connection.
    fn end(&self, chosen: impl Fn(&Inbox) -> bool, close: Close) {
        self.by_user
            .values()
            .flatten()
            .filter(|inbox| chosen(inbox))
            .for_each(|inbox| inbox.end(close));
    }
}

/// `first` and the entries that follow it for the same listeners.
fn run_of(first: Arc<Entry>, rest: &mut Peekable<impl Iterator<Item = Notice>>) -> Vec<Arc<Entry>> {
    let of = |entry: &Entry| (entry.shared().conversation, entry.control_receiver());
    let listeners = of(&first);
    let mut run = vec![first];
    while let Some(Notice::Entry(next)) =
        rest.next_if(|notice| matches!(notice, Notice::Entry(entry) if of(entry) == listeners))
    {
        run.push(next);
    }
    run
}

fn remove<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Vec<Arc<Inbox>>>, key: &K, inbox: &Arc<Inbox>) {
    if let Some(list) = map.get_mut(key) {
        list.retain(|other| !Arc::ptr_eq(other, inbox));
        if list.is_empty() {
            map.remove(key);
        }
    }
}
