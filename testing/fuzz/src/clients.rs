//! Two whole clients and an honest server, with a network in between that does what a script says.
//!
//! The world is the one of the client's own tests (`client/core/tests/world`). It is made once, with its keys, and set back
//! before each input.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use unhidra_client::{
    Device, MessageBody, Opened,
    store::{KeyRange, MemoryStore, Order, Store as _, StoreError, Table},
};
use unhidra_types::{MsgId, SessionId, Timestamp};
use unhidra_wire::frame::{Deliver, ListVersion, PrekeyStock, ServerFrame, Welcome};

use crate::{
    directory::Directory,
    log::Logs,
    session::Dice,
    world::{ALICE, BOB, World, conversation},
};

/// Beyond this an input says nothing new, and takes long.
const MAX_ACTS: usize = 64;

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::new(Stage::new());
}

/// A world, and what it is set back to.
struct Stage {
    world: World,
    directory: Directory,
    logs: Logs,
    stores: Vec<MemoryStore>,
    now: Timestamp,
}

impl Stage {
    /// Alice and Bob, who have each written once.
    fn new() -> Self {
        let mut world = World::of_two(1);
        for machine in [0, 1] {
            world.submit(machine, "hello");
            world.settle();
        }
        Self {
            directory: world.directory.clone(),
            logs: world.logs.clone(),
            stores: world
                .machines
                .iter()
                .map(|machine| machine.store.snapshot())
                .collect(),
            now: world.now,
            world,
        }
    }

    fn set_back(&mut self) -> &mut World {
        let world = &mut self.world;
        world.directory = self.directory.clone();
        world.logs = self.logs.clone();
        world.now = self.now;
        world.submitted.clear();
        for (machine, store) in self.stores.iter().enumerate() {
            world.set_back(machine, store);
            world.connect(machine);
        }
        world
    }
}

/// Acts of a network, and of people: a byte that says which, one of the machine it is about, one of how much.
///
/// Whatever it does, a text is shown as it was written, and once. As long as nothing is altered, each one arrives.
pub fn script(data: &[u8]) {
    STAGE.with_borrow_mut(|stage| {
        let mut play = Play {
            world: stage.set_back(),
            texts: BTreeMap::new(),
            is_honest: true,
        };
        let (acts, _) = data.as_chunks::<3>();
        for [act, machine, operand] in acts.iter().take(MAX_ACTS) {
            play.act(*act, usize::from(machine % 2), usize::from(*operand));
        }
        play.end();
    });
}

struct Play<'a> {
    world: &'a mut World,
    texts: BTreeMap<MsgId, String>,
    is_honest: bool,
}

impl Play<'_> {
    fn act(&mut self, act: u8, machine: usize, operand: usize) {
        let world = &mut *self.world;
        match act % 16 {
            0 | 1 => {
                let text = format!("text {}", self.texts.len());
                let id = world.submit(machine, &text);
                self.texts.insert(id, text);
            }
            2 | 3 => world.flush(machine),
            4 | 5 => world.deliver(machine, operand % 8 + 1),
            6 => world.deliver_and_crash(machine, operand % 8 + 1),
            7 => world.crash(machine),
            8 => world.disconnect(machine),
            9 | 10 => world.connect(machine),
            11 => world.duplicate(machine, u64::try_from(operand % 16).unwrap_or(0)),
            12 => world.lose(machine),
            // So little in all that no key and no certificate comes to its age.
            13 => {
                let hours = u64::try_from(operand % 8).unwrap_or(0);
                world.idle(machine, Duration::from_secs(3_600 * hours));
            }
            14 => self.alter(machine, |deliver| turn(deliver, operand)),
            _ => self.alter(machine, |deliver| relabel(deliver, operand)),
        }
    }

    /// Changes the next entry on its way to a machine.
    fn alter(&mut self, machine: usize, change: impl FnOnce(&mut Deliver)) {
        let machine = self.world.machines.get_mut(machine);
        let incoming = machine.and_then(|machine| machine.incoming.as_mut());
        for frame in incoming.into_iter().flatten() {
            let mut altered = frame.clone();
            let ServerFrame::Deliver(deliver) = &mut altered else {
                continue;
            };
            change(deliver);
            // What the wire does not take never comes to a client.
            if matches!(ServerFrame::decode(altered.encode()), Ok(Some(_))) {
                *frame = altered;
                self.is_honest = false;
            }
            return;
        }
    }

    fn end(self) {
        let Self {
            world,
            texts,
            is_honest,
        } = self;
        if is_honest {
            world.settle();
        }
        for machine in [0, 1] {
            let mut shown = BTreeMap::new();
            for message in world.messages(machine) {
                let MessageBody::Text(text) = message.body else {
                    panic!("a message that nobody wrote")
                };
                let again = shown.insert(message.msg_id, text.clone());
                assert_eq!(again, None, "a message is shown twice");
                let written = texts.get(&message.msg_id).map_or("hello", String::as_str);
                assert_eq!(text, written);
            }
            let arrived = texts.keys().all(|id| shown.contains_key(id));
            assert!(arrived || !is_honest, "a message is lost");
        }
    }
}

