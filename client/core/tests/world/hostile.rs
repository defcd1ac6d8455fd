//! What a server, or a linked device, can try with numbers: nothing is dropped, overwritten or blocked for good.

use std::time::Duration;

use unhidra_chain::{ListVersion, PqRatchet};
use unhidra_client::{
    device::Standing,
    failures::EVERY,
    security::Suspicion,
    store::{Store as _, StoreError, Table},
};
use unhidra_pair::{
    Address, Capsule as BodyKey, Kind, Outgoing, SessionSet,
    body::{self, Context, Plaintext},
};
use unhidra_types::{ConversationId, MsgId};
use unhidra_wire::{
    content::Content,
    frame::{Appended, Capsule, CapsuleKind, Deliver, ServerFrame},
    rest::{OpeningFailure, OpeningFailures},
};

use crate::world::{ALICE, BOB, World, conversation};

/// The frames on their way to a machine, changed.
fn alter(world: &mut World, machine: usize, change: impl Fn(&mut Deliver)) {
    for frame in world.machines[machine].incoming.as_mut().unwrap() {
        if let ServerFrame::Deliver(deliver) = frame
            && deliver.conversation == conversation()
        {
            change(deliver);
        }
    }
}

/// A message that arrives altered, however often it is fetched.
fn spoil(world: &mut World, text: &str) {
    world.disconnect(1);
    world.submit(0, text);
    world.run(0);
    let entry = world.logs.entries.get_mut(&conversation()).unwrap().last_mut();
    let append = &mut entry.unwrap().append;
    let mut body = append.body.to_vec();
    body[40] ^= 1;
    append.body = body.into();
    world.connect(1);
    world.settle();
}

#[test]
fn what_a_device_could_not_open_is_reported_by_reason_at_most_once_a_day() {
    let mut world = World::of_two(79);
    world.submit(0, "opened");
    world.settle();
    let again = |world: &mut World| {
        world.disconnect(1);
        world.connect(1);
        world.settle();
    };
    again(&mut world);
    assert!(world.directory.reports.is_empty(), "there is nothing to say");
    spoil(&mut world, "altered");
    again(&mut world);
    spoil(&mut world, "altered as well");
    again(&mut world);
    let counts = |world: &World| -> Vec<Vec<(OpeningFailure, u32)>> {
        let of = |report: &OpeningFailures| report.counts.clone().into_iter().collect();
        world
            .directory
            .reports
            .iter()
            .map(|(_, report)| of(report))
            .collect()
    };
    assert_eq!(counts(&world), [[(OpeningFailure::BadTag, 1)]]);
    world.now = world.now.saturating_add(EVERY);
    again(&mut world);
    world.now = world.now.saturating_add(EVERY);
    again(&mut world);
    assert_eq!(
        counts(&world),
        [[(OpeningFailure::BadTag, 1)], [(OpeningFailure::BadTag, 2)]]
    );
}

#[test]
fn a_message_under_a_number_that_was_passed_is_opened_and_not_dropped() {
    let mut world = World::of_two(80);
    for text in ["one", "two"] {
        world.submit(0, text);
        world.settle();
    }
    world.submit(0, "in the place of another");
    world.flush(0);
    alter(&mut world, 1, |deliver| deliver.seq = 1);
    world.deliver(1, usize::MAX);
    let mut texts = world.texts(1);
    assert_eq!(texts.len(), 3);
    texts.sort_unstable();
    assert_eq!(texts, ["in the place of another", "one", "two"]);
    assert_eq!(world.texts(1)[0], "one", "what stood there first stands first");
    // The log goes on.
    world.submit(0, "and on");
    world.settle();
    assert_eq!(world.texts(1).last().unwrap(), "and on");
}

#[test]
fn a_place_that_the_server_chooses_overwrites_no_message() {
    let mut world = World::of_two(81);
    world.submit(1, "what Bob said");
    world.settle();
    let place = world.messages(0)[0].seq;
    let msg_id = world.submit(0, "what Alice said");
    let now = world.now;
    world.inject(
        0,
        ServerFrame::Appended(Appended {
            conversation: conversation(),
            msg_id,
            attempt: 0,
            dest: None,
            seq: place,
            server_time: now,
        }),
    );
    assert_eq!(world.texts(0), ["what Bob said", "what Alice said"]);
    let journal = world.machines[0].device.journal(0, 9).unwrap();
    assert_eq!(journal.len(), 2, "and each is told once");
    let before = world.machines[0]
        .device
        .messages_before(conversation(), u64::MAX, 9)
        .unwrap();
    assert_eq!(before.len(), 2);
}

