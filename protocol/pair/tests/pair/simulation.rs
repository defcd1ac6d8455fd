//! Random schedules against a naive model: what a receiver must be able to open, by the rules and without any keys.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    sync::LazyLock,
};

use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use unhidra_crypto::instrument;
use unhidra_pair::{EkHash, OpenError};
use unhidra_types::limits::MAX_OLD_CHAINS;

use crate::network::{DAY, Mail, Two, cases, ratchet_message, rng};

/// A key and a nonce.
type Sealing = ([u8; 32], [u8; 12]);

/// One thing that happens. Numbers pick a message, modulo how many there are.
#[derive(Clone, Copy, Debug)]
enum Action {
    Send {
        from: usize,
    },
    /// The device dies after sealing, before anything is durable.
    CrashWhileSending {
        from: usize,
    },
    Deliver {
        pick: usize,
    },
    /// The device dies after opening, before anything is durable.
    CrashWhileReceiving {
        pick: usize,
    },
    /// The network forgets a message.
    Drop {
        pick: usize,
    },
    /// The network repeats a message that was delivered.
    Repeat {
        pick: usize,
    },
    /// The network delivers a message with one bit of its ratchet message turned.
    Tamper {
        pick: usize,
        bit: usize,
    },
    /// A message gets through at once: without these few schedules come to a second step of the ratchet.
    Exchange {
        from: usize,
    },
    /// A day goes by, after which the session is due for another epoch.
    Day,
}

/// So few that nothing comes to its age.
const MAX_DAYS: u32 = 20;

fn script() -> impl Strategy<Value = Vec<Action>> {
    let action = (0..24_u8, any::<u16>(), any::<u16>()).prop_map(|(kind, pick, bit)| {
        let (pick, bit) = (usize::from(pick), usize::from(bit));
        match kind {
            0..=4 => Action::Send { from: pick % 2 },
            5 => Action::CrashWhileSending { from: pick % 2 },
            6..=10 => Action::Deliver { pick },
            11 | 12 => Action::CrashWhileReceiving { pick },
            13 => Action::Drop { pick },
            14 => Action::Repeat { pick },
            15 | 16 => Action::Day,
            17..=22 => Action::Exchange { from: pick % 2 },
            _ => Action::Tamper { pick, bit },
        }
    });
    proptest::collection::vec(action, 1..60)
}

#[derive(Clone)]
struct Sent {
    mail: Mail,
    text: Vec<u8>,
    session: EkHash,
    position: Position,
}

/// Where a message stands in its session.
#[derive(Clone, Copy, Debug)]
struct Position {
    chain: u32,
    n: u32,
    previous: u32,
}

/// What the rules say about one end of one session, without a single key.
#[derive(Clone, Default)]
struct End {
    sending: Option<u32>,
    sent: u32,
    previous: u32,
    step_due: bool,
    receiving: Option<u32>,
    received: u32,
    missing: BTreeMap<u32, BTreeSet<u32>>,
}

impl End {
    fn send(&mut self) -> Position {
        if self.step_due || self.sending.is_none() {
            self.sending = Some(self.sending.map_or(0, |chain| chain + 1));
            (self.previous, self.sent, self.step_due) = (self.sent, 0, false);
        }
        self.sent += 1;
        Position {
            chain: self.sending.unwrap(),
            n: self.sent - 1,
            previous: self.previous,
        }
    }

    /// Whether the message opens.
    fn receive(&mut self, at: Position) -> bool {
        let is_late = self
            .receiving
            .is_some_and(|chain| at.chain < chain || (at.chain == chain && at.n < self.received));
        if is_late {
            return self
                .missing
                .get_mut(&at.chain)
                .is_some_and(|missing| missing.remove(&at.n));
        }
        if self.receiving != Some(at.chain) {
            if let Some(old) = self.receiving {
                self.missing
                    .entry(old)
                    .or_default()
                    .extend(self.received..at.previous);
            }
            (self.receiving, self.received, self.step_due) = (Some(at.chain), 0, true);
        }
        self.missing
            .entry(at.chain)
            .or_default()
            .extend(self.received..at.n);
        self.received = at.n + 1;
        self.missing.retain(|_, missing| !missing.is_empty());
        while self.missing.keys().filter(|chain| **chain != at.chain).count() > MAX_OLD_CHAINS {
            self.missing.pop_first();
        }
        true
    }
}

