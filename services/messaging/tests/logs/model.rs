//! Whatever happens, in any order: each device's pages and everything that is stored follow a model that keeps
//! everything in plain maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::{prelude::*, sample::Index};
use unhidra_messaging::{access::Sender, delivery::Log};
use unhidra_types::{ConversationId, DeviceId, Timestamp, UserId};
use unhidra_wire::frame::{Append, Refusal, ServerFrame};

use crate::fixture::{HOME, NOW, Server, capsule, decoded, plain, refusal, sender, user};

/// Entries that one act of retention looks at: small, so that a sweep takes several.
const STEP: u32 = 3;
const USERS: [UserId; 3] = [user(10), user(11), user(12)];

#[derive(Clone, Debug)]
enum Act {
    Append {
        log: Index,
        from: Index,
        to: u16,
        bytes: usize,
        stray: Option<Index>,
    },
    Repeat(Index),
    /// Sends an earlier message to one more device.
    Owe {
        message: Index,
        to: Index,
    },
    Acknowledge {
        log: Index,
        by: Index,
        /// The head, unless said otherwise.
        through: Option<Index>,
    },
    Certify(Index),
    Revoke(Index),
    /// Keeps what is at most this many milliseconds old; one passes with each act.
    Sweep(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<Index>;
    let bytes = prop_oneof![Just(1_usize), Just(500), Just(100_000)];
    prop_oneof![
        8 => (index(), index(), any::<u16>(), bytes, prop::option::weighted(0.1, index()))
            .prop_map(|(log, from, to, bytes, stray)| Act::Append { log, from, to, bytes, stray }),
        1 => index().prop_map(Act::Repeat),
        2 => (index(), index()).prop_map(|(message, to)| Act::Owe { message, to }),
        6 => (index(), index(), prop::option::of(index())).prop_map(|(log, by, through)| Act::Acknowledge { log, by, through }),
        2 => index().prop_map(Act::Certify),
        1 => index().prop_map(Act::Revoke),
        1 => (0_u64..20).prop_map(Act::Sweep),
    ]
}

/// An entry of the model. In a direct log its body is kept exactly as long as a capsule is.
struct Entry {
    append: Append,
    from: Sender,
    at: Timestamp,
    capsules: BTreeSet<DeviceId>,
}

struct ModelLog {
    id: ConversationId,
    direct: bool,
    members: Vec<UserId>,
    entries: Vec<Entry>,
    cursors: BTreeMap<DeviceId, u64>,
}

struct Model {
    logs: Vec<ModelLog>,
    devices: Vec<Sender>,
    revoked: BTreeSet<DeviceId>,
    now: Timestamp,
    messages: u8,
    swept: i64,
}

impl ModelLog {
    fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    fn cursor(&self, device: DeviceId) -> u64 {
        self.cursors.get(&device).copied().unwrap_or(0)
    }

    /// Whether the entry holds something for a device.
    fn holds(&self, entry: &Entry, device: DeviceId) -> bool {
        entry.from.device != device && (!self.direct || entry.capsules.contains(&device))
    }

    fn keeps_body(&self, entry: &Entry) -> bool {
        !self.direct || !entry.capsules.is_empty()
    }

    fn add(&mut self, append: Append, from: Sender, at: Timestamp) -> u64 {
        let capsules = append.capsules.iter().map(|capsule| capsule.device).collect();
        self.entries.push(Entry {
            append,
            from,
            at,
            capsules,
        });
        self.head()
    }
}

impl Model {
    async fn new(server: &Server) -> Self {
        let mut model = Self {
            logs: Vec::new(),
            devices: Vec::new(),
            revoked: BTreeSet::new(),
            now: NOW,
            messages: 0,
            swept: 0,
        };
        for (seed, user) in (10..).zip(USERS) {
            server.user(seed, HOME).await;
            let first = server.certify(user, 1).await;
            model.devices.push(sender(user, first));
        }
        let [a, b, c] = USERS;
        let first = model.devices[0];
        for (direct, members) in [(true, vec![a, b]), (true, vec![a, c]), (false, vec![a, b, c])] {
            let id = match (direct, members.as_slice()) {
                (true, [_, peer]) => server.open_direct(first, *peer).await,
                _ => server.open_group(first, &members).await,
            };
            model.logs.push(ModelLog {
                id,
                direct,
                members,
                entries: Vec::new(),
                cursors: BTreeMap::new(),
            });
        }
        model
    }

    fn live(&self) -> Vec<Sender> {
        let live = self.devices.iter().copied();
        live.filter(|one| !self.revoked.contains(&one.device)).collect()
    }

