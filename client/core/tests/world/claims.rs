//! Single claims, one situation each.

use unhidra_chain::record::Subject;
use unhidra_client::{
    Device, Effects, Failure, MessageKey, Need, Notice, Opened, Progress, SubmitError, device::Standing,
};
use unhidra_types::DeviceId;
use unhidra_wire::{
    base64::Base64,
    content::Content,
    frame::{ClientFrame, ServerFrame},
};

use crate::world::{A1, A2, ALICE, B1, B2, BOB, World, conversation};

#[test]
fn a_text_reaches_every_device_of_both_users() {
    let mut world = World::of_four(1);
    world.submit(A1, "hello");
    world.settle();
    for machine in [A1, A2, B1, B2] {
        assert_eq!(world.texts(machine), ["hello"], "machine {machine}");
    }
}

#[test]
fn both_users_see_one_order() {
    let mut world = World::of_four(2);
    for round in 0..3 {
        for machine in [A1, B2, A2, B1] {
            world.submit(machine, &format!("{machine}/{round}"));
        }
    }
    world.settle();
    let order = world.texts(A1);
    assert_eq!(order.len(), 12);
    for machine in [A2, B1, B2] {
        assert_eq!(world.texts(machine), order);
    }
}

#[test]
fn a_message_counts_as_delivered_when_a_device_of_the_other_user_has_stored_it() {
    let mut world = World::of_four(3);
    world.submit(B1, "who asks first is accepted");
    world.settle();
    world.disconnect(B1);
    world.disconnect(B2);
    let msg_id = world.submit(A1, "are you there?");
    world.run(A1);
    world.run(A2);
    assert!(matches!(world.progress(A1, msg_id), Progress::Accepted { .. }));
    world.connect(B2);
    world.run(B2);
    world.run(A1);
    assert!(matches!(world.progress(A1, msg_id), Progress::Delivered { .. }));
}

#[test]
fn receipts_are_not_answered_by_receipts() {
    let mut world = World::of_four(4);
    world.submit(B1, "zero");
    world.settle();
    world.submit(A1, "one");
    world.settle();
    // Two texts, and for each one receipt of each device of the other user.
    assert_eq!(world.logs.entries[&conversation()].len(), 6);
}

#[test]
fn what_was_written_offline_leaves_with_the_next_connection() {
    let mut world = World::of_four(5);
    world.disconnect(A1);
    let msg_id = world.submit(A1, "later");
    assert_eq!(world.progress(A1, msg_id), Progress::Draft);
    world.crash(A1);
    world.settle();
    assert_eq!(world.texts(B1), ["later"]);
}

#[test]
fn a_device_that_is_linked_later_gets_what_comes_after() {
    let mut world = World::of_two(6);
    world.submit(0, "before");
    world.settle();
    let late = world.link(0, 0xa2);
    world.settle();
    world.submit(1, "after");
    world.settle();
    assert_eq!(world.texts(late), ["after"]);
}

#[test]
fn a_stale_device_list_is_fetched_and_sealed_capsules_stay_as_they_are() {
    let mut world = World::of_two(7);
    world.submit(0, "first");
    world.settle();
    world.disconnect(0);
    world.submit(0, "sealed for the old list");
    let sealed = world.machines[0].device.outgoing(None, 1).unwrap().remove(0).1;
    let late = world.link(1, 0xb2);
    world.settle();
    assert_eq!(world.texts(1), ["first", "sealed for the old list"]);
    assert_eq!(world.texts(late), ["sealed for the old list"]);
    let log = &world.logs.entries[&conversation()];
    let accepted = log
        .iter()
        .find(|entry| entry.append.msg_id == sealed.msg_id)
        .unwrap();
    assert_eq!(accepted.append.capsules[0], sealed.capsules[0]);
    assert_eq!(accepted.append.capsules.len(), 2);
    assert_eq!(accepted.append.body, sealed.body);
}