#[test]
fn a_skip_to_the_end_of_all_numbers_blocks_no_log() {
    let mut world = World::of_two(82);
    world.submit(0, "one");
    world.settle();
    world.inject(
        1,
        ServerFrame::Skip {
            conversation: conversation(),
            from: 1,
            to: u64::MAX,
        },
    );
    for text in ["two", "three"] {
        world.submit(0, text);
        world.settle();
    }
    assert_eq!(world.texts(1), ["one", "two", "three"]);
    // What was acknowledged is what was read: a crash loses nothing.
    world.disconnect(1);
    world.submit(0, "four");
    world.run(0);
    world.crash(1);
    world.settle();
    assert_eq!(world.texts(1), ["one", "two", "three", "four"]);
}

#[test]
fn what_waits_for_unknown_chains_is_bounded_over_all_conversations() {
    let mut world = World::of_two(83);
    let device = world.machines[0].device.id();
    let id = world.machines[1].device.id();
    // First messages in conversations that nobody has heard of, from users whom nobody knows.
    let strange = |user: u16, number: u64| {
        let mut bytes = [0xee; 16];
        bytes[..2].copy_from_slice(&user.to_be_bytes());
        let mut msg_id = bytes;
        msg_id[2..10].copy_from_slice(&number.to_be_bytes());
        ServerFrame::Deliver(Deliver {
            conversation: ConversationId::from_bytes(bytes),
            seq: number,
            msg_id: MsgId::from_bytes(msg_id),
            sender: unhidra_types::UserId::from_bytes(bytes),
            sender_device: device,
            server_time: unhidra_types::Timestamp::EPOCH,
            attempt: 0,
            version: 1,
            flags: 0,
            capsule: Some(Capsule {
                device: id,
                kind: CapsuleKind::Prekey,
                sealed: first_message(bytes, device).into(),
            }),
            body: vec![1; 1_000].into(),
        })
    };
    for user in 0..30 {
        let frames = (1..=200).map(|number| strange(user, number)).collect();
        let now = world.tick();
        let World { machines, rng, .. } = &mut world;
        let effects = machines[1].device.receive(frames, now, rng).unwrap();
        assert_eq!(
            effects.frames,
            [],
            "nothing is acknowledged that was not processed"
        );
    }
    let parked = world.machines[1].device.parked();
    assert!(parked <= 2_048, "{parked}");
    world.disconnect(1);
    assert_eq!(world.machines[1].device.parked(), 0);
    // Everybody else is read as ever.
    world.settle();
    world.submit(0, "hello");
    world.settle();
    assert_eq!(world.texts(1), ["hello"]);
}

/// The shape of a first message: suite, sender, certificate, EK, ids, KEM part, ratchet message.
fn first_message(user: [u8; 16], device: unhidra_types::DeviceId) -> Vec<u8> {
    let mut bytes = vec![1, 1];
    bytes.extend(user);
    bytes.extend(device.as_bytes());
    bytes.extend([3; 32]);
    bytes.extend([9; 32]);
    for id in [1_u32, 2, 3] {
        bytes.extend(id.to_be_bytes());
    }
    bytes.resize(1_368, 5);
    bytes
}

#[test]
fn waiting_entries_are_bounded_in_number_and_bytes() {
    let mut world = World::of_two(84);
    world.submit(0, "hello");
    world.settle();
    let (device, id) = (world.machines[0].device.id(), world.machines[1].device.id());
    let first = world.logs.entries[&conversation()].len() as u64 + 1;
    for batch in 0..12_u64 {
        let frames = (0..50_u64).map(|count| {
            let number = batch * 50 + count;
            let mut msg_id = [0xcc; 16];
            msg_id[..8].copy_from_slice(&number.to_be_bytes());
            ServerFrame::Deliver(Deliver {
                conversation: conversation(),
                seq: first + number,
                msg_id: MsgId::from_bytes(msg_id),
                sender: ALICE,
                sender_device: device,
                server_time: unhidra_types::Timestamp::EPOCH,
                attempt: 0,
                version: 1,
                flags: 0,
                capsule: Some(Capsule {
                    device: id,
                    kind: CapsuleKind::Ratchet,
                    sealed: vec![7; 170].into(),
                }),
                body: vec![1; 200_000].into(),
            })
        });
        let frames = frames.collect();
        let now = world.tick();
        let World { machines, rng, .. } = &mut world;
        let _asked = machines[1].device.receive(frames, now, rng).unwrap();
    }
    let waiting = world.waiting(1);
    let held = waiting.len() as u64;
    assert!(
        (300..=336).contains(&held),
        "64 MiB of 200 kB each, and not {held}"
    );
    assert_eq!(waiting.last().unwrap().seq, first + 599, "the oldest go first");
}