    async fn follow(&mut self, server: &Server, act: &Act) {
        self.now = Timestamp::from_millis(self.now.as_millis() + 1);
        match act {
            Act::Append {
                log,
                from,
                to,
                bytes,
                stray,
            } => {
                self.append(server, [log, from], *to, *bytes, stray.as_ref())
                    .await
            }
            Act::Repeat(which) => self.repeat(server, which).await,
            Act::Owe { message, to } => self.owe(server, message, to).await,
            Act::Acknowledge { log, by, through } => {
                self.acknowledge(server, log, by, through.as_ref()).await
            }
            Act::Certify(whose) => self.certify(server, *whose.get(&USERS)).await,
            Act::Revoke(which) => self.revoke(server, which).await,
            Act::Sweep(age) => self.sweep(server, *age).await,
        }
    }

    async fn append(
        &mut self,
        server: &Server,
        [log, from]: [&Index; 2],
        to: u16,
        bytes: usize,
        stray: Option<&Index>,
    ) {
        let live = self.live();
        if live.is_empty() {
            return;
        }
        let (from, number) = (*from.get(&live), log.index(self.logs.len()));
        let log = &self.logs[number];
        let mut devices: Vec<_> = Vec::new();
        if log.direct {
            let reachable = live
                .iter()
                .filter(|one| log.members.contains(&one.user) && one.device != from.device);
            let chosen = reachable.enumerate().filter(|(n, _)| to >> (n % 16) & 1 == 1);
            devices.extend(chosen.map(|(_, one)| one.device));
            let stray = stray.map(|stray| stray.get(&self.devices).device);
            devices.extend(stray.filter(|stray| !devices.contains(stray)));
        }
        self.messages += 1;
        let mut append = match log.direct {
            true => server.sealed(log.id, self.messages, &devices).await,
            false => plain(log.id, self.messages),
        };
        append.body = vec![self.messages; bytes].into();
        let good = |device: &DeviceId| {
            let target = live.iter().find(|one| one.device == *device);
            *device != from.device && target.is_some_and(|one| log.members.contains(&one.user))
        };
        let expected = if !log.members.contains(&from.user) {
            Err(Refusal::NotFound)
        } else if log.direct && devices.is_empty() {
            Err(Refusal::Malformed)
        } else if !devices.iter().all(good) {
            Err(Refusal::UnknownDevice)
        } else {
            Ok(self.logs[number].add(append.clone(), from, self.now))
        };
        let outcome = server
            .messaging
            .append(from, append, &Arc::default(), self.now)
            .await;
        match expected {
            Ok(seq) => assert_eq!(outcome.unwrap().seq, seq),
            Err(reason) => assert_eq!(refusal(outcome), reason),
        }
    }

    async fn repeat(&mut self, server: &Server, which: &Index) {
        let Some((number, place)) = self.pick_entry(which) else {
            return;
        };
        let entry = &self.logs[number].entries[place];
        let again = server
            .messaging
            .append(entry.from, entry.append.clone(), &Arc::default(), self.now);
        let again = again.await.unwrap();
        assert_eq!((again.seq, again.server_time), (place as u64 + 1, entry.at));
    }

    async fn owe(&mut self, server: &Server, message: &Index, to: &Index) {
        let Some((number, place)) = self.pick_entry(message) else {
            return;
        };
        let (log, live) = (&self.logs[number], self.live());
        let entry = &log.entries[place];
        let candidates: Vec<_> = live
            .iter()
            .filter(|one| log.members.contains(&one.user) && one.device != entry.from.device)
            .collect();
        if !log.direct || candidates.is_empty() || !live.contains(&entry.from) {
            return;
        }
        let (from, dest) = (entry.from, to.get(&candidates).device);
        let owed = Append {
            dest: Some(dest),
            list_versions: server.heads(log.id).await,
            capsules: vec![capsule(dest)],
            ..entry.append.clone()
        };
        let same = |earlier: &Entry| {
            let key = |append: &Append| (append.msg_id, append.dest);
            earlier.from.device == from.device && key(&earlier.append) == key(&owed)
        };
        let expected = match log.entries.iter().position(same) {
            Some(place) => place as u64 + 1,
            None => self.logs[number].add(owed.clone(), from, self.now),
        };
        let place = server
            .messaging
            .append(from, owed, &Arc::default(), self.now)
            .await
            .unwrap();
        assert_eq!(place.seq, expected);
    }

    /// As a connection does it: of a log of its user, and never past the head.
    async fn acknowledge(&mut self, server: &Server, log: &Index, by: &Index, through: Option<&Index>) {
        let (number, by) = (log.index(self.logs.len()), *by.get(&self.devices));
        let log = &mut self.logs[number];
        if !log.members.contains(&by.user) {
            return;
        }
        let seq = through.map_or(log.head(), |through| through.index(log.entries.len() + 1) as u64);
        server.acknowledge(by, log.id, seq).await;
        let cursor = log.cursor(by.device).max(seq);
        log.cursors.insert(by.device, cursor);
        for entry in log.entries.iter_mut().take(cursor as usize) {
            entry.capsules.remove(&by.device);
        }
    }