#[test]
fn a_device_without_prekeys_is_owed_its_message_and_gets_it_later() {
    let mut world = World::of_four(8);
    let mute = world.machines[B2].device.id();
    world.directory.without_bundles.push(mute);
    let msg_id = world.submit(A1, "for all of you");
    world.settle();
    assert_eq!(world.texts(B1), ["for all of you"]);
    assert!(world.texts(B2).is_empty());
    let owed = world.machines[A1]
        .device
        .progress(conversation(), msg_id)
        .unwrap()
        .owed;
    assert_eq!(owed, [mute]);
    assert!(
        world.machines[A1]
            .notices
            .contains(&Notice::Owed { device: mute, msg_id })
    );
    world.directory.without_bundles.clear();
    world.now = world.now.saturating_add(std::time::Duration::from_secs(120));
    world.disconnect(A1);
    world.settle();
    assert_eq!(world.texts(B2), ["for all of you"]);
    let owed = world.machines[A1]
        .device
        .progress(conversation(), msg_id)
        .unwrap()
        .owed;
    assert!(owed.is_empty());
}

#[test]
fn feeding_a_batch_again_sends_only_what_is_missing() {
    let mut world = World::of_four(9);
    let lines = |range: std::ops::Range<u64>| -> Vec<_> {
        range
            .map(|line| {
                let key = MessageKey::Batch { name: "import", line };
                (key, Content::Text(format!("line {line}")))
            })
            .collect()
    };
    let feed = |world: &mut World, range| {
        let now = world.tick();
        let device = &mut world.machines[A1].device;
        let submitted = device.submit(BOB, &lines(range), now, &mut world.rng).unwrap();
        world.act(A1, submitted.effects);
        submitted.new
    };
    assert_eq!(feed(&mut world, 0..3), 3);
    world.settle();
    world.crash(A1);
    assert_eq!(feed(&mut world, 0..5), 2);
    world.settle();
    assert_eq!(
        world.texts(B1),
        ["line 0", "line 1", "line 2", "line 3", "line 4"]
    );
}

#[test]
fn an_altered_body_is_fetched_once_more_and_then_kept_as_altered() {
    let mut world = World::of_four(10);
    world.submit(A1, "first");
    world.settle();
    world.disconnect(B1);
    world.submit(A1, "altered on its way");
    world.submit(A1, "whole");
    world.run(A1);
    let log = world.logs.entries.get_mut(&conversation()).unwrap();
    let last = log.len() - 2;
    let whole = log[last].append.body.clone();
    let mut altered = whole.to_vec();
    altered[40] ^= 1;
    // Once: the second fetch brings it whole.
    world.logs.entries.get_mut(&conversation()).unwrap()[last]
        .append
        .body = altered.clone().into();
    world.connect(B1);
    let waiting = world.machines[B1].incoming.as_ref().unwrap().len();
    world.logs.entries.get_mut(&conversation()).unwrap()[last]
        .append
        .body = whole;
    world.deliver(B1, waiting);
    world.run(B1);
    assert_eq!(world.texts(B1), ["first", "altered on its way", "whole"]);
    // Always: it is kept, and what comes after it is not held up.
    world.logs.entries.get_mut(&conversation()).unwrap()[last]
        .append
        .body = altered.into();
    let counted = world.machines[B2].device.suspicions().unwrap();
    assert!(counted.is_empty(), "the other device read it before: {counted:?}");
}

#[test]
fn another_identity_key_stops_sending_until_it_is_accepted() {
    let mut world = World::of_two(11);
    world.submit(0, "to the Bob I know");
    world.settle();
    // Bob loses everything and begins anew.
    let mut stranger = World::of_two(12);
    let chain = stranger.directory.chains.remove(&BOB).unwrap();
    world.directory.chains.insert(BOB, chain);
    let head = world.directory.head(BOB);
    let told = ServerFrame::ListChanged(unhidra_wire::frame::ListVersion {
        version: head.version + 1,
        ..head
    });
    world.machines[0].incoming.as_mut().unwrap().push_back(told);
    world.run(0);
    assert!(world.machines[0].notices.contains(&Notice::IdentityChanged(BOB)));
    let before = world.logs.entries[&conversation()].len();
    let msg_id = world.submit(0, "to whom?");
    world.run(0);
    assert_eq!(world.progress(0, msg_id), Progress::Draft);
    assert_eq!(world.logs.entries[&conversation()].len(), before);
}