#[derive(Clone)]
struct Simulation {
    two: Two,
    ends: [BTreeMap<EkHash, End>; 2],
    in_flight: Vec<Sent>,
    delivered: Vec<Sent>,
    sent: u32,
    days: u32,
}

impl Simulation {
    /// Two who have never written to each other.
    fn of_strangers(seed: u64) -> Self {
        Self {
            two: Two::new(seed),
            ends: [BTreeMap::new(), BTreeMap::new()],
            in_flight: Vec::new(),
            delivered: Vec::new(),
            sent: 0,
            days: 0,
        }
    }

    /// Two who have each written once. Every seed begins with the same session, since handshakes are most of the time that
    /// a schedule takes, and goes on with randomness of its own.
    fn of_acquainted(seed: u64) -> (Self, &'static [Sealing]) {
        static BASE: LazyLock<(Simulation, Vec<Sealing>)> = LazyLock::new(|| {
            let (simulation, trace) = instrument::record(|| {
                let mut simulation = Simulation::of_strangers(0);
                for from in [0, 1] {
                    simulation.exchange(from).unwrap();
                }
                simulation
            });
            (simulation, trace.sealings)
        });
        let (mut simulation, sealings) = (BASE.0.clone(), BASE.1.as_slice());
        simulation.two.rng = rng(seed);
        (simulation, sealings)
    }

