//! Which sockets are taken at all, before anything is read from them.
//!
//! Two bounds hold on open sockets, in all and of one network, and two on those of them that wait for a request: that
//! have not sent the head of one, or have had their answer and are silent. Whoever waits longest makes room for who is
//! new, so that sockets which send nothing, or a byte at a time, never keep others out: a client sends its request at
//! once. Sockets with a request in work, and WebSockets, are never given up; when only these are left, who is new is
//! turned away with a time to come back.
//!
//! A trusted proxy has no bound of its own: everyone comes through it.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;
use unhidra_runtime::Subscriber;

/// Bounds on open sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLimits {
    /// Open at once.
    pub open: usize,
    /// Open at once from one network.
    pub open_per_network: usize,
    /// Waiting for a request at once.
    pub waiting: usize,
    /// Waiting for a request at once from one network.
    pub waiting_per_network: usize,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self {
            open: 12_000,
            open_per_network: 2_000,
            waiting: 2_000,
            waiting_per_network: 500,
        }
    }
}

/// The sockets that are open. Clones count together.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Shared>);

/// Why a socket was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// The server has as many as it can serve.
    Full,
    /// This network has.
    TooManyOfNetwork,
}

/// An open socket; dropping it gives its place back.
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Admission,
    /// `None` for a trusted proxy.
    network: Option<Subscriber>,
    /// Its place among those that wait; 0 while it serves a request.
    turn: Mutex<u64>,
    /// Its place was given to another.
    given_up: AtomicBool,
    wake: Notify,
}

#[derive(Debug)]
struct Shared {
    limits: SocketLimits,
    state: Mutex<State>,
    turned_away: AtomicUsize,
}

/// At most `open` sockets, and as many networks.
#[derive(Debug, Default)]
struct State {
    open: usize,
    last_turn: u64,
    waiting: BTreeMap<u64, Arc<Slot>>,
    networks: HashMap<Subscriber, OfNetwork>,
}

#[derive(Debug, Default)]
struct OfNetwork {
    open: usize,
    waiting: BTreeMap<u64, Arc<Slot>>,
}

impl Admission {
    /// No sockets yet.
    #[must_use]
    pub fn new(limits: SocketLimits) -> Self {
        Self(Arc::new(Shared {
            limits,
            state: Mutex::default(),
            turned_away: AtomicUsize::new(0),
        }))
    }

    /// Takes a socket from `peer`, which waits for its first request.
    pub(crate) fn open(&self, peer: IpAddr, is_proxy: bool) -> Result<Held, Excess> {
        let network = (!is_proxy).then(|| Subscriber::from(peer));
        let limits = &self.0.limits;
        let mut state = self.lock();
        if let Some(of_network) = network.and_then(|network| state.networks.get(&network)) {
            let is_full = of_network.open >= limits.open_per_network;
            if is_full || of_network.waiting.len() >= limits.waiting_per_network {
                match of_network.waiting.values().next().cloned() {
                    Some(longest) => state.give_up(&longest),
                    None if is_full => return Err(Excess::TooManyOfNetwork),
                    None => {}
                }
            }
        }
        let is_full = state.open >= limits.open;
        if is_full || state.waiting.len() >= limits.waiting {
            match state.waiting.values().next().cloned() {
                Some(longest) => state.give_up(&longest),
                None if is_full => return Err(Excess::Full),
                None => {}
            }
        }
        let slot = Arc::new(Slot {
            admission: self.clone(),
            network,
            turn: Mutex::new(0),
            given_up: AtomicBool::new(false),
            wake: Notify::new(),
        });
        state.open += 1;
        if let Some(network) = network {
            state.networks.entry(network).or_default().open += 1;
        }
        state.wait(&slot);
        Ok(Held(slot))
    }

    /// One more socket that is told why it is turned away, while there are fewer than `most` of them.
    pub(crate) fn turning_away(&self, most: usize) -> Option<TurnedAway> {
        let turning = TurnedAway(Arc::clone(&self.0));
        let before = self.0.turned_away.fetch_add(1, Ordering::Relaxed);
        (before < most).then_some(turning)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held(pub(crate) Arc<Slot>);

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.admission.lock();
        state.give_up(&self.0);
    }
}

/// A socket that is told why it is turned away.
pub(crate) struct TurnedAway(Arc<Shared>);

