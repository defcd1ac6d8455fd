//! Messages that could not be opened are asked for, and given to those who had been given them. Invariant 29.

use std::time::Duration;

use unhidra_client::{security::Suspicion, waiting::WaitingState};
use unhidra_types::{ConversationId, MsgId, Timestamp};
use unhidra_wire::frame::{Capsule, CapsuleKind, Deliver, ServerFrame};

use crate::world::{A1, ALICE, B1, B2, BOB, World, conversation};

const MINUTE: Duration = Duration::from_secs(60);

/// Alice and Bob have talked, and a copy of Bob's store is older than their last ratchet steps.
fn with_an_old_copy(seed: u64) -> (World, unhidra_client::store::MemoryStore) {
    let mut world = World::of_two(seed);
    world.submit(0, "hello");
    world.settle();
    let copy = world.machines[1].store.snapshot();
    for text in ["one", "two"] {
        world.submit(1, text);
        world.settle();
        world.submit(0, text);
        world.settle();
    }
    (world, copy)
}

/// The repairs that Alice has sent.
fn answers(world: &World) -> usize {
    let log = world.logs.entries[&conversation()].iter();
    log.filter(|entry| entry.append.attempt > 0).count()
}

/// The entries of one sender in another's control log.
fn said(world: &World, from: usize, to: usize) -> usize {
    let (from, to) = (world.machines[from].device.id(), world.machines[to].device.id());
    let log = world.logs.control.get(&to).into_iter().flatten();
    log.filter(|entry| entry.device == from).count()
}

/// A message in the name of a device that no key of it has seen.
fn junk(world: &World, from: usize, to: usize, msg_id: MsgId, seq: u64) -> ServerFrame {
    ServerFrame::Deliver(Deliver {
        conversation: conversation(),
        seq,
        msg_id,
        sender: world.machines[from].user,
        sender_device: world.machines[from].device.id(),
        server_time: world.now,
        attempt: 0,
        version: 1,
        flags: 0,
        capsule: Some(Capsule {
            device: world.machines[to].device.id(),
            kind: CapsuleKind::Ratchet,
            sealed: vec![7; 170].into(),
        }),
        body: vec![1; 113].into(),
    })
}

fn number(count: u8) -> MsgId {
    MsgId::from_bytes([count; 16])
}

#[test]
fn a_device_that_was_set_back_gets_what_it_can_not_open_by_repair() {
    for seed in 30..34 {
        let (mut world, copy) = with_an_old_copy(seed);
        world.disconnect(1);
        for text in ["lost", "also lost"] {
            world.submit(0, text);
        }
        world.run(0);
        world.set_back(1, &copy);
        world.settle_in_time();
        assert!(world.suspected(1, Suspicion::NoSession) > 0, "seed {seed}");
        assert_eq!(world.waiting(1), []);
        // What Bob wrote after the copy was made is in no log for him. All that Alice wrote is there, at its old place.
        let places = |world: &mut World, machine: usize| -> Vec<_> {
            let read = world.messages(machine).into_iter();
            let of_alice = read.filter(|message| message.sender == ALICE);
            of_alice.map(|message| (message.seq, message.msg_id)).collect()
        };
        assert_eq!(places(&mut world, 1), places(&mut world, 0));
        assert_eq!(places(&mut world, 1).len(), 5);
        // The conversation goes on, both ways.
        world.submit(1, "I can read you");
        world.settle();
        world.submit(0, "and I you");
        world.settle();
        for machine in [0, 1] {
            let texts = world.texts(machine);
            assert_eq!(texts[texts.len() - 2..], ["I can read you", "and I you"]);
        }
    }
}