    fn apply(&mut self, action: Action) -> Result<(), TestCaseError> {
        match action {
            Action::Send { from } => self.send(from),
            Action::CrashWhileSending { from } => {
                let peer = self.two.devices[1 - from].address();
                if self.two.devices[from].sessions(peer).active().is_some() {
                    let Two {
                        devices, now, rng, ..
                    } = &mut self.two;
                    devices[from].seal(peer, b"never sent", *now, rng);
                }
            }
            Action::Deliver { pick } => {
                if let Some(sent) = self.take(pick) {
                    self.deliver(&sent)?;
                    self.delivered.push(sent);
                }
            }
            Action::CrashWhileReceiving { pick } => {
                if let Some(sent) = pick_from(&self.in_flight, pick) {
                    let to = self.two.dest(&sent.mail);
                    let before = self.two.stored(to);
                    let opened = || self.two.open(&sent.mail).map(|opened| opened.sessions.to_bytes());
                    prop_assert_eq!(opened(), opened(), "the second time is as the first");
                    prop_assert_eq!(self.two.stored(to), before);
                }
            }
            Action::Drop { pick } => {
                self.take(pick);
            }
            Action::Repeat { pick } => {
                if let Some(sent) = pick_from(&self.delivered, pick).cloned() {
                    self.repeat(&sent)?;
                }
            }
            Action::Tamper { pick, bit } => {
                if let Some(sent) = pick_from(&self.in_flight, pick).cloned() {
                    self.tamper(sent.mail, bit)?;
                }
            }
            Action::Exchange { from } => self.exchange(from)?,
            Action::Day => {
                if self.days < MAX_DAYS {
                    self.days += 1;
                    self.two.now = self.two.now.saturating_add(DAY);
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, from: usize) {
        let text = self.sent.to_be_bytes().to_vec();
        self.sent += 1;
        let begun = {
            let peer = self.two.devices[1 - from].address();
            self.two.devices[from].sessions(peer).active()
        };
        let mail = self.two.send(from, &text);
        let peer = self.two.devices[1 - from].address();
        let session = self.two.devices[from].sessions(peer).active().unwrap();
        assert!(
            begun.is_none() || begun == Some(session),
            "sending keeps the session"
        );
        let position = self.ends[from].entry(session).or_default().send();
        self.in_flight.push(Sent {
            mail,
            text,
            session,
            position,
        });
    }

    fn exchange(&mut self, from: usize) -> Result<(), TestCaseError> {
        self.send(from);
        if let Some(sent) = self.in_flight.pop() {
            self.deliver(&sent)?;
            self.delivered.push(sent);
        }
        Ok(())
    }

    fn deliver(&mut self, sent: &Sent) -> Result<(), TestCaseError> {
        let to = self.two.dest(&sent.mail);
        let before = self.two.stored(to);
        let opens = self.ends[to]
            .entry(sent.session)
            .or_default()
            .receive(sent.position);
        match self.two.deliver(&sent.mail) {
            Ok(shown) => {
                prop_assert!(opens, "the model has no key for {:?}", sent.position);
                prop_assert_eq!(shown.map(|shown| shown.text), Some(sent.text.clone()));
            }
            Err(error) => {
                prop_assert!(!opens, "{:?} should open, not {}", sent.position, error);
                prop_assert!(matches!(error, OpenError::KeyGone | OpenError::NoSession));
                prop_assert_eq!(self.two.stored(to), before);
            }
        }
        Ok(())
    }

    fn repeat(&mut self, sent: &Sent) -> Result<(), TestCaseError> {
        let to = self.two.dest(&sent.mail);
        let before = self.two.stored(to);
        let refused = self.two.open(&sent.mail).map(|_| ());
        prop_assert!(
            matches!(refused, Err(OpenError::KeyGone | OpenError::NoSession)),
            "{:?}",
            refused
        );
        prop_assert!(matches!(
            self.two.deliver(&sent.mail),
            Ok(None) | Err(OpenError::KeyGone | OpenError::NoSession)
        ));
        prop_assert_eq!(self.two.stored(to), before);
        Ok(())
    }

    fn tamper(&mut self, mut mail: Mail, bit: usize) -> Result<(), TestCaseError> {
        let to = self.two.dest(&mail);
        let before = self.two.stored(to);
        let at = mail.bytes.len() - 1 - (bit / 8) % ratchet_message(&mail).len();
        mail.bytes[at] ^= 1 << (bit % 8);
        prop_assert!(self.two.deliver(&mail).is_err());
        prop_assert_eq!(self.two.stored(to), before);
        Ok(())
    }

    /// The network delivers what it still has, newest first.
    fn drain(&mut self) -> Result<(), TestCaseError> {
        while let Some(sent) = self.in_flight.pop() {
            self.deliver(&sent)?;
        }
        Ok(())
    }

    fn reached(&self) -> Reached {
        let ends = self.ends.iter().flat_map(BTreeMap::values);
        let epochs = [0, 1].map(|at| {
            let peer = self.two.devices[1 - at].address();
            self.two.devices[at].sessions(peer).epoch().unwrap_or(0)
        });
        let epochs = epochs.into_iter().max().unwrap_or(0).into();
        Reached {
            schedules: 1,
            messages: self.sent.into(),
            // The first chain of a session is begun by its handshake.
            dh_steps: ends.filter_map(|end| end.receiving).map(u64::from).sum(),
            epochs,
            with_an_epoch: u64::from(epochs > 0),
            with_two_epochs: u64::from(epochs > 1),
        }
    }

    fn take(&mut self, pick: usize) -> Option<Sent> {
        (!self.in_flight.is_empty()).then(|| self.in_flight.swap_remove(pick % self.in_flight.len()))
    }
}

/// How deep the schedules went: keys that are not used twice say little where there was but one chain of them.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    schedules: u64,
    messages: u64,
    /// Chains that a receiver stepped to.
    dh_steps: u64,
    /// Post-quantum secrets mixed into the session that sends at the end.
    epochs: u64,
    with_an_epoch: u64,
    with_two_epochs: u64,
}

impl Reached {
    const fn and(self, other: Self) -> Self {
        Self {
            schedules: self.schedules + other.schedules,
            messages: self.messages + other.messages,
            dh_steps: self.dh_steps + other.dh_steps,
            epochs: self.epochs + other.epochs,
            with_an_epoch: self.with_an_epoch + other.with_an_epoch,
            with_two_epochs: self.with_two_epochs + other.with_two_epochs,
        }
    }
}

/// As `cargo xtask simulate` adds it up: `reached:`, then a number before each of the words.
impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "reached: {} schedules, {} messages, {} DH steps, {} epochs, {} schedules with an epoch, {} schedules with two",
            self.schedules,
            self.messages,
            self.dh_steps,
            self.epochs,
            self.with_an_epoch,
            self.with_two_epochs
        )
    }
}