impl Drop for TurnedAway {
    fn drop(&mut self) {
        self.0.turned_away.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slot {
    /// The head of a request has come.
    pub(crate) fn begin_request(&self) {
        self.admission.lock().stop_waiting(self);
    }

    /// A request has been answered, and the next one is waited for.
    pub(crate) fn end_request(self: &Arc<Self>) {
        let mut state = self.admission.lock();
        if !self.given_up.load(Ordering::Relaxed) {
            state.wait(self);
        }
    }

    /// Whether a request is in work.
    pub(crate) fn is_serving(&self) -> bool {
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) == 0
    }

    /// Waits until its place is given to another.
    pub(crate) async fn given_up(&self) {
        self.wake.notified().await;
    }
}

impl State {
    fn wait(&mut self, slot: &Arc<Slot>) {
        self.last_turn += 1;
        *slot.turn.lock().unwrap_or_else(PoisonError::into_inner) = self.last_turn;
        self.waiting.insert(self.last_turn, Arc::clone(slot));
        if let Some(of_network) = slot.network.and_then(|network| self.networks.get_mut(&network)) {
            of_network.waiting.insert(self.last_turn, Arc::clone(slot));
        }
    }

    fn stop_waiting(&mut self, slot: &Slot) {
        let turn = std::mem::take(&mut *slot.turn.lock().unwrap_or_else(PoisonError::into_inner));
        self.waiting.remove(&turn);
        if let Some(of_network) = slot.network.and_then(|network| self.networks.get_mut(&network)) {
            of_network.waiting.remove(&turn);
        }
    }

    /// Gives a place back, once.
    fn give_up(&mut self, slot: &Slot) {
        if slot.given_up.swap(true, Ordering::Relaxed) {
            return;
        }
        self.stop_waiting(slot);
        self.open -= 1;
        if let Some(network) = slot.network
            && let Some(of_network) = self.networks.get_mut(&network)
        {
            of_network.open -= 1;
            if of_network.open == 0 {
                self.networks.remove(&network);
            }
        }
        slot.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(SocketLimits {
            open: 6,
            open_per_network: 4,
            waiting: 5,
            waiting_per_network: 3,
        })
    }

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_given_up(held: &Held) -> bool {
        held.0.given_up.load(Ordering::Relaxed)
    }

    #[test]
    fn whoever_waits_longest_makes_room_within_its_own_network_first() {
        let admission = admission();
        let other = admission.open(peer(2), false).unwrap();
        let waiting: Vec<_> = (0..4).map(|_| admission.open(peer(1), false).unwrap()).collect();
        assert_eq!(
            waiting.iter().map(is_given_up).collect::<Vec<_>>(),
            [true, false, false, false]
        );
        assert!(!is_given_up(&other), "it has waited longer, elsewhere");
    }

    #[test]
    fn a_network_that_works_on_all_it_may_is_turned_away_and_others_are_not() {
        let admission = admission();
        let busy: Vec<_> = (0..4).map(|_| admission.open(peer(1), false).unwrap()).collect();
        // The first was given up: it made room among those that wait.
        busy.iter().skip(1).for_each(|held| held.0.begin_request());
        let last = admission.open(peer(1), false).unwrap();
        last.0.begin_request();
        assert_eq!(
            admission.open(peer(1), false).unwrap_err(),
            Excess::TooManyOfNetwork
        );
        assert!(admission.open(peer(2), false).is_ok());
        drop(last);
        assert!(admission.open(peer(1), false).is_ok());
    }

    #[test]
    fn a_full_server_takes_nobody_and_gives_up_nobody_who_is_served() {
        let admission = admission();
        let busy: Vec<_> = (1..=6)
            .map(|from| admission.open(peer(from), false).unwrap())
            .collect();
        let served: Vec<_> = busy.iter().filter(|held| !is_given_up(held)).collect();
        served.iter().for_each(|held| held.0.begin_request());
        let more: Vec<_> = (7..=7)
            .map(|from| admission.open(peer(from), false).unwrap())
            .collect();
        more.iter().for_each(|held| held.0.begin_request());
        assert_eq!(admission.open(peer(9), false).unwrap_err(), Excess::Full);
        assert!(served.iter().all(|held| !is_given_up(held)));
        // One that has had its answer makes room again.
        served[0].0.end_request();
        assert!(admission.open(peer(9), false).is_ok());
        assert!(is_given_up(served[0]));
    }

    #[test]
    fn a_proxy_has_no_bound_of_its_own() {
        let admission = admission();
        let through: Vec<_> = (0..6).map(|_| admission.open(peer(1), true).unwrap()).collect();
        assert_eq!(
            through.iter().filter(|held| is_given_up(held)).count(),
            1,
            "the bound on all that wait"
        );
    }

    #[test]
    fn nothing_is_left_of_sockets_that_are_gone() {
        let admission = admission();
        for _ in 0..100 {
            let held = admission.open(peer(1), false).unwrap();
            held.0.begin_request();
            held.0.end_request();
        }
        let state = admission.lock();
        assert_eq!((state.open, state.waiting.len(), state.networks.len()), (0, 0, 0));
    }

    #[test]
    fn only_so_many_are_told_why() {
        let admission = admission();
        let told: Vec<_> = (0..3).filter_map(|_| admission.turning_away(2)).collect();
        assert_eq!(told.len(), 2);
        drop(told);
        assert!(admission.turning_away(2).is_some());
    }
}