/// Turns one bit of what was sealed, in the capsule or in the body.
fn turn(deliver: &mut Deliver, operand: usize) {
    let sealed = match &mut deliver.capsule {
        Some(capsule) if !operand.is_multiple_of(3) => &mut capsule.sealed,
        _ => &mut deliver.body,
    };
    let mut bytes = sealed.to_vec();
    let place = (operand / 3 * 37).checked_rem(bytes.len()).unwrap_or(0);
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << (operand % 8);
    }
    *sealed = bytes.into();
}

/// Changes what the server says about an entry.
fn relabel(deliver: &mut Deliver, operand: usize) {
    let (what, by) = (operand % 8, operand / 8);
    match what {
        0 => deliver.seq = deliver.seq.saturating_add(u64::try_from(by).unwrap_or(0)),
        1 => deliver.seq = deliver.seq.saturating_sub(1).max(1),
        2 => deliver.msg_id = MsgId::from_bytes([u8::try_from(by).unwrap_or(0); 16]),
        3 => deliver.attempt = u8::try_from(by % 4).unwrap_or(0),
        4 => deliver.flags ^= 1 << (by % 16),
        5 => deliver.sender = if deliver.sender == ALICE { BOB } else { ALICE },
        6 => deliver.version = u8::try_from(by).unwrap_or(0),
        _ => deliver.body = bytes::Bytes::new(),
    }
}

/// Damage to a store, in acts of four bytes: a table, a record, a place in it, what is put there. Then the device opens and
/// does everything that it can. It may say that a record is damaged; it may not end.
pub fn damaged_store(data: &[u8]) {
    let store = STAGE.with_borrow(|stage| stage.stores.first().map(MemoryStore::snapshot));
    let mut store = store.unwrap_or_default();
    let (acts, _) = data.as_chunks::<4>();
    for act in acts.iter().take(MAX_ACTS) {
        damage(&mut store, *act).unwrap_or_else(|error| panic!("{error}"));
    }
    // What it says is not asked.
    drop(use_all(store));
}

fn damage(store: &mut MemoryStore, [table, record, place, byte]: [u8; 4]) -> Result<(), StoreError> {
    let Some(table) = usize::from(table)
        .checked_rem(Table::ALL.len())
        .and_then(|at| Table::ALL.get(at))
        .copied()
    else {
        return Ok(());
    };
    store.transaction(|tx| {
        let rows = tx.scan(table, &KeyRange::all(), Order::Ascending, usize::MAX)?;
        let row = usize::from(record)
            .checked_rem(rows.len())
            .and_then(|at| rows.get(at));
        // A table without records gets one, under a key of the length that most have.
        let (key, mut value) = row.map_or_else(
            || (vec![record; 16], vec![1; usize::from(place)]),
            |row| (row.key.clone(), row.value.clone()),
        );
        match byte {
            0 => value.truncate(usize::from(place)),
            0xff => value.extend(vec![place; 16]),
            _ => {
                let place = usize::from(place).checked_rem(value.len()).unwrap_or(0);
                if let Some(at) = value.get_mut(place) {
                    *at ^= byte;
                }
            }
        }
        tx.put(table, &key, &value)
    })
}

fn use_all(store: MemoryStore) -> Result<(), StoreError> {
    let Opened::Device(mut device) = Device::open(store)? else {
        return Ok(());
    };
    let (now, mut dice) = (Timestamp::from_millis(1_750_100_000_000), Dice::of(3));
    let results = [
        device.conversations().map(drop),
        device.messages_after(conversation(), 0, 10).map(drop),
        device.messages_before(conversation(), 10, 10).map(drop),
        device.journal(0, 10).map(drop),
        device.contacts().map(drop),
        device.waiting().map(drop),
        device.suspicions().map(drop),
        device.unsent().map(drop),
        device.identity_changes(0, 10).map(drop),
        device.unsent_texts(BOB).map(drop),
        device.known(BOB).map(drop),
        device.changed_identity(BOB).map(drop),
        device.outgoing(None, 10).map(drop),
        device.pending_upload(now, &mut dice).map(drop),
        device.own_chain(now, &mut dice).map(drop),
        device.prune(conversation(), now, 10).map(drop),
    ];
    let text = unhidra_wire::content::Content::Text("after the damage".into());
    drop(device.submit(BOB, &[(unhidra_client::MessageKey::Random, text)], now, &mut dice));
    drop(device.receive(vec![welcome(&device, now), ServerFrame::CaughtUp], now, &mut dice));
    drop(device.conversation_opened(BOB, now, &mut dice));
    drop(device.idle(now, &mut dice));
    results.into_iter().collect()
}

fn welcome(device: &Device<MemoryStore>, now: Timestamp) -> ServerFrame {
    ServerFrame::Welcome(Welcome {
        device: device.id(),
        session: SessionId::from_bytes([1; 16]),
        server_time: now,
        last_accepted: None,
        own_list: ListVersion {
            user: device.user(),
            version: 1,
            head_hash: [1; 32],
        },
        stock: PrekeyStock::default(),
        session_age: None,
    })
}
