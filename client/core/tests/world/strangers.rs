//! What a server can try with a user of its own making, whose device bears the id of somebody else's.
//!
//! A device id is unique within one chain only: nothing but the server's word keeps it unique between users.

use unhidra_chain::DeviceKind;
use unhidra_client::{Device, MessageKey, Need, direct_conversation, store::MemoryStore};
use unhidra_types::{MsgId, UserId};
use unhidra_wire::{
    content::Content,
    frame::{Append, Capsule, CapsuleKind, Deliver, ServerFrame},
};

use crate::world::{ALICE, BOB, World, conversation};

const EVE: UserId = UserId::from_bytes([0xe0; 16]);

/// A user in the server's directory whose first device has the id of Bob's.
struct Stranger(Device<MemoryStore>);

impl Stranger {
    fn found(world: &mut World) -> Self {
        let id = world.machines[1].device.id();
        let store = MemoryStore::new();
        let mut device = Device::create(store, EVE, id, DeviceKind::Human, &mut world.rng).unwrap();
        let founded = device.found_identity(world.now, &mut world.rng).unwrap();
        let chain = unhidra_chain::Chain::verify(&founded.records).unwrap();
        world.directory.chains.insert(EVE, chain);
        world
            .logs
            .members
            .insert(direct_conversation(EVE, ALICE), [EVE, ALICE]);
        Self(device)
    }

    /// Writes to Alice, who reads it.
    fn write(&mut self, world: &mut World, text: &str) {
        let message = [(MessageKey::Random, Content::Text(text.into()))];
        let now = world.tick();
        let device = &mut self.0;
        let submitted = device.submit(ALICE, &message, now, &mut world.rng).unwrap();
        let mut pending = submitted.effects;
        while let Some(need) = pending.needs.pop_first() {
            let met = match need {
                Need::Conversation(peer) => device.conversation_opened(peer, now, &mut world.rng),
                Need::Chain { user, from } => {
                    let records = world.directory.records(user, from, EVE);
                    device.learn_chain(user, from, &records, now, &mut world.rng)
                }
                Need::Bundles { user, devices } => {
                    let bundles = world.directory.take(&devices);
                    device.bundles_taken(user, &devices, &bundles, now, &mut world.rng)
                }
                Need::Stock | Need::UploadPrekeys | Need::ReportFailures => continue,
            };
            pending.merge(met.unwrap());
        }
        let (_, append) = device.outgoing(None, 1).unwrap().pop().unwrap();
        let frame = self.delivered(world, append);
        world.connect(0);
        world.machines[0].incoming.as_mut().unwrap().push_back(frame);
        world.run(0);
        let log = direct_conversation(EVE, ALICE);
        let read = world.machines[0].device.messages_after(log, 0, 9).unwrap();
        assert_eq!(read.len(), 1, "Alice reads what the stranger wrote");
    }

    fn delivered(&self, world: &World, append: Append) -> ServerFrame {
        let alice = world.machines[0].device.id();
        let capsule = append.capsules.iter().find(|capsule| capsule.device == alice);
        ServerFrame::Deliver(Deliver {
            conversation: append.conversation,
            seq: 1,
            msg_id: append.msg_id,
            sender: EVE,
            sender_device: self.0.id(),
            server_time: world.now,
            attempt: 0,
            version: 1,
            flags: 0,
            capsule: capsule.cloned(),
            body: append.body,
        })
    }

    fn revoke_own_device(&mut self, world: &mut World) {
        let id = self.0.id();
        let revocation = self.0.revoke(id, world.now, &mut world.rng).unwrap();
        let chain = world.directory.chains.get_mut(&EVE).unwrap();
        chain.append(&revocation.record).unwrap();
    }
}

/// The kind of the one capsule of a message between Alice and Bob.
fn kind(world: &World, msg_id: MsgId) -> CapsuleKind {
    let mut log = world.logs.entries[&conversation()].iter();
    let entry = log.find(|entry| entry.append.msg_id == msg_id).unwrap();
    entry.append.capsules[0].kind
}

#[test]
fn a_strangers_device_takes_no_place_in_the_session_of_another_with_its_id() {
    for seed in 0..4 {
        let mut world = World::of_two(20 + seed);
        world.submit(0, "hello");
        world.settle();
        world.submit(1, "hello yourself");
        world.settle();
        Stranger::found(&mut world).write(&mut world, "a foot in the door");
        world.submit(0, "for Bob alone");
        world.settle();
        assert_eq!(world.texts(1), ["hello", "hello yourself", "for Bob alone"]);
    }
}

#[test]
fn a_strangers_device_that_comes_first_gets_nothing_meant_for_another_with_its_id() {
    let mut world = World::of_two(24);
    Stranger::found(&mut world).write(&mut world, "a foot in the door");
    world.submit(0, "for Bob alone");
    world.settle();
    assert_eq!(world.texts(1), ["for Bob alone"]);
}

#[test]
fn a_revocation_in_a_strangers_list_closes_no_session_of_another_with_its_id() {
    let mut world = World::of_two(25);
    world.submit(0, "hello");
    world.settle();
    world.submit(1, "hello yourself");
    world.settle();
    let mut stranger = Stranger::found(&mut world);
    stranger.write(&mut world, "a foot in the door");
    stranger.revoke_own_device(&mut world);
    let records = world.directory.records(EVE, 0, ALICE);
    let now = world.tick();
    let effects = world.machines[0]
        .device
        .learn_chain(EVE, 0, &records, now, &mut world.rng)
        .unwrap();
    world.act(0, effects);
    let msg_id = world.submit(0, "in the same session");
    world.settle();
    assert_eq!(kind(&world, msg_id), CapsuleKind::Ratchet);
    assert_eq!(world.texts(1).last().unwrap(), "in the same session");
}

#[test]
fn a_false_sender_beside_a_first_message_does_not_name_its_session() {
    let mut world = World::of_two(26);
    let records = world.directory.records(BOB, 0, ALICE);
    let effects = world.machines[0]
        .device
        .learn_chain(BOB, 0, &records, world.now, &mut world.rng)
        .unwrap();
    world.act(0, effects);
    world.disconnect(0);
    world.submit(1, "hello");
    world.run(1);
    world.connect(0);
    let device = world.machines[1].device.id();
    let alice = world.machines[0].device.id();
    let junk = ServerFrame::Deliver(Deliver {
        conversation: direct_conversation(EVE, ALICE),
        seq: 1,
        msg_id: MsgId::from_bytes([9; 16]),
        sender: EVE,
        sender_device: device,
        server_time: world.now,
        attempt: 0,
        version: 1,
        flags: 0,
        capsule: Some(Capsule {
            device: alice,
            kind: CapsuleKind::Ratchet,
            sealed: vec![7; 170].into(),
        }),
        body: vec![1; 113].into(),
    });
    world.machines[0].incoming.as_mut().unwrap().push_front(junk);
    world.deliver(0, usize::MAX);
    world.settle();
    world.submit(0, "hello yourself");
    world.settle();
    assert_eq!(world.texts(1), ["hello", "hello yourself"]);
}
