//! Batches that are fed again, and messages that are thrown away.

use unhidra_client::{
    MessageKey, SubmitError, Submitted,
    store::{KeyRange, Order, Store as _, StoreError, Table},
};
use unhidra_types::Timestamp;
use unhidra_wire::content::Content;

use crate::world::{A1, BOB, World, conversation};

/// Bob's device in a world of two.
const B: usize = 1;

/// Feeds lines under one name, numbered from `first`.
fn feed(world: &mut World, lines: &[&str], first: u64) -> Result<usize, SubmitError> {
    let lines: Vec<_> = (first..)
        .zip(lines)
        .map(|(line, text)| {
            let key = MessageKey::Batch { name: "b", line };
            (key, Content::Text((*text).to_owned()))
        })
        .collect();
    let now = world.tick();
    let World { machines, rng, .. } = &mut *world;
    let Submitted { new, effects, .. } = machines[A1].device.submit(BOB, &lines, now, rng)?;
    world.act(A1, effects);
    Ok(new)
}

fn prune(world: &mut World, machine: usize, before: Timestamp) -> usize {
    let device = &mut world.machines[machine].device;
    let mut deleted = 0;
    loop {
        let now = device.prune(conversation(), before, 2).unwrap();
        deleted += now;
        if now < 2 {
            break;
        }
    }
    let mut after = 0;
    while let Some(last) = device.prune_journal(after, 2).unwrap() {
        after = last;
    }
    deleted
}

/// Makes the outbox forget what was accepted, as it does after 10,000 entries more.
fn forget_accepted(world: &mut World) {
    let forgotten: Result<(), StoreError> = world.machines[A1].store.transaction(|tx| {
        for row in tx.scan(Table::OutboxIndex, &KeyRange::all(), Order::Ascending, 100)? {
            tx.delete(Table::OutboxIndex, &row.key)?;
        }
        Ok(())
    });
    forgotten.unwrap();
}

#[test]
fn a_batch_fed_again_with_another_text_is_refused_whole() {
    let mut world = World::of_two(50);
    assert_eq!(feed(&mut world, &["one", "two"], 0).unwrap(), 2);
    // While it is queued, once it was accepted, and after it was thrown away.
    for round in 0..3 {
        for changed in [["one", "TWO", "new"], ["zero", "one", "two"]] {
            let refused = feed(&mut world, &changed, 0);
            let line = u64::from(changed[0] == "one");
            assert!(
                matches!(refused, Err(SubmitError::OtherText { line: told }) if told == line),
                "round {round}: {refused:?}"
            );
        }
        assert_eq!(feed(&mut world, &["one", "two"], 0).unwrap(), 0, "round {round}");
        world.settle();
        forget_accepted(&mut world);
        if round == 1 {
            let before = world.now;
            assert_eq!(prune(&mut world, A1, before), 2);
            assert_eq!(world.texts(A1), [""; 0]);
        }
    }
    assert_eq!(feed(&mut world, &["one", "two", "three"], 0).unwrap(), 1);
    world.settle();
    assert_eq!(world.texts(B), ["one", "two", "three"]);
}

#[test]
fn what_is_thrown_away_is_gone_from_messages_and_journal_and_nothing_else_is() {
    let mut world = World::of_two(51);
    for text in ["a", "b", "c"] {
        world.submit(A1, text);
        world.settle();
    }
    let before = world.messages(B)[2].server_time;
    assert_eq!(prune(&mut world, B, before), 2);
    assert_eq!(world.texts(B), ["c"]);
    let journal = world.machines[B].device.journal(0, 1).unwrap();
    assert_eq!(journal.len(), 1);
    // What was received stays known: it does not come again.
    world.duplicate(B, 1);
    world.run(B);
    assert_eq!(world.texts(B), ["c"]);
    world.submit(A1, "d");
    world.settle();
    assert_eq!(world.texts(B), ["c", "d"]);
}

#[test]
fn a_page_of_the_journal_looks_past_messages_that_are_gone() {
    let mut world = World::of_two(52);
    for text in ["a", "b", "c", "d"] {
        world.submit(A1, text);
        world.settle();
    }
    let before = world.messages(B)[3].server_time;
    let device = &mut world.machines[B].device;
    assert_eq!(device.prune(conversation(), before, 10).unwrap(), 3);
    let page = device.journal(0, 2).unwrap();
    assert_eq!(page.len(), 1);
}

#[test]
fn a_receipt_that_is_still_to_be_sent_is_no_unsent_message() {
    let mut world = World::of_two(43);
    world.submit(B, "whoever answers has accepted");
    world.settle();
    world.submit(A1, "and gets receipts");
    world.run(A1);
    let waiting = world.machines[B].incoming.as_ref().unwrap().len();
    world.deliver(B, waiting);
    world.disconnect(B);
    let device = &mut world.machines[B].device;
    assert_eq!(
        (device.unsent().unwrap(), device.unsent_messages().unwrap()),
        (1, 0)
    );
    world.submit(B, "this is one");
    assert_eq!(world.machines[B].device.unsent_messages().unwrap(), 1);
}
