//! Post-quantum epochs between whole clients: that they come by themselves, and what happens when they do not.

use std::time::Duration;

use unhidra_chain::{Capabilities, device::CERTIFICATE_VALIDITY};
use unhidra_client::{
    Notice,
    device::CertifyError,
    security::Suspicion,
    store::{Store as _, StoreError, Table},
};
use unhidra_wire::frame::{CapsuleKind, ServerFrame};

use crate::world::{ALICE, World, conversation};

const DAY: Duration = Duration::from_secs(86_400);
/// A capsule with a part.
const WITH_PART: usize = 170 + 1_212;

/// The lengths of all capsules of established sessions in the log, from entry `from` on.
fn lengths(world: &World, from: usize) -> Vec<usize> {
    world.logs.entries[&conversation()][from..]
        .iter()
        .flat_map(|entry| &entry.append.capsules)
        .filter(|capsule| capsule.kind == CapsuleKind::Ratchet)
        .map(|capsule| capsule.sealed.len())
        .collect()
}

fn exchange(world: &mut World, rounds: usize) {
    for _ in 0..rounds {
        for from in [0, 1] {
            world.submit(from, "text");
            world.settle();
        }
    }
}

/// Two devices of this program, without a flag or a setting.
#[test]
fn epochs_come_by_themselves() {
    let mut world = World::of_two(1);
    exchange(&mut world, 1);
    world.now = world.now.saturating_add(DAY);
    let from = world.logs.entries[&conversation()].len();
    exchange(&mut world, 3);
    let lengths = lengths(&world, from);
    let parts = lengths.iter().filter(|length| **length == WITH_PART).count();
    assert!(parts >= 2, "{lengths:?}");
    assert!(
        lengths.iter().all(|length| [170, WITH_PART].contains(length)),
        "{lengths:?}"
    );
    for machine in [0, 1] {
        assert_eq!(world.texts(machine).len(), 8);
        assert_eq!(world.suspected(machine, Suspicion::Unsupported), 0);
    }
}

/// Sets the session of machine 1 with Alice as a month of dropped parts leaves it.
fn drop_parts_for_a_month(world: &mut World) {
    let alice = world.machines[0].device.id();
    let place = [ALICE.as_bytes().as_slice(), alice.as_bytes()].concat();
    let due_since = world.now.as_millis().to_be_bytes();
    let edit = |tx: &mut dyn unhidra_client::store::Transaction| -> Result<(), StoreError> {
        let mut set = tx.get(Table::Sessions, &place)?.unwrap();
        // Header of the set; of the session, whose prefix is answered; the ratchet with both chains; no skipped keys.
        let kem = 34 + 70 + (160 + 12 + 1 + 33 + 65 + 65 + 1);
        assert_eq!(set[kem - 1], 0, "no skipped keys");
        set[kem + 18..kem + 26].copy_from_slice(&due_since);
        set[kem + 26] = 8;
        tx.put(Table::Sessions, &place, &set)
    };
    world.machines[1].store.transaction(edit).unwrap();
    world.now = world.now.saturating_add(DAY * 30);
    // Prekeys of these days.
    world.disconnect(0);
    world.settle();
    world.idle(0, Duration::ZERO);
    world.settle();
}

/// Invariant 25.
#[test]
fn a_session_whose_epochs_do_not_come_is_begun_anew_and_the_user_is_told() {
    let mut world = World::of_two(2);
    exchange(&mut world, 2);
    drop_parts_for_a_month(&mut world);
    let from = world.logs.entries[&conversation()].len();
    world.submit(1, "in another session");
    world.settle();
    let notices = &world.machines[1].notices;
    assert!(notices.contains(&Notice::EpochOverdue(ALICE)), "{notices:?}");
    assert_eq!(world.suspected(1, Suspicion::EpochOverdue), 1);
    let sent = &world.logs.entries[&conversation()][from];
    assert_eq!(sent.append.capsules[0].kind, CapsuleKind::Prekey);
    exchange(&mut world, 2);
    assert_eq!(world.texts(0), world.texts(1));
    assert_eq!(world.suspected(1, Suspicion::EpochOverdue), 1, "once");
}

/// Tells everyone of Alice's longer list, and lets them fetch it.
fn settle_lists(world: &mut World) {
    let head = world.directory.head(ALICE);
    for machine in &mut world.machines {
        if let Some(incoming) = &mut machine.incoming {
            incoming.push_back(ServerFrame::ListChanged(head));
        }
    }
    world.settle();
}

/// A device of before `pq_ratchet` certifies itself anew, once; certificates that run out are renewed as they are.
#[test]
fn a_certifying_device_renews_what_lacks_and_what_runs_out() {
    let mut world = World::of_two(3);
    let second = world.link(0, 0xa2);
    world.settle();
    let renewed = |world: &mut World| {
        let extension = world.machines[0].device.renew(world.now, &mut world.rng)?;
        world
            .directory
            .chains
            .get_mut(&ALICE)
            .unwrap()
            .append(&extension.record)
            .unwrap();
        settle_lists(world);
        Ok::<_, CertifyError>(())
    };
    assert!(
        matches!(renewed(&mut world), Err(CertifyError::NotDue)),
        "both are new"
    );
    let refused = world.machines[second].device.renew(world.now, &mut world.rng);
    assert!(matches!(refused, Err(CertifyError::NotACertifier)));

    // As an older program has certified it.
    let id = world.machines[0].device.id();
    let mut subject = world.directory.chains[&ALICE]
        .device(id)
        .unwrap()
        .certificate()
        .subject()
        .clone();
    subject.capabilities = Capabilities::PQ.with(Capabilities::CERTIFY);
    let older = world.machines[0]
        .device
        .certify(subject, world.now, &mut world.rng)
        .unwrap();
    world
        .directory
        .chains
        .get_mut(&ALICE)
        .unwrap()
        .append(&older.record)
        .unwrap();
    settle_lists(&mut world);
    renewed(&mut world).unwrap();
    let capabilities = |world: &World, id| {
        world.directory.chains[&ALICE]
            .device(id)
            .unwrap()
            .certificate()
            .subject()
            .capabilities
    };
    assert!(capabilities(&world, id).contains(Capabilities::PQ_RATCHET.with(Capabilities::CERTIFY)));
    assert!(matches!(renewed(&mut world), Err(CertifyError::NotDue)));

    let other = world.machines[second].device.id();
    let before = capabilities(&world, other);
    world.now = world.now.saturating_add(CERTIFICATE_VALIDITY - DAY * 99);
    renewed(&mut world).unwrap();
    renewed(&mut world).unwrap();
    assert!(matches!(renewed(&mut world), Err(CertifyError::NotDue)));
    assert_eq!(capabilities(&world, other), before);
}