    async fn certify(&mut self, server: &Server, owner: UserId) {
        let number = self.devices.iter().filter(|one| one.user == owner).count() + 1;
        let device = server.certify(owner, number as u8).await;
        for log in &mut self.logs {
            if log.members.contains(&owner) {
                let head = log.head();
                log.cursors.insert(device, head);
            }
        }
        self.devices.push(sender(owner, device));
    }

    async fn revoke(&mut self, server: &Server, which: &Index) {
        let one = *which.get(&self.devices);
        server.revoke(one.user, one.device).await;
        self.revoked.insert(one.device);
    }

    /// In steps, as the hourly sweep does it.
    async fn sweep(&mut self, server: &Server, age: u64) {
        let cutoff = Timestamp::from_millis(self.now.as_millis() - age);
        let swept = server.messaging.sweep_bodies(self.swept, cutoff, STEP);
        self.swept = swept.await.unwrap();
        for log in self.logs.iter_mut().filter(|log| log.direct) {
            let old = log.entries.iter_mut().filter(|entry| entry.at < cutoff);
            old.for_each(|entry| entry.capsules.clear());
        }
    }

    fn pick_entry(&self, which: &Index) -> Option<(usize, usize)> {
        let places = self.logs.iter().enumerate();
        let places: Vec<_> = places
            .flat_map(|(number, log)| (0..log.entries.len()).map(move |place| (number, place)))
            .collect();
        (!places.is_empty()).then(|| *which.get(&places))
    }

    async fn check(&self, server: &Server) {
        for log in &self.logs {
            let stored = server.stored(log.id).await;
            let kept: Vec<_> = stored
                .iter()
                .map(|(entry, capsules)| (entry.seq, entry.body.clone(), *capsules))
                .collect();
            let expected: Vec<_> = (1..)
                .zip(&log.entries)
                .map(|(seq, entry)| {
                    let body = log.keeps_body(entry).then(|| entry.append.body.clone());
                    (seq, body, entry.capsules.len())
                })
                .collect();
            assert!(kept == expected, "what is stored of {}", log.id);
        }
        for reader in &self.devices {
            let positions = server.messaging.positions(reader.user, reader.device);
            let positions = positions.await.unwrap();
            let logs = self.logs.iter().filter(|log| log.members.contains(&reader.user));
            assert_eq!(positions.len(), logs.clone().count());
            for log in logs {
                let position = positions.iter().find(|position| position.conversation == log.id);
                let position = position.unwrap();
                assert_eq!(
                    (position.acknowledged, position.head),
                    (log.cursor(reader.device), log.head())
                );
                for from in [1, position.acknowledged + 1] {
                    check_pages(server, log, Log::from(position), *reader, from).await;
                }
            }
        }
    }
}

/// Reads to the head, page by page.
async fn check_pages(server: &Server, log: &ModelLog, key: Log, reader: Sender, mut next: u64) {
    while next <= log.head() {
        let page = server
            .messaging
            .page(key, reader.device, next, log.head(), log.head());
        let page = page.await.unwrap();
        assert!(page.through >= next, "a page without an entry");
        let mut after_skip = false;
        for frame in decoded(&page) {
            let is_skip = matches!(frame, ServerFrame::Skip { .. });
            assert!(!(is_skip && after_skip), "two skips in a row on one page");
            after_skip = is_skip;
            let (conversation, from, to) = match frame {
                ServerFrame::Skip {
                    conversation,
                    from,
                    to,
                } => (conversation, from, to),
                ServerFrame::Deliver(entry) => {
                    let expected = &log.entries[entry.seq as usize - 1];
                    assert!(
                        log.holds(expected, reader.device),
                        "{} is not for {}",
                        entry.seq,
                        reader.device
                    );
                    assert_eq!(
                        (entry.msg_id, entry.sender_device, entry.server_time),
                        (expected.append.msg_id, expected.from.device, expected.at)
                    );
                    assert_eq!(entry.capsule, log.direct.then(|| capsule(reader.device)));
                    assert!(entry.body == expected.append.body, "body of {}", entry.seq);
                    (entry.conversation, entry.seq, entry.seq)
                }
                other => panic!("{other:?} is not of a page"),
            };
            assert_eq!((conversation, from), (log.id, next), "a gap or a repetition");
            if is_skip {
                let skipped = &log.entries[from as usize - 1..to as usize];
                assert!(
                    !skipped.iter().any(|entry| log.holds(entry, reader.device)),
                    "{from} to {to}"
                );
            }
            next = to + 1;
        }
        assert_eq!(page.through, next - 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_devices_pages_and_what_is_stored_follow_the_model(acts in prop::collection::vec(act(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let server = Server::new().await;
            let mut model = Model::new(&server).await;
            for act in &acts {
                model.follow(&server, act).await;
                model.check(&server).await;
            }
        });
    }
}