fn pick_from(sent: &[Sent], pick: usize) -> Option<&Sent> {
    sent.get(pick.checked_rem(sent.len())?)
}

/// One schedule; what it reached.
fn run(seed: u64, script: Vec<Action>, begin: Begin) -> Result<Reached, TestCaseError> {
    // What is made once for all is made before the recording, which does not nest.
    let (mut simulation, before) = match begin {
        Begin::Strangers => (Simulation::of_strangers(seed), [].as_slice()),
        Begin::Acquainted => Simulation::of_acquainted(seed),
    };
    let (result, trace) = instrument::record(|| {
        for action in script {
            simulation.apply(action)?;
        }
        simulation.drain()?;
        Ok::<_, TestCaseError>(simulation.reached())
    });
    let distinct: HashSet<_> = before.iter().chain(&trace.sealings).collect();
    prop_assert_eq!(distinct.len(), before.len() + trace.sealings.len());
    result
}

#[derive(Clone, Copy, Debug)]
enum Begin {
    Strangers,
    Acquainted,
}

/// Invariants 1, 7, 10, 12, 14, 15, 16, 18, 19.
#[test]
fn whatever_the_network_does_messages_open_once_and_no_key_is_used_twice() {
    let begin = prop_oneof![1 => Just(Begin::Strangers), 4 => Just(Begin::Acquainted)];
    let schedules = (any::<u64>(), script(), begin);
    let reached = Cell::new(Reached::default());
    let tried = TestRunner::new(cases(64)).run(&schedules, |(seed, script, begin)| {
        reached.set(reached.get().and(run(seed, script, begin)?));
        Ok(())
    });
    if let Err(error) = tried {
        panic!("{error}");
    }
    let reached = reached.get();
    println!("{reached}");
    assert!(reached.dh_steps > reached.schedules, "too shallow: {reached}");
    assert!(reached.with_an_epoch > 0, "no post-quantum step: {reached}");
}

proptest! {
    #![proptest_config(cases(64))]

    /// Invariant 7: nothing is lost as long as no more than the older chains that are kept are involved, across epochs.
    #[test]
    fn any_order_within_the_bounds_opens_everything(
        seed in any::<u64>(),
        chains in proptest::collection::vec((1_usize..6, any::<Index>()), 1..=MAX_OLD_CHAINS + 1),
        order in any::<Index>(),
    ) {
        let mut two = Two::acquainted(seed);
        let mut held = Vec::new();
        for (length, through) in chains {
            two.now = two.now.saturating_add(DAY);
            for _ in 0..length {
                held.push(two.send(0, b"held back"));
            }
            // One message of each chain gets through, so that the other side answers and the chain ends.
            let one = held.remove(held.len() - length + through.index(length));
            two.deliver(&one).unwrap();
            two.exchange(1, b"answer");
        }
        while !held.is_empty() {
            let mail = held.swap_remove(order.index(held.len()));
            prop_assert_eq!(two.deliver(&mail).unwrap().unwrap().text, b"held back");
        }
        let at = two.devices[0].address();
        prop_assert_eq!(two.devices[1].sessions(at).skipped_keys(), 0);
    }

    /// Invariant 17: in the order of the log both sides end on one session, and nothing is lost.
    #[test]
    fn two_who_begin_at_once_converge_on_one_session(seed in any::<u64>(), sent in 1_usize..4, answered in 1_usize..4) {
        let mut two = Two::new(seed);
        let crossing = [0, 1].map(|from| {
            let count = if from == 0 { sent } else { answered };
            (0..count).map(|_| two.send(from, b"crossing")).collect::<Vec<_>>()
        });
        for mail in crossing.iter().flatten() {
            prop_assert!(two.deliver(mail).unwrap().is_some());
        }
        let active = [0, 1].map(|at| two.devices[at].sessions(two.devices[1 - at].address()).active());
        prop_assert_eq!(active[0], active[1]);
        for from in [0, 1, 0, 1] {
            prop_assert_eq!(two.exchange(from, b"after").text, b"after");
        }
        let later = [0, 1].map(|at| two.devices[at].sessions(two.devices[1 - at].address()).active());
        prop_assert_eq!(later, active);
    }
}