#[test]
fn an_answer_repeats_id_and_time_carries_no_body_and_comes_at_most_three_times() {
    let (mut world, copy) = with_an_old_copy(35);
    world.disconnect(1);
    let msg_id = world.submit(0, "lost");
    world.run(0);
    let sent_at = world.messages(0).last().unwrap().sent_at;
    // Each time that Bob is set back, and the server delivers once more, he asks anew.
    for round in 1..=5 {
        world.logs.cursors.clear();
        world.set_back(1, &copy);
        world.settle_in_time();
        let expected = usize::try_from(round.min(3)).unwrap();
        let log = &world.logs.entries[&conversation()];
        let repairs: Vec<_> = log
            .iter()
            .filter(|entry| entry.append.attempt > 0 && entry.append.msg_id == msg_id)
            .collect();
        assert_eq!(repairs.len(), expected);
        assert!(repairs.iter().all(|entry| entry.append.body.is_empty()));
        let attempts: Vec<_> = repairs
            .iter()
            .map(|entry| usize::from(entry.append.attempt))
            .collect();
        assert_eq!(attempts, (1..=expected).collect::<Vec<_>>());
        if round <= 3 {
            let read = world
                .messages(1)
                .into_iter()
                .find(|message| message.msg_id == msg_id);
            assert_eq!(read.unwrap().sent_at, sent_at);
        }
        world.disconnect(1);
        // Another attempt is for another day: the sweep of old sessions is not what ends it.
        world.now = world.now.saturating_add(MINUTE * 30);
    }
}

#[test]
fn what_is_never_given_again_is_unopened_after_a_moment_and_lost_after_a_week() {
    let mut world = World::of_two(36);
    world.submit(0, "hello");
    world.settle();
    let seq = world.logs.entries[&conversation()].len() as u64 + 1;
    let forged = junk(&world, 0, 1, number(9), seq);
    world.inject(1, forged);
    let state = |world: &mut World, now: Timestamp| world.waiting(1)[0].state(now);
    let began = world.now;
    assert_eq!(state(&mut world, began), WaitingState::Waiting);
    let later = began.saturating_add(Duration::from_secs(30));
    assert_eq!(state(&mut world, later), WaitingState::Unopened);
    let week = began.saturating_add(Duration::from_secs(7 * 86_400));
    assert_eq!(state(&mut world, week), WaitingState::Lost);
    // It is asked for ever more rarely, and not at all when it is lost.
    for _ in 0..20 * 24 {
        world.idle(1, MINUTE * 60);
        world.run(1);
    }
    let asked = said(&world, 1, 0);
    assert!((6..=16).contains(&asked), "{asked}");
    assert_eq!(answers(&world), 0, "there is no such message");
}

#[test]
fn forged_junk_begins_no_more_than_a_session_every_ten_minutes_and_then_fewer() {
    let mut world = World::of_two(37);
    world.submit(0, "hello");
    world.settle();
    world.submit(1, "hello yourself");
    world.settle();
    let before = world.directory.taken;
    let first = world.logs.entries[&conversation()].len() as u64 + 1;
    for count in 0..60_u8 {
        let forged = junk(&world, 0, 1, number(100 + count), first + u64::from(count));
        world.inject(1, forged);
        world.idle(1, MINUTE);
        world.run(1);
    }
    let begun = world.directory.taken - before;
    assert!((1..=3).contains(&begun), "{begun}");
    world.submit(1, "still there");
    world.settle();
    assert_eq!(world.texts(0).last().unwrap(), "still there");
}

#[test]
fn one_question_names_at_most_sixty_four_messages() {
    let mut world = World::of_two(38);
    world.submit(0, "hello");
    world.settle();
    let first = world.logs.entries[&conversation()].len() as u64 + 1;
    for count in 0..70_u8 {
        let forged = junk(&world, 0, 1, number(100 + count), first + u64::from(count));
        world.machines[1].incoming.as_mut().unwrap().push_back(forged);
    }
    world.deliver(1, usize::MAX);
    assert_eq!(said(&world, 1, 0), 2);
}