#[test]
fn a_generation_that_can_not_be_is_not_believed_and_one_set_an_hour_is_enough() {
    let mut world = World::of_two(85);
    let id = world.machines[1].device.id();
    let before = world.directory.stock(id).generation;
    world.directory.lies.insert(id, u64::MAX);
    for _ in 0..20 {
        world.disconnect(1);
        world.connect(1);
        world.run(1);
    }
    world.directory.lies.clear();
    assert_eq!(
        world.directory.stock(id).generation,
        before + 1,
        "one set in this hour"
    );
    assert!(world.suspected(1, Suspicion::ImpossibleStock) > 0);
    world.now = world.now.saturating_add(Duration::from_secs(7_200));
    world.disconnect(1);
    world.settle();
    world.submit(0, "hello");
    world.settle();
    assert_eq!(world.texts(1), ["hello"]);
    let rows = |world: &mut World| {
        let held = world.machines[1].store.transaction(|tx| {
            let all = unhidra_client::store::KeyRange::all();
            tx.scan(
                Table::Prekeys,
                &all,
                unhidra_client::store::Order::Ascending,
                usize::MAX,
            )
        });
        held.map_err(|_: StoreError| ()).unwrap().len()
    };
    // Even one an hour comes to an end: so many private halves and no more.
    for hour in 0..40_u64 {
        world.directory.lies.insert(id, before + 10_000 + hour * 100);
        world.now = world.now.saturating_add(Duration::from_secs(3_700));
        world.disconnect(1);
        world.connect(1);
        world.run(1);
        world.directory.lies.clear();
    }
    assert!(rows(&mut world) <= 4_096, "{}", rows(&mut world));
}

/// A linked device that says of its user's list what it likes.
#[test]
fn an_impossible_list_version_blocks_nothing() {
    let mut world = World::of_two(86);
    world.submit(0, "hello");
    world.settle();
    world.submit(1, "hello yourself");
    world.settle();
    let seq = world.logs.entries[&conversation()].len() as u64 + 1;
    let claim = claimed(&mut world, u32::MAX, seq);
    world.inject(0, claim);
    assert_eq!(world.texts(0).last().unwrap(), "I have many devices");
    assert_eq!(world.suspected(0, Suspicion::UnprovenList), 1);
    let now = world.tick();
    let World { machines, rng, .. } = &mut world;
    assert_eq!(
        machines[0].device.standing(BOB, now, rng).unwrap(),
        Standing::Reachable
    );
    world.submit(0, "I doubt it");
    world.settle();
    assert_eq!(world.texts(1).last().unwrap(), "I doubt it");
}

/// A message of Bob's device with a list version of its choice, sealed with the sessions that it really has.
fn claimed(world: &mut World, own_list: u32, seq: u64) -> ServerFrame {
    let (alice, bob) = (world.machines[0].device.id(), world.machines[1].device.id());
    let sender = Address {
        user: BOB,
        device: bob,
    };
    let msg_id = MsgId::from_bytes([0xaf; 16]);
    let plaintext = Plaintext {
        peer: ALICE,
        cseq: 9,
        after: MsgId::NONE,
        content: Content::Text("I have many devices".into()).encode().unwrap(),
    };
    let context = Context {
        conversation: conversation(),
        msg_id,
        sender,
    };
    let body = body::seal(&plaintext, &context, &mut world.rng).unwrap();
    let place = [ALICE.as_bytes().as_slice(), alice.as_bytes()].concat();
    let stored = world.machines[1]
        .store
        .transaction(|tx| tx.get(Table::Sessions, &place));
    let stored: Option<Vec<u8>> = stored.map_err(|_: StoreError| ()).unwrap();
    let sessions = SessionSet::from_bytes(&stored.unwrap()).unwrap();
    let outgoing = Outgoing {
        sender,
        msg_id,
        sent_at: world.now,
        own_list: ListVersion(own_list),
        peer_list: ListVersion(1),
        pq: PqRatchet::Kept,
    };
    let key: &BodyKey = &body.capsule;
    let sealed = sessions
        .seal_capsule(&outgoing, conversation(), key, world.now, &mut world.rng)
        .unwrap();
    let put = sealed.sessions.to_bytes();
    world.machines[1]
        .store
        .transaction(|tx| tx.put(Table::Sessions, &place, &put))
        .map_err(|_: StoreError| ())
        .unwrap();
    ServerFrame::Deliver(Deliver {
        conversation: conversation(),
        seq,
        msg_id,
        sender: BOB,
        sender_device: bob,
        server_time: world.now,
        attempt: 0,
        version: 1,
        flags: 0,
        capsule: Some(Capsule {
            device: alice,
            kind: match sealed.kind {
                Kind::Prekey => CapsuleKind::Prekey,
                Kind::Ratchet => CapsuleKind::Ratchet,
            },
            sealed: sealed.bytes.into(),
        }),
        body: body.object.into(),
    })
}
