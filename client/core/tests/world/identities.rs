//! Identities that change: what is taken, what stops, and what an attacker gets.

use unhidra_chain::{Capabilities, Chain, DeviceCertificate, DeviceKind, Genesis, Validity, record::Subject};
use unhidra_client::{
    Blocking, ChangeKind, Device, Failure, MessageKey, Need, Notice, Progress,
    device::{NextKey, Standing},
    store::MemoryStore,
};
use unhidra_crypto::{ed25519::SigningKey, x25519::SecretKey};
use unhidra_types::{DeviceId, UserId};
use unhidra_wire::{content::Content, frame::ServerFrame};

use crate::world::{A1, A2, ALICE, B1, B2, BOB, World, conversation};

impl World {
    /// Replaces the identity of a machine's user, as its owner wants it.
    fn rotate(&mut self, machine: usize, key: NextKey, without: &[DeviceId]) {
        let now = self.tick();
        let rotation = self.machines[machine]
            .device
            .rotate(key, without, now, &mut self.rng)
            .unwrap();
        let chain = Chain::verify(&rotation.records).unwrap();
        let user = chain.user();
        assert_eq!(rotation.replaces, self.directory.chains[&user].head());
        self.directory.replace(chain);
        self.tell_of(user);
    }

    /// Tells the user's own devices, as the server does.
    fn tell_of(&mut self, user: UserId) {
        let head = self.directory.head(user);
        for machine in self.machines.iter_mut().filter(|machine| machine.user == user) {
            if let Some(incoming) = &mut machine.incoming {
                incoming.push_back(ServerFrame::ListChanged(head));
            }
        }
    }

    /// Machine `reader` looks `user` up, as `send` does, whether it is connected or not.
    fn look_up(&mut self, reader: usize, user: UserId) {
        let mut next = Some(self.machines[reader].device.chain_length(user).unwrap());
        while let Some(from) = next {
            let now = self.tick();
            let records = self.directory.records(user, from, self.machines[reader].user);
            let mut effects = self.machines[reader]
                .device
                .learn_chain(user, from, &records, now, &mut self.rng)
                .unwrap();
            next = effects.needs.iter().find_map(|need| match need {
                Need::Chain { user: of, from } if *of == user => Some(*from),
                _ => None,
            });
            effects
                .needs
                .retain(|need| !matches!(need, Need::Chain { user: of, .. } if *of == user));
            self.act(reader, effects);
        }
    }

    fn standing(&mut self, reader: usize, user: UserId) -> Standing {
        let now = self.now;
        let device = &mut self.machines[reader].device;
        device.standing(user, now, &mut self.rng).unwrap()
    }

    fn accept(&mut self, reader: usize, user: UserId) -> bool {
        let now = self.tick();
        let device = &mut self.machines[reader].device;
        let (_, shown) = device.changed_identity(user).unwrap().unwrap();
        let (accepted, effects) = device.accept_identity(user, &shown, now, &mut self.rng).unwrap();
        self.act(reader, effects);
        accepted
    }

    fn changes(&mut self, reader: usize) -> Vec<(UserId, ChangeKind, u32)> {
        let changes = self.machines[reader].device.identity_changes(0, 99).unwrap();
        changes
            .into_iter()
            .map(|(_, change)| (change.user, change.kind, change.unsent))
            .collect()
    }

    /// How many entries of the log hold a capsule for this device.
    fn capsules_for(&self, device: DeviceId) -> usize {
        let entries = self.logs.entries.get(&conversation());
        let holds = |capsules: &[unhidra_wire::frame::Capsule]| {
            capsules.iter().any(|capsule| capsule.device == device)
        };
        entries.map_or(0, |entries| {
            entries
                .iter()
                .filter(|entry| holds(&entry.append.capsules))
                .count()
        })
    }
}

/// Bob's identity as an attacker would make it: a chain with a device of the attacker's, whatever its genesis claims.
struct Impostor {
    chain: Chain,
    device: DeviceId,
}