#[test]
fn a_chain_longer_than_a_page_is_read_again_to_its_end() {
    let mut world = World::of_two(18);
    world.submit(0, "the session stays, whatever is renewed");
    world.settle();
    for records in [256, 300] {
        renew_bob(&mut world, records);
        world.submit(0, "the renewals are fetched after the refusal");
        world.settle();
        assert_eq!(length_of_bob(&mut world), records);
        // The next record arrives altered: it might be another identity's, so everything is read again.
        renew_bob(&mut world, records + 1);
        let mut altered = world.directory.records(BOB, records, ALICE);
        altered.records[0].0[20] ^= 1;
        let effects = world.machines[0]
            .device
            .learn_chain(BOB, records, &altered, world.now, &mut world.rng)
            .unwrap();
        let (pages, refused) = read_on(&mut world, effects);
        assert_eq!(pages[..2], [0, 255]);
        assert_eq!(refused, 0, "at {pages:?}");
        assert_eq!(length_of_bob(&mut world), records + 1);
    }
}

#[test]
fn a_chain_that_is_shorter_or_differs_beyond_its_first_page_is_refused() {
    let mut world = World::of_two(19);
    world.submit(0, "the session stays, whatever is renewed");
    world.settle();
    renew_bob(&mut world, 270);
    let shorter = world.directory.chains[&BOB].clone();
    let Opened::Device(mut other) = Device::open(world.machines[1].store.snapshot()).unwrap() else {
        panic!("the store holds a device");
    };
    renew_bob(&mut world, 275);
    world.submit(0, "the chain is known");
    world.settle();
    let mut forked = shorter.clone();
    for _ in 0..6 {
        let subject = subject_of_bob(&world);
        world.tick();
        let renewal = other.certify(subject, world.now, &mut world.rng).unwrap();
        forked.append(&renewal.record).unwrap();
        world.directory.chains.insert(BOB, forked.clone());
        let from = renewal.after.version.0 + 1;
        let answer = world.directory.records(BOB, from, ALICE);
        let _learnt = other
            .learn_chain(BOB, from, &answer, world.now, &mut world.rng)
            .unwrap();
    }
    for shown in [shorter, forked] {
        world.directory.chains.insert(BOB, shown);
        let mut altered = world.directory.records(BOB, 275, ALICE);
        altered.records = vec![Base64(vec![1; 64])];
        let effects = world.machines[0]
            .device
            .learn_chain(BOB, 275, &altered, world.now, &mut world.rng)
            .unwrap();
        let (pages, refused) = read_on(&mut world, effects);
        assert_eq!(refused, 1, "at {pages:?}");
        assert_eq!(length_of_bob(&mut world), 275);
    }
}

fn subject_of_bob(world: &World) -> Subject {
    let device = world.directory.chains[&BOB].devices().next().unwrap();
    device.certificate().subject().clone()
}

fn length_of_bob(world: &mut World) -> u32 {
    world.machines[0].device.chain_length(BOB).unwrap()
}

/// Renews the certificate of Bob's device until his chain has so many records.
fn renew_bob(world: &mut World, records: u32) {
    while world.directory.head(BOB).version + 1 < records {
        let subject = subject_of_bob(world);
        let device = &mut world.machines[1].device;
        let renewal = device.certify(subject, world.now, &mut world.rng).unwrap();
        let chain = world.directory.chains.get_mut(&BOB).unwrap();
        chain.append(&renewal.record).unwrap();
        let _learnt = learn_bob(world, 1, renewal.after.version.0 + 1);
    }
}

/// Answers a machine's question for Bob's chain.
fn learn_bob(world: &mut World, machine: usize, from: u32) -> Effects {
    let answer = world.directory.records(BOB, from, ALICE);
    let device = &mut world.machines[machine].device;
    device
        .learn_chain(BOB, from, &answer, world.now, &mut world.rng)
        .unwrap()
}

