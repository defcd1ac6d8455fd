//! Device lists that a server holds back, and what a claim of a longer one can do.

use std::time::Duration;

use unhidra_client::{Notice, device::Standing, security::Suspicion};

use crate::world::{A1, B1, B2, BOB, World, conversation};

const DAY: Duration = Duration::from_secs(86_400);

/// Bob revokes his second device, and the server does not show that to Alice.
fn with_a_frozen_list(seed: u64) -> World {
    let mut world = World::of_four(seed);
    world.submit(A1, "hello");
    world.settle();
    world.submit(B1, "hello yourself");
    world.settle();
    let shown = world.directory.chains[&BOB].clone();
    world.directory.withheld.insert(BOB, shown);
    let lost = world.machines[B2].device.id();
    let revocation = world.machines[B1]
        .device
        .revoke(lost, world.now, &mut world.rng)
        .unwrap();
    let from = revocation.after.version.0 + 1;
    let chain = world.directory.chains.get_mut(&BOB).unwrap();
    chain.append(&revocation.record).unwrap();
    let records = world.directory.records(BOB, from, BOB);
    let effects = world.machines[B1]
        .device
        .learn_chain(BOB, from, &records, world.now, &mut world.rng)
        .unwrap();
    world.act(B1, effects);
    world
}

fn length_at(world: &mut World, machine: usize) -> u32 {
    world.machines[machine].device.chain_length(BOB).unwrap()
}

/// Whether a device has a capsule of the last message of Alice.
fn is_sealed_for(world: &World, device: usize) -> bool {
    let id = world.machines[device].device.id();
    let mut log = world.logs.entries[&conversation()].iter().rev();
    let last = log
        .find(|entry| entry.device == world.machines[A1].device.id())
        .unwrap();
    last.append.capsules.iter().any(|capsule| capsule.device == id)
}

#[test]
fn a_frozen_list_is_overruled_by_the_first_message_from_that_user() {
    let mut world = with_a_frozen_list(70);
    world.submit(B1, "the other one is stolen");
    world.settle();
    assert_eq!(length_at(&mut world, A1), world.directory.head(BOB).version + 1);
    world.submit(A1, "I see");
    world.settle();
    assert_eq!(world.texts(B1).last().unwrap(), "I see");
    assert!(!is_sealed_for(&world, B2));
}

#[test]
fn a_frozen_list_is_overruled_by_the_first_message_to_that_user() {
    let mut world = with_a_frozen_list(71);
    world.submit(A1, "who are you?");
    world.settle();
    assert_eq!(length_at(&mut world, A1), world.directory.head(BOB).version + 1);
    world.submit(A1, "I see");
    world.settle();
    assert!(!is_sealed_for(&world, B2));
    // Once an hour, however much is said.
    let told = |world: &World| {
        let id = world.machines[A1].device.id();
        world.logs.control.get(&id).map_or(0, Vec::len)
    };
    assert_eq!(told(&world), 1);
}

#[test]
fn a_claim_that_nobody_proves_stops_sending_for_a_week_and_not_for_good() {
    let mut world = with_a_frozen_list(72);
    // Nothing that devices say to each other arrives.
    world.logs.is_deaf = true;
    world.submit(B1, "there is more");
    world.settle();
    assert!(world.machines[A1].notices.contains(&Notice::ListWithheld(BOB)));
    world.submit(A1, "held back");
    for _ in 0..6 {
        world.idle(A1, DAY);
        world.settle();
        assert_ne!(world.texts(B1).last().unwrap(), "held back");
    }
    let now = world.now;
    let standing = |world: &mut World, now| {
        let World { machines, rng, .. } = world;
        machines[A1].device.standing(BOB, now, rng).unwrap()
    };
    assert_eq!(standing(&mut world, now), Standing::ListWithheld);
    world.idle(A1, DAY * 2);
    world.settle();
    assert_eq!(world.texts(B1).last().unwrap(), "held back");
    assert!(world.suspected(A1, Suspicion::UnprovenList) > 0);
    // The same device claims it again in vain.
    world.submit(B1, "there is still more");
    world.settle();
    world.submit(A1, "and on");
    world.settle();
    assert_eq!(world.texts(B1).last().unwrap(), "and on");
}