/// A device that came later, whoever holds it, gets nothing of what was said before.
#[test]
fn a_device_that_was_no_recipient_gets_nothing() {
    let mut world = World::of_two(39);
    let msg_id = world.submit(0, "not for thieves");
    world.settle();
    let thief = world.link(1, 0xbe);
    world.settle();
    world.submit(0, "everyone hears this");
    world.settle();
    let seq = world.logs.entries[&conversation()].len() as u64 + 1;
    // The server helps: it shows the old entry, with a capsule that nobody can open.
    let forged = junk(&world, 0, thief, msg_id, seq);
    world.inject(thief, forged);
    world.settle();
    assert!(said(&world, thief, 0) > 0, "it asked");
    assert_eq!(answers(&world), 0);
    assert_eq!(world.suspected(0, Suspicion::RetryOfStranger), 1);
    assert_eq!(world.waiting(thief).len(), 1);
    assert_eq!(world.texts(thief), ["everyone hears this"]);
}

#[test]
fn a_device_that_was_revoked_gets_nothing_that_it_had() {
    let mut world = World::of_four(40);
    world.submit(A1, "hello");
    world.settle();
    let copy = world.machines[B2].store.snapshot();
    for text in ["one", "two"] {
        world.submit(B2, text);
        world.settle();
        world.submit(A1, text);
        world.settle();
    }
    world.disconnect(B2);
    world.submit(A1, "while you are one of us");
    for machine in [A1, B1, A1] {
        world.run(machine);
    }
    let lost = world.machines[B2].device.id();
    let revocation = world.machines[B1]
        .device
        .revoke(lost, world.now, &mut world.rng)
        .unwrap();
    let from = revocation.after.version.0 + 1;
    let chain = world.directory.chains.get_mut(&BOB).unwrap();
    chain.append(&revocation.record).unwrap();
    let records = world.directory.records(BOB, from, ALICE);
    let effects = world.machines[A1]
        .device
        .learn_chain(BOB, from, &records, world.now, &mut world.rng)
        .unwrap();
    world.act(A1, effects);
    // Whoever has it asks for what it could not open.
    world.set_back(B2, &copy);
    world.settle_in_time();
    assert!(world.suspected(B2, Suspicion::NoSession) > 0);
    assert_eq!(answers(&world), 0);
}

#[test]
fn an_entry_whose_capsule_the_server_keeps_back_is_asked_for() {
    let mut world = World::of_two(41);
    world.submit(0, "hello");
    world.settle();
    world.disconnect(1);
    world.submit(0, "without its key");
    world.run(0);
    world.connect(1);
    let frames = world.machines[1].incoming.as_mut().unwrap();
    for frame in frames.iter_mut() {
        if let ServerFrame::Deliver(deliver) = frame
            && deliver.conversation != ConversationId::CONTROL
        {
            deliver.capsule = None;
        }
    }
    world.settle();
    assert_eq!(world.suspected(1, Suspicion::NoCapsule), 1);
    assert_eq!(world.texts(1), ["hello", "without its key"]);
}

#[test]
fn a_first_message_on_prekeys_that_are_gone_is_repaired_in_the_askers_session() {
    for seed in 42..50 {
        let mut world = World::of_two(seed);
        world.disconnect(1);
        let copy = world.machines[1].store.snapshot();
        // Bob makes new prekeys, which Alice uses, and then loses them.
        world.connect(1);
        world.now = world.now.saturating_add(Duration::from_secs(8 * 86_400));
        world.disconnect(1);
        world.settle();
        world.disconnect(1);
        world.submit(0, "on prekeys that will be gone");
        world.run(0);
        world.set_back(1, &copy);
        world.settle_in_time();
        assert!(world.suspected(1, Suspicion::UnknownPrekey) > 0, "seed {seed}");
        assert_eq!(world.texts(1), ["on prekeys that will be gone"], "seed {seed}");
        world.submit(0, "and on");
        world.submit(1, "and on");
        world.settle();
        assert_eq!(world.texts(0).len(), 3);
        assert_eq!(world.texts(0), world.texts(1));
    }
}
