//! Sessions grow old: whether anybody writes or not, and for how long the organisation lets them send.

use std::time::Duration;

use unhidra_client::{
    session_age::LOOK,
    store::{KeyRange, Order, Store as _, Table},
};
use unhidra_pair::SessionSet;
use unhidra_wire::frame::CapsuleKind;

use crate::world::{World, conversation};

/// Alice and Bob, who have answered each other.
fn acquainted(seed: u64, session_age: Option<Duration>) -> World {
    let mut world = World::of_two(seed);
    world.session_age = session_age;
    let kinds = [0, 1, 0].map(|machine| say(&mut world, machine, "hello"));
    assert_eq!(kinds[0], CapsuleKind::Prekey);
    assert_eq!(kinds[2], CapsuleKind::Ratchet);
    world
}

/// Says something, and how it was sealed: [`CapsuleKind::Prekey`] until the other end has answered in its session.
fn say(world: &mut World, machine: usize, text: &str) -> CapsuleKind {
    let msg_id = world.submit(machine, text);
    world.connect(machine);
    world.settle();
    let mut entries = world.logs.entries[&conversation()].iter();
    let entry = entries.find(|entry| entry.append.msg_id == msg_id).unwrap();
    entry.append.capsules[0].kind
}

/// A day on which Alice comes back.
fn day(world: &mut World) {
    world.now = world.now.saturating_add(LOOK);
    world.disconnect(0);
    world.connect(0);
    world.settle();
}

fn skipped_keys(world: &World, machine: usize) -> usize {
    let mut store = world.machines[machine].store.snapshot();
    let rows = store
        .transaction(|tx| tx.scan(Table::Sessions, &KeyRange::all(), Order::Ascending, usize::MAX))
        .unwrap();
    let sets = rows.iter().map(|row| SessionSet::from_bytes(&row.value).unwrap());
    sets.map(|set| set.skipped_keys()).sum()
}

#[test]
fn a_session_older_than_the_organisation_allows_is_followed_by_another_and_nothing_is_lost() {
    let mut world = acquainted(90, Some(7 * LOOK));
    for _ in 0..7 {
        day(&mut world);
    }
    assert_eq!(say(&mut world, 0, "still young"), CapsuleKind::Ratchet);
    day(&mut world);
    world.disconnect(0);
    assert_eq!(say(&mut world, 1, "in the old one"), CapsuleKind::Ratchet);
    assert_eq!(say(&mut world, 0, "in a new one"), CapsuleKind::Prekey);
    assert_eq!(say(&mut world, 1, "in the new one as well"), CapsuleKind::Ratchet);
    assert_eq!(say(&mut world, 0, "and on"), CapsuleKind::Ratchet);
    for machine in [0, 1] {
        let texts = world.texts(machine);
        assert_eq!(texts.len(), 8, "{texts:?}");
        assert!(world.machines[machine].device.suspicions().unwrap().is_empty());
    }
}

#[test]
fn a_session_goes_on_where_the_organisation_sets_no_limit_and_a_limit_below_a_day_is_a_day() {
    let mut world = acquainted(91, None);
    for _ in 0..20 {
        day(&mut world);
    }
    assert_eq!(say(&mut world, 0, "as ever"), CapsuleKind::Ratchet);
    world.session_age = Some(Duration::from_secs(1));
    world.now = world.now.saturating_add(LOOK / 2);
    world.disconnect(0);
    world.connect(0);
    assert_eq!(say(&mut world, 0, "not yet"), CapsuleKind::Ratchet);
}

#[test]
fn keys_of_messages_that_never_came_go_though_nobody_writes() {
    let mut world = acquainted(92, None);
    world.disconnect(1);
    world.submit(0, "lost on its way");
    world.submit(0, "arrives");
    world.run(0);
    let entries = world.logs.entries.get_mut(&conversation()).unwrap();
    let lost = entries.len() - 2;
    let capsule = &mut entries[lost].append.capsules[0];
    let mut sealed = capsule.sealed.to_vec();
    sealed[20] ^= 1;
    capsule.sealed = sealed.into();
    world.connect(1);
    world.deliver(1, usize::MAX);
    assert!(skipped_keys(&world, 1) > 0);
    world.now = world.now.saturating_add(31 * LOOK);
    world.disconnect(1);
    world.connect(1);
    world.deliver(1, usize::MAX);
    assert_eq!(skipped_keys(&world, 1), 0);
}