impl Impostor {
    fn of(genesis: &Genesis, uik: &SigningKey, world: &mut World) -> Self {
        let device = DeviceId::from_bytes([0xee; 16]);
        let subject = Subject {
            device,
            kind: DeviceKind::Human,
            dsk: SigningKey::generate(&mut world.rng).verifying_key(),
            dik: *SecretKey::generate(&mut world.rng).public(),
            capabilities: Capabilities::PQ,
        };
        let mut chain = Chain::begin(genesis.as_bytes()).unwrap();
        let validity = Validity::starting(world.now);
        let certificate = DeviceCertificate::sign(uik, genesis.user(), &chain.head(), subject, validity);
        chain.append(certificate.as_bytes()).unwrap();
        Self { chain, device }
    }
}

fn acquainted(seed: u64) -> World {
    let mut world = World::of_four(seed);
    world.submit(A1, "hello");
    world.settle();
    world.submit(B1, "hello yourself");
    world.settle();
    world
}

#[test]
fn a_signed_rotation_is_taken_with_a_notice_and_everyone_goes_on() {
    let mut world = acquainted(40);
    let number = world.machines[A1].device.trust(BOB).unwrap().unwrap().number;
    assert!(world.machines[A1].device.confirm(BOB, &number).unwrap());
    // On its way in both directions while the identity changes, for devices that are not there.
    world.disconnect(A1);
    world.disconnect(B2);
    world.submit(A2, "on its way to Bob");
    world.run(A2);
    world.submit(B1, "on its way to Alice");
    world.run(B1);
    world.rotate(B1, NextKey::New, &[]);
    world.look_up(A1, BOB);
    world.settle();
    for (machine, text) in [
        (B1, "from the first"),
        (B2, "from the second"),
        (A1, "from Alice"),
    ] {
        world.submit(machine, text);
        world.settle();
    }
    let read = world.texts(A1);
    assert_eq!(read.len(), 7, "{read:?}");
    for machine in [A2, B1, B2] {
        assert_eq!(world.texts(machine), read, "machine {machine}");
    }
    assert_eq!(world.changes(A1), [(BOB, ChangeKind::Rotated, 0)]);
    assert_eq!(world.changes(B2), [(BOB, ChangeKind::Rotated, 0)]);
    let after = world.machines[A1].device.trust(BOB).unwrap().unwrap();
    assert!(!after.verified && after.number != number);
    assert!(world.machines[B1].device.can_certify() && !world.machines[B2].device.can_certify());
}

/// Invariant 28, and the attack of a server that puts an identity of its own in the place of an unverified contact's.
#[test]
fn a_swapped_identity_gets_nothing_that_was_or_is_written_for_the_contact() {
    let mut world = acquainted(41);
    world.disconnect(A1);
    let queued = world.submit(A1, "queued for Bob");
    let uik = SigningKey::generate(&mut world.rng);
    let genesis = Genesis::sign(&uik, BOB, world.now, None);
    let impostor = Impostor::of(&genesis, &uik, &mut world);
    let honest = world.directory.chains[&BOB].clone();
    world.directory.chains.insert(BOB, impostor.chain.clone());
    world.connect(A1);
    world.look_up(A1, BOB);
    let written = world.submit(A1, "written for Bob");
    world.run(A1);
    assert_eq!(world.standing(A1, BOB), Standing::IdentityChanged);
    assert!(world.machines[A1].notices.contains(&Notice::IdentityChanged(BOB)));
    assert_eq!(world.capsules_for(impostor.device), 0);

    // Even when the user falls for it, what was written before is not sealed for the impostor.
    assert!(world.accept(A1, BOB));
    world.run(A1);
    assert_eq!(world.capsules_for(impostor.device), 0);
    for msg_id in [queued, written] {
        let failed = Progress::Failed(Failure::IdentityChanged);
        assert_eq!(world.progress(A1, msg_id), failed);
    }
    let unsent = world.machines[A1].device.unsent_texts(BOB).unwrap();
    assert_eq!(unsent.len(), 2);

    // The mistake can be undone: the honest identity is shown again, and accepted.
    world.directory.chains.insert(BOB, honest);
    world.look_up(A1, BOB);
    assert_eq!(world.standing(A1, BOB), Standing::IdentityChanged);
    assert!(world.accept(A1, BOB));
    world.settle();
    world.submit(A1, "to the Bob I know");
    world.settle();
    assert_eq!(world.texts(B1).last().unwrap(), "to the Bob I know");
}

