//! A server that was restored from an older copy of itself is healed by its clients.

use unhidra_client::Notice;

use crate::{
    directory::Directory,
    log::Logs,
    world::{A1, A2, B1, B2, World, conversation},
};

/// The server as it was.
struct Backup(Directory, Logs);

impl Backup {
    fn of(world: &World) -> Self {
        Self(world.directory.clone(), world.logs.clone())
    }

    /// Everyone is cut off, and the server starts from the copy, with so many numbers left out of every log.
    fn restore(self, world: &mut World, left_out: u64) {
        for machine in 0..world.machines.len() {
            world.disconnect(machine);
        }
        let Self(directory, mut logs) = self;
        for (conversation, log) in &logs.entries {
            logs.gaps.insert(*conversation, (log.len(), left_out));
        }
        world.directory = directory;
        world.logs = logs;
    }
}

fn told(world: &World, machine: usize) -> usize {
    let notices = world.machines[machine].notices.iter();
    notices.filter(|notice| **notice == Notice::ServerSetBack).count()
}

fn everyone_reads(world: &mut World, expected: &[&str]) {
    for machine in 0..world.machines.len() {
        let mut texts = world.texts(machine);
        texts.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(texts, expected, "machine {machine}");
        assert_eq!(world.waiting(machine), [], "machine {machine}");
    }
}

#[test]
fn what_a_restored_server_has_lost_is_sent_once_more_and_shown_once() {
    for left_out in [0, 1_000_000] {
        let mut world = World::of_four(60);
        world.submit(A1, "before");
        world.submit(B1, "also before");
        world.settle();
        let backup = Backup::of(&world);
        // Some read what the server will forget, some do not.
        world.disconnect(B2);
        for text in ["one", "two"] {
            world.submit(A1, text);
            for machine in [A1, A2, B1] {
                world.run(machine);
            }
            world.submit(B1, text);
            for machine in [A1, A2, B1] {
                world.run(machine);
            }
        }
        backup.restore(&mut world, left_out);
        world.settle();
        let expected = ["before", "also before", "one", "two", "one", "two"];
        everyone_reads(&mut world, &expected);
        if left_out > 0 {
            assert_eq!((told(&world, A1), told(&world, B1)), (1, 1));
        }
        world.submit(B2, "and on");
        world.settle();
        everyone_reads(&mut world, &[expected.as_slice(), &["and on"]].concat());
        // Connecting again finds nothing to do.
        let entries = world.logs.entries[&conversation()].len();
        for machine in 0..4 {
            world.disconnect(machine);
        }
        world.settle();
        assert_eq!(world.logs.entries[&conversation()].len(), entries);
        assert!(told(&world, A1) <= 1);
    }
}

#[test]
fn a_server_that_knows_nothing_of_a_conversation_gets_it_back() {
    let mut world = World::of_two(61);
    let backup = Backup::of(&world);
    world.submit(0, "first");
    world.settle();
    world.submit(1, "second");
    world.settle();
    backup.restore(&mut world, 1_000);
    world.settle();
    everyone_reads(&mut world, &["first", "second"]);
    world.submit(0, "third");
    world.settle();
    everyone_reads(&mut world, &["first", "second", "third"]);
}

#[test]
fn what_is_sent_once_more_goes_to_nobody_new() {
    let mut world = World::of_two(62);
    world.submit(0, "hello");
    world.settle();
    let backup = Backup::of(&world);
    world.submit(0, "for those who were there");
    world.settle();
    backup.restore(&mut world, 1_000);
    let late = world.link(1, 0xb2);
    world.settle();
    assert_eq!(world.texts(1), ["hello", "for those who were there"]);
    assert!(world.texts(late).is_empty());
    assert!(world.waiting(late).is_empty());
}

#[test]
fn an_answer_that_was_lost_is_no_server_that_was_set_back() {
    let mut world = World::of_two(63);
    world.submit(0, "hello");
    world.settle();
    world.submit(0, "the answer is lost");
    world.flush(0);
    world.disconnect(0);
    world.settle();
    assert_eq!(told(&world, 0), 0);
    everyone_reads(&mut world, &["hello", "the answer is lost"]);
}

#[test]
fn a_message_too_old_to_be_remembered_is_no_store_that_was_set_back() {
    let mut world = World::of_two(64);
    world.submit(0, "hello");
    world.settle();
    for _ in 0..3 {
        world.now = world
            .now
            .saturating_add(std::time::Duration::from_secs(9 * 86_400));
        for machine in 0..2 {
            world.disconnect(machine);
        }
        world.settle();
    }
    for machine in 0..2 {
        assert!(!world.machines[machine].notices.contains(&Notice::RolledBack));
        assert_eq!(told(&world, machine), 0);
    }
}