/// Answers Alice's questions for Bob's chain until she has no more: which they were, and how often it was refused.
fn read_on(world: &mut World, mut effects: Effects) -> (Vec<u32>, usize) {
    let (mut pages, mut refused) = (Vec::new(), 0);
    loop {
        refused += effects
            .notices
            .iter()
            .filter(|notice| **notice == Notice::ChainRefused(BOB))
            .count();
        let asked = effects.needs.iter().find_map(|need| match need {
            Need::Chain { user: BOB, from } => Some(*from),
            _ => None,
        });
        let Some(from) = asked else {
            return (pages, refused);
        };
        pages.push(from);
        assert!(pages.len() < 10, "asked without end: {pages:?}");
        effects = learn_bob(world, 0, from);
    }
}

#[test]
fn nothing_is_sent_below_a_required_list_until_the_server_shows_the_rest() {
    let mut world = World::of_two(20);
    world.submit(1, "a session both ways");
    world.settle();
    world.submit(0, "so that nothing but the list is missing");
    world.settle();
    // Sealed for the list that is known, and not sent.
    world.disconnect(0);
    let sealed = world.submit(0, "sealed before");
    assert_eq!(world.machines[0].device.outgoing(None, 8).unwrap().len(), 1);
    // Bob links a device. The server does not show that to Alice, but a message of Bob's names his longer list.
    let shown = world.directory.chains[&BOB].clone();
    world.directory.withheld.insert(BOB, shown);
    // Else Bob's device would tell her.
    world.logs.is_deaf = true;
    let late = world.link(1, 0xb2);
    world.run(1);
    world.submit(1, "I have two devices now");
    world.run(1);
    let before = entries_of_alice(&world);
    world.connect(0);
    world.deliver(0, usize::MAX);
    world.settle();
    assert_eq!(
        world.texts(0).last().unwrap(),
        "I have two devices now",
        "receiving goes on"
    );
    let draft = world.submit(0, "submitted after");
    for _ in 0..5 {
        idle(&mut world, 0);
        world.settle();
    }
    world.disconnect(0);
    world.settle();
    assert_eq!(
        entries_of_alice(&world),
        before,
        "neither messages nor receipts leave"
    );
    assert!(world.machines[0].device.outgoing(None, 8).unwrap().is_empty());
    assert_eq!(world.progress(0, sealed), Progress::Queued);
    assert_eq!(world.progress(0, draft), Progress::Draft);
    let now = world.tick();
    let World { machines, rng, .. } = &mut world;
    assert_eq!(
        machines[0].device.standing(BOB, now, rng).unwrap(),
        Standing::ListWithheld
    );
    let told = |world: &World| {
        let notices = world.machines[0].notices.iter();
        notices
            .filter(|notice| **notice == Notice::ListWithheld(BOB))
            .count()
    };
    assert_eq!(told(&world), 1);
    // The server shows the rest: everything leaves, for the new device too.
    world.directory.withheld.clear();
    idle(&mut world, 0);
    world.settle();
    for machine in [1, late] {
        let texts = world.texts(machine);
        for text in ["sealed before", "submitted after"] {
            assert!(texts.contains(&text.to_owned()), "machine {machine}: {texts:?}");
        }
    }
    assert_eq!(told(&world), 1);
}

fn entries_of_alice(world: &World) -> usize {
    let log = world.logs.entries[&conversation()].iter();
    log.filter(|entry| entry.sender == ALICE).count()
}

fn idle(world: &mut World, machine: usize) {
    let now = world.tick();
    let effects = world.machines[machine].device.idle(now, &mut world.rng).unwrap();
    world.act(machine, effects);
}