#[test]
fn a_swap_that_is_taken_back_leaves_what_was_queued_to_the_contact() {
    let mut world = acquainted(42);
    let uik = SigningKey::generate(&mut world.rng);
    let genesis = Genesis::sign(&uik, BOB, world.now, None);
    let impostor = Impostor::of(&genesis, &uik, &mut world);
    let honest = world.directory.chains[&BOB].clone();
    world.directory.chains.insert(BOB, impostor.chain);
    world.look_up(A1, BOB);
    world.submit(A1, "for Bob");
    world.run(A1);
    world.directory.chains.insert(BOB, honest);
    world.look_up(A1, BOB);
    world.settle();
    assert_eq!(world.texts(B1).last().unwrap(), "for Bob");
}

#[test]
fn a_rotation_that_another_key_has_signed_is_refused() {
    let mut world = acquainted(43);
    let (uik, other) = (
        SigningKey::generate(&mut world.rng),
        SigningKey::generate(&mut world.rng),
    );
    let honest = world.directory.chains[&BOB].clone();
    // It names its own key before it: no more than any other identity.
    let genesis = Genesis::sign(&uik, BOB, world.now, Some(&other));
    let impostor = Impostor::of(&genesis, &uik, &mut world);
    world.directory.chains.insert(BOB, impostor.chain);
    world.look_up(A1, BOB);
    assert_eq!(world.standing(A1, BOB), Standing::IdentityChanged);
    assert_eq!(world.changes(A1), [(BOB, ChangeKind::Shown, 0)]);
    // It names Bob's key, which has not signed it: not even an identity that could be accepted.
    let mut forged = genesis.as_bytes().to_vec();
    let previous = 13 + 16 + 32;
    forged[previous..previous + 32].copy_from_slice(honest.uik().as_bytes());
    assert!(Chain::begin(&forged).is_err());
    world.directory.chains.insert(BOB, honest);
    world.look_up(A1, BOB);
    assert_eq!(world.standing(A1, BOB), Standing::Reachable);
    let mut records = world.directory.records(BOB, 0, ALICE);
    records.records[0].0 = forged;
    let now = world.tick();
    let effects = world.machines[A1]
        .device
        .learn_chain(BOB, 0, &records, now, &mut world.rng)
        .unwrap();
    assert!(effects.notices.contains(&Notice::ChainRefused(BOB)));
    world.act(A1, effects);
    assert_eq!(world.standing(A1, BOB), Standing::Reachable);
    assert!(world.machines[A1].device.changed_identity(BOB).unwrap().is_none());
}

#[test]
fn an_identity_that_was_rotated_away_is_refused_as_a_replay_and_can_not_be_accepted() {
    let mut world = acquainted(44);
    let old = world.directory.chains[&BOB].clone();
    world.rotate(B1, NextKey::New, &[]);
    world.settle();
    world.look_up(A1, BOB);
    let new = world.directory.chains[&BOB].clone();
    world.directory.chains.insert(BOB, old);
    world.machines[A1].notices.clear();
    world.look_up(A1, BOB);
    assert!(world.machines[A1].notices.contains(&Notice::ChainRefused(BOB)));
    assert!(world.machines[A1].device.changed_identity(BOB).unwrap().is_none());
    assert_eq!(world.standing(A1, BOB), Standing::Reachable);
    world.directory.chains.insert(BOB, new);
    world.submit(A1, "to the new one");
    world.settle();
    assert_eq!(world.texts(B1).last().unwrap(), "to the new one");
}

#[test]
fn a_chain_goes_on_under_the_same_key_and_its_beginning_does_not_return() {
    let mut world = acquainted(45);
    let number = world.machines[A1].device.trust(BOB).unwrap().unwrap().number;
    assert!(world.machines[A1].device.confirm(BOB, &number).unwrap());
    let old = world.directory.chains[&BOB].clone();
    world.rotate(B1, NextKey::Same, &[]);
    world.settle();
    world.look_up(A1, BOB);
    assert_eq!(world.changes(A1), [(BOB, ChangeKind::Renewed, 0)]);
    assert!(world.machines[A1].device.trust(BOB).unwrap().unwrap().verified);
    let new = world.directory.chains[&BOB].clone();
    world.directory.chains.insert(BOB, old);
    world.machines[A1].notices.clear();
    world.look_up(A1, BOB);
    assert!(world.machines[A1].notices.contains(&Notice::ChainRefused(BOB)));
    world.directory.chains.insert(BOB, new);
    for (machine, text) in [(A1, "to Bob"), (B2, "to Alice")] {
        world.submit(machine, text);
        world.settle();
    }
    assert_eq!(world.texts(A2)[2..], ["to Bob", "to Alice"]);
    assert_eq!(world.texts(B1)[2..], ["to Bob", "to Alice"]);
}

