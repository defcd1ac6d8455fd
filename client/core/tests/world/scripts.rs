//! Any script of sends, losses, duplicates, crashes and reconnections ends with every message on every device, once,
//! in the order of the log.

use proptest::prelude::*;
use unhidra_client::{Message, MessageBody};

use crate::world::{World, conversation};

#[derive(Clone, Debug)]
enum Action {
    Submit(usize),
    Flush(usize),
    Deliver(usize, usize),
    DeliverAndCrash(usize, usize),
    Crash(usize),
    Disconnect(usize),
    Connect(usize),
    Duplicate(usize, u64),
    Lose(usize),
}

fn action() -> impl Strategy<Value = Action> {
    let machine = 0..4_usize;
    prop_oneof![
        6 => machine.clone().prop_map(Action::Submit),
        4 => machine.clone().prop_map(Action::Flush),
        6 => (machine.clone(), 1..6_usize).prop_map(|(m, n)| Action::Deliver(m, n)),
        2 => (machine.clone(), 1..6_usize).prop_map(|(m, n)| Action::DeliverAndCrash(m, n)),
        1 => machine.clone().prop_map(Action::Crash),
        2 => machine.clone().prop_map(Action::Disconnect),
        3 => machine.clone().prop_map(Action::Connect),
        2 => (machine.clone(), 1..12_u64).prop_map(|(m, seq)| Action::Duplicate(m, seq)),
        2 => machine.prop_map(Action::Lose),
    ]
}

fn play(world: &mut World, script: &[Action]) {
    for (number, action) in script.iter().enumerate() {
        match *action {
            Action::Submit(machine) => drop(world.submit(machine, &format!("message {number}"))),
            Action::Flush(machine) => world.flush(machine),
            Action::Deliver(machine, count) => world.deliver(machine, count),
            Action::DeliverAndCrash(machine, count) => world.deliver_and_crash(machine, count),
            Action::Crash(machine) => world.crash(machine),
            Action::Disconnect(machine) => world.disconnect(machine),
            Action::Connect(machine) => world.connect(machine),
            Action::Duplicate(machine, seq) => world.duplicate(machine, seq),
            Action::Lose(machine) => world.lose(machine),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn every_message_arrives_everywhere_once_and_in_log_order(
        seed in any::<u64>(),
        script in proptest::collection::vec(action(), 1..60),
    ) {
        let mut world = World::of_four(seed);
        play(&mut world, &script);
        world.settle();
        let mut expected: Vec<_> = world.submitted.clone();
        let log: Vec<_> = world
            .logs
            .entries
            .get(&conversation())
            .into_iter()
            .flatten()
            .map(|entry| entry.append.msg_id)
            .filter(|msg_id| expected.contains(msg_id))
            .collect();
        for machine in 0..4 {
            let messages = world.messages(machine);
            let ids: Vec<_> = messages.iter().map(|message| message.msg_id).collect();
            prop_assert_eq!(&ids, &log, "machine {}", machine);
            let is_text = |message: &Message| matches!(message.body, MessageBody::Text(_));
            prop_assert!(messages.iter().all(is_text));
            let device = &mut world.machines[machine].device;
            prop_assert_eq!(device.unsent().unwrap(), 0);
            prop_assert!(device.suspicions().unwrap().is_empty());
        }
        let mut arrived = log;
        arrived.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(arrived, expected);
    }
}