#[test]
fn entries_that_never_come_are_asked_for_ever_more_rarely() {
    let mut world = World::of_two(21);
    world.submit(0, "one");
    world.settle();
    world.submit(0, "two");
    world.flush(0);
    let gap = world.machines[1].incoming.as_mut().unwrap();
    let mut early = gap.pop_back().unwrap();
    let ServerFrame::Deliver(deliver) = &mut early else {
        panic!("the last frame is the message");
    };
    deliver.seq += 3;
    gap.push_back(early);
    let now = world.tick();
    let frames = world.machines[1].incoming.as_mut().unwrap().drain(..).collect();
    let device = &mut world.machines[1].device;
    let _asked_at_once = device.receive(frames, now, &mut world.rng).unwrap();
    let asked = |world: &mut World, ticks: u32| {
        let mut asked = 0;
        for _ in 0..ticks {
            world.now = world.now.saturating_add(std::time::Duration::from_secs(2));
            let device = &mut world.machines[1].device;
            let effects = device.idle(world.now, &mut world.rng).unwrap();
            let fetches = effects.frames.iter();
            asked += fetches
                .filter(|frame| matches!(frame, ClientFrame::Fetch { .. }))
                .count();
        }
        asked
    };
    assert_eq!(asked(&mut world, 1), 1);
    let in_an_hour = asked(&mut world, 1_800);
    assert!((10..=20).contains(&in_an_hour), "{in_an_hour}");
    // One of them comes: the rest is asked for at once.
    let seq = world.logs.entries[&conversation()].len() as u64;
    let id = world.machines[1].device.id();
    let frame = world.logs.frame(conversation(), seq, id);
    let now = world.tick();
    let device = &mut world.machines[1].device;
    let _news = device.receive(vec![frame], now, &mut world.rng).unwrap();
    assert_eq!(asked(&mut world, 1), 1);
}

#[test]
fn a_message_to_nobody_else_is_refused() {
    let mut world = World::of_two(13);
    let message = [(MessageKey::Random, Content::Text("me".into()))];
    let refused = world.machines[0]
        .device
        .submit(ALICE, &message, world.now, &mut world.rng);
    assert!(matches!(refused, Err(SubmitError::ToOneself)));
}

#[test]
fn a_text_beyond_the_bound_is_refused_with_everything_submitted_beside_it() {
    let mut world = World::of_two(14);
    let messages = [
        (MessageKey::Random, Content::Text("fine".into())),
        (MessageKey::Random, Content::Text("x".repeat(64 * 1024 + 1))),
    ];
    let refused = world.machines[0]
        .device
        .submit(BOB, &messages, world.now, &mut world.rng);
    assert!(matches!(refused, Err(SubmitError::Content(_))));
    assert_eq!(world.machines[0].device.unsent().unwrap(), 0);
}

#[test]
fn a_refusal_for_good_is_shown() {
    let mut world = World::of_two(15);
    world.submit(0, "opens the conversation");
    world.settle();
    world.logs.members.clear();
    let msg_id = world.submit(0, "thrown out");
    world.flush(0);
    world.deliver(0, usize::MAX);
    assert_eq!(world.progress(0, msg_id), Progress::Failed(Failure::NotFound));
}

#[test]
fn a_store_that_was_set_back_begins_all_sessions_anew() {
    let mut world = World::of_two(16);
    world.submit(0, "one");
    world.settle();
    let backup = world.machines[0].store.snapshot();
    world.submit(0, "two");
    world.settle();
    world.machines[0].store = backup;
    world.crash(0);
    world.settle();
    assert!(world.machines[0].notices.contains(&Notice::RolledBack));
    world.submit(0, "three");
    world.settle();
    assert_eq!(world.texts(1), ["one", "two", "three"]);
}

#[test]
fn a_revoked_device_gets_nothing_more() {
    let mut world = World::of_four(17);
    world.submit(A1, "while you are one of us");
    world.settle();
    let lost = world.machines[B2].device.id();
    let revocation = world.machines[B1]
        .device
        .revoke(lost, world.now, &mut world.rng)
        .unwrap();
    world
        .directory
        .chains
        .get_mut(&BOB)
        .unwrap()
        .append(&revocation.record)
        .unwrap();
    world.submit(A1, "without you");
    world.settle();
    assert_eq!(world.texts(B1), ["while you are one of us", "without you"]);
    assert_eq!(world.texts(B2), ["while you are one of us"]);
    assert!(
        world.machines[B2].notices.contains(&Notice::Revoked) || lost == DeviceId::from_bytes([0xb2; 16])
    );
}