#[test]
fn after_an_accepted_reset_a_message_of_an_old_session_does_not_open() {
    let mut world = acquainted(46);
    // Sealed in the session of before, and held back by whoever has Bob's old device.
    world.disconnect(A1);
    world.disconnect(A2);
    world.submit(B1, "from the old session");
    world.run(B1);
    let uik = SigningKey::generate(&mut world.rng);
    let genesis = Genesis::sign(&uik, BOB, world.now, None);
    let reset = Impostor::of(&genesis, &uik, &mut world);
    world.directory.chains.insert(BOB, reset.chain);
    world.look_up(A1, BOB);
    assert!(world.accept(A1, BOB));
    world.connect(A1);
    world.run(A1);
    assert_eq!(world.texts(A1), ["hello", "hello yourself"]);
    assert_eq!(world.machines[A1].device.waiting().unwrap().len(), 1);
}

#[test]
fn a_rotation_revokes_the_device_that_it_leaves_out() {
    let mut world = acquainted(47);
    let lost = world.machines[B2].device.id();
    world.rotate(B1, NextKey::New, &[lost]);
    world.settle();
    assert!(world.machines[B2].notices.contains(&Notice::Revoked));
    let before = world.capsules_for(lost);
    // Written before this device has learnt of the rotation: it is not sealed for the new identity.
    let early = world.submit(A1, "for the identity of before");
    world.settle();
    assert_eq!(
        world.progress(A1, early),
        Progress::Failed(Failure::IdentityChanged)
    );
    world.submit(A1, "not for thieves");
    world.settle();
    assert_eq!(world.capsules_for(lost), before);
    assert_eq!(world.texts(B1).last().unwrap(), "not for thieves");
    assert_ne!(world.texts(B2).last().unwrap(), "not for thieves");
}

#[test]
fn a_blocked_user_gets_no_answer_and_stays_in_step() {
    let mut world = acquainted(48);
    let now = world.now;
    for machine in [B1, B2] {
        let device = &mut world.machines[machine].device;
        let blocked = device.set_blocked(ALICE, Blocking::Blocked, now, &mut world.rng);
        assert!(blocked.unwrap());
    }
    let msg_id = world.submit(A1, "are you there?");
    world.settle();
    assert!(matches!(world.progress(A1, msg_id), Progress::Accepted { .. }));
    assert_eq!(world.texts(B1).len(), 2);
    let message = [(MessageKey::Random, Content::Text("no".into()))];
    let device: &mut Device<MemoryStore> = &mut world.machines[B1].device;
    assert!(device.submit(ALICE, &message, now, &mut world.rng).is_err());
    assert_eq!(world.standing(B1, ALICE), Standing::Blocked);
    for machine in [B1, B2] {
        let device = &mut world.machines[machine].device;
        device
            .set_blocked(ALICE, Blocking::Allowed, now, &mut world.rng)
            .unwrap();
    }
    let msg_id = world.submit(A1, "in step");
    world.settle();
    assert!(matches!(world.progress(A1, msg_id), Progress::Delivered { .. }));
    assert_eq!(world.texts(B2).last().unwrap(), "in step");
    assert!(world.machines[B1].device.suspicions().unwrap().is_empty());
}

#[test]
fn a_request_gets_its_receipts_once_it_is_accepted() {
    let mut world = World::of_two(49);
    let msg_id = world.submit(0, "may I?");
    world.settle();
    assert!(matches!(world.progress(0, msg_id), Progress::Accepted { .. }));
    let (now, bob) = (world.now, &mut world.machines[1].device);
    assert!(bob.known(ALICE).unwrap().contact.is_request());
    let (accepted, effects) = bob.accept_request(ALICE, now, &mut world.rng).unwrap();
    assert!(accepted);
    world.act(1, effects);
    world.settle();
    assert!(matches!(world.progress(0, msg_id), Progress::Delivered { .. }));
}
