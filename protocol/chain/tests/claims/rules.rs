//! Who may be certified, renewed and revoked, against a model that keeps four facts about each device.

use std::collections::BTreeMap;

use proptest::prelude::*;
use unhidra_chain::{
    Capabilities, Chain, ChainError, DeviceCertificate, DeviceKind, Genesis, ListVersion, Liveness, Record,
    Revocation, Validity,
    record::{RecordError, Subject},
};
use unhidra_crypto::x25519;
use unhidra_types::{
    DeviceId, Timestamp,
    limits::{MAX_CHAIN_RECORDS, MAX_LIVE_DEVICES},
};

use crate::fixture::{ALL, DAY_MS, NOW, Owner, device, dh_key, signing_key, storied, subject, user};

#[derive(Clone, Debug)]
enum Action {
    Certify {
        device: u8,
        dsk: u8,
        dik: u8,
        kind: DeviceKind,
    },
    Revoke {
        device: u8,
    },
}

#[derive(Clone, PartialEq)]
struct Known {
    dsk: u8,
    dik: u8,
    kind: DeviceKind,
    revoked: bool,
}

/// Device ids, keys of either sort: few enough that every rule is met often.
const POOL: u8 = 3;

fn action() -> impl Strategy<Value = Action> {
    let kind = prop_oneof![9 => Just(DeviceKind::Human), 1 => Just(DeviceKind::Web)];
    prop_oneof![
        4 => (0..POOL, 0..POOL, 0..POOL, kind)
            .prop_map(|(device, dsk, dik, kind)| Action::Certify { device, dsk, dik, kind }),
        // Honest: the device's own keys.
        4 => (0..POOL).prop_map(|n| Action::Certify { device: n, dsk: n, dik: n, kind: DeviceKind::Human }),
        1 => (0..POOL).prop_map(|device| Action::Revoke { device }),
    ]
}

fn expected(model: &mut BTreeMap<u8, Known>, action: &Action) -> Result<(), ChainError> {
    match *action {
        Action::Revoke { device: n } => match model.get_mut(&n) {
            None => Err(ChainError::UnknownDevice(device(n))),
            Some(known) if known.revoked => Err(ChainError::Revoked(device(n))),
            Some(known) => {
                known.revoked = true;
                Ok(())
            }
        },
        Action::Certify {
            device: n,
            dsk,
            dik,
            kind,
        } => match model.get(&n) {
            Some(known) if known.revoked => Err(ChainError::Revoked(device(n))),
            Some(known) if (known.dsk, known.dik, known.kind) != (dsk, dik, kind) => {
                Err(ChainError::ChangedDevice(device(n)))
            }
            Some(_) => Ok(()),
            None => {
                let of_dsk = model.iter().find(|(_, known)| known.dsk == dsk);
                let of_dik = model.iter().find(|(_, known)| known.dik == dik);
                if let Some((holder, _)) = of_dsk.or(of_dik) {
                    return Err(ChainError::KeyInUse(device(*holder)));
                }
                model.insert(
                    n,
                    Known {
                        dsk,
                        dik,
                        kind,
                        revoked: false,
                    },
                );
                Ok(())
            }
        },
    }
}

fn act(owner: &mut Owner, action: &Action) -> Result<Record, ChainError> {
    match *action {
        Action::Revoke { device } => {
            let revocation = owner.revocation(device);
            owner.chain.append(revocation.as_bytes())
        }
        Action::Certify {
            device: n,
            dsk,
            dik,
            kind,
        } => {
            let subject = Subject {
                device: device(n),
                kind,
                dsk: signing_key(dsk | 0x40).verifying_key(),
                dik: dh_key(dik | 0x20),
                capabilities: ALL,
            };
            let certificate = owner.certificate(subject, Validity::starting(NOW));
            owner.chain.append(certificate.as_bytes())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn certificates_renewals_and_revocations_follow_the_model(actions in prop::collection::vec(action(), 1..24)) {
        let mut owner = Owner::new(1);
        let mut model = BTreeMap::new();
        for action in &actions {
            let before = owner.chain.clone();
            let outcome = act(&mut owner, action).map(|_| ());
            prop_assert_eq!(outcome, expected(&mut model, action), "{:?}", action);
            prop_assert_eq!(outcome.is_err(), owner.chain == before);
        }
        for n in 0..POOL {
            let liveness = match model.get(&n) {
                None => Liveness::Unknown,
                Some(known) if known.revoked => Liveness::Revoked,
                Some(_) => Liveness::Live,
            };
            prop_assert_eq!(owner.chain.is_live(device(n), NOW), liveness);
        }
        prop_assert_eq!(Chain::verify(owner.chain.records()), Ok(owner.chain));
    }
}

#[test]
fn a_signing_key_of_one_device_is_no_dh_key_of_another() {
    let mut owner = Owner::new(1);
    // An Ed25519 encoding that is also a canonical u.
    let (n, dik) = (1..0x20)
        .find_map(|n| {
            Some((
                n,
                x25519::PublicKey::from_bytes(subject(n, ALL).dsk.as_bytes()).ok()?,
            ))
        })
        .unwrap();
    owner.certify(n, ALL);
    let thief = Subject {
        dik,
        ..subject(n + 1, ALL)
    };
    let certificate = owner.certificate(thief, Validity::starting(NOW));
    assert_eq!(
        owner.chain.append(certificate.as_bytes()),
        Err(ChainError::KeyInUse(device(n)))
    );
}

#[test]
fn liveness_has_a_day_of_tolerance_at_either_end() {
    let validity = Validity {
        not_before: NOW,
        not_after: Timestamp::from_millis(NOW.as_millis() + DAY_MS),
    };
    let (from, to) = (validity.not_before.as_millis(), validity.not_after.as_millis());
    for (now, expected) in [
        (from - DAY_MS - 1, Liveness::NotYetValid),
        (from - DAY_MS, Liveness::LiveWithDateWarning),
        (from - 1, Liveness::LiveWithDateWarning),
        (from, Liveness::Live),
        (to, Liveness::Live),
        (to + 1, Liveness::LiveWithDateWarning),
        (to + DAY_MS, Liveness::LiveWithDateWarning),
        (to + DAY_MS + 1, Liveness::Expired),
        (0, Liveness::NotYetValid),
        (u64::MAX, Liveness::Expired),
    ] {
        assert_eq!(validity.at(Timestamp::from_millis(now)), expected, "{now}");
    }
}

#[test]
fn a_renewal_is_due_with_less_than_a_hundred_days_left() {
    let validity = Validity::starting(NOW);
    let after = |millis| Timestamp::from_millis(NOW.as_millis() + millis);
    assert!(!validity.renewal_due(after(300 * DAY_MS)));
    assert!(validity.renewal_due(after(300 * DAY_MS + 1)));
    assert!(validity.renewal_due(after(500 * DAY_MS)));
}

#[test]
fn a_renewal_replaces_dates_and_capabilities_and_keeps_the_old_hash_known() {
    let mut owner = Owner::new(1);
    owner.certify(1, ALL);
    let first = *owner.chain.device(device(1)).unwrap().certificate_hash();
    let late = Timestamp::from_millis(NOW.as_millis() + 350 * DAY_MS);
    let renewal = owner.certificate(subject(1, Capabilities::NONE), Validity::starting(late));
    owner.chain.append(renewal.as_bytes()).unwrap();

    let device = owner.chain.device(device(1)).unwrap();
    assert_eq!(device.certificate(), &renewal);
    assert_eq!(device.certificate_hash(), &renewal.hash());
    assert!(device.has_certificate(&first) && device.has_certificate(&renewal.hash()));
    assert!(!device.has_certificate(&[0; 32]));
    assert_eq!(device.liveness(NOW), Liveness::NotYetValid);
}

#[test]
fn live_devices_are_those_certified_in_date_and_not_revoked() {
    let owner = storied();
    let live: Vec<_> = owner
        .chain
        .live_devices(NOW)
        .map(|device| device.certificate().subject().device)
        .collect();
    assert_eq!(live, [device(1), device(3)]);
    let after = Timestamp::from_millis(NOW.as_millis() + 402 * DAY_MS);
    assert_eq!(owner.chain.live_devices(after).count(), 0);
}

#[test]
fn a_thirty_third_device_waits_for_a_revocation() {
    let mut owner = Owner::new(1);
    let ids = 0x10..0x10 + u8::try_from(MAX_LIVE_DEVICES).unwrap();
    // Seeds 0x10.. collide neither in id nor in key with each other's tag bits.
    let plain = |n: u8| Subject {
        device: DeviceId::from_bytes([n; 16]),
        dsk: signing_key(n | 0x80).verifying_key(),
        dik: dh_key(n),
        ..subject(1, ALL)
    };
    for n in ids.clone() {
        let certificate = owner.certificate(plain(n), Validity::starting(NOW));
        owner.chain.append(certificate.as_bytes()).unwrap();
    }
    let next = owner.certificate(plain(ids.end), Validity::starting(NOW));
    assert_eq!(
        owner.chain.append(next.as_bytes()),
        Err(ChainError::TooManyDevices)
    );
    let renewal = owner.certificate(plain(ids.start), Validity::starting(NOW));
    owner.chain.append(renewal.as_bytes()).unwrap();

    let revocation = Revocation::sign(
        &owner.uik,
        owner.chain.user(),
        &owner.chain.head(),
        plain(ids.start).device,
        NOW,
    );
    owner.chain.append(revocation.as_bytes()).unwrap();
    let next = owner.certificate(plain(ids.end), Validity::starting(NOW));
    owner.chain.append(next.as_bytes()).unwrap();
    assert_eq!(owner.chain.live_devices(NOW).count(), MAX_LIVE_DEVICES);
}

#[test]
fn a_full_chain_takes_no_further_record() {
    let mut owner = Owner::new(1);
    let mut records = owner.records();
    for _ in 1..MAX_CHAIN_RECORDS {
        owner.certify(1, ALL);
    }
    records.extend(owner.chain.records().skip(1).map(Vec::from));
    assert_eq!(records.len(), MAX_CHAIN_RECORDS);
    let one_more = owner.revocation(1);
    assert_eq!(owner.chain.append(one_more.as_bytes()), Err(ChainError::Full));
    records.push(one_more.as_bytes().into());
    assert_eq!(Chain::restore(&records), Err(ChainError::Full));
}

#[test]
fn a_chain_begins_with_exactly_one_genesis() {
    let mut owner = storied();
    let records = owner.records();
    assert_eq!(Chain::verify(&records[..0]), Err(ChainError::NoGenesis));
    assert_eq!(Chain::verify(&records[1..]), Err(ChainError::NoGenesis));
    assert_eq!(owner.chain.append(&records[0]), Err(ChainError::SecondGenesis));
}

#[test]
fn another_users_record_is_refused_even_in_the_right_place() {
    let mut owner = Owner::new(1);
    let foreign = DeviceCertificate::sign(
        &owner.uik,
        user(2),
        &owner.chain.head(),
        subject(1, ALL),
        Validity::starting(NOW),
    );
    assert_eq!(owner.chain.append(foreign.as_bytes()), Err(ChainError::OtherUser));
}

#[test]
fn a_record_signed_by_another_identity_key_is_refused() {
    let mut owner = Owner::new(1);
    let forged = Revocation::sign(&signing_key(2), user(1), &owner.chain.head(), device(1), NOW);
    assert_eq!(owner.chain.append(forged.as_bytes()), Err(ChainError::Forged));
}

#[test]
fn a_rotated_identity_names_the_key_that_vouched_for_it() {
    let (old, new) = (signing_key(1), signing_key(2));
    let chain = Chain::begin(Genesis::sign(&new, user(1), NOW, Some(&old)).as_bytes()).unwrap();
    assert_eq!(chain.genesis().previous_uik(), Some(&old.verifying_key()));
    assert_eq!(chain.uik(), &new.verifying_key());
    assert_eq!(chain.head().version, ListVersion(0));
    let reset = Chain::begin(Genesis::sign(&new, user(1), NOW, None).as_bytes()).unwrap();
    assert_eq!(reset.genesis().previous_uik(), None);
}

#[test]
fn unknown_algorithms_and_kinds_need_a_newer_version_and_unknown_capabilities_do_not() {
    let owner = Owner::new(1);
    let capabilities = Capabilities::from_bits(0x8000_0001);
    let certificate = owner.certificate(subject(1, capabilities), Validity::starting(NOW));
    let Ok(Record::Certificate(read)) = Record::parse(certificate.as_bytes()) else {
        panic!("a certificate reads as one");
    };
    assert_eq!(read.subject().capabilities, capabilities);
    for (at, byte) in [(13, 2), (14, 0), (14, 6)] {
        let mut bytes = certificate.as_bytes().to_vec();
        bytes[at] = byte;
        assert_eq!(
            Record::parse(&bytes),
            Err(RecordError::Unsupported),
            "byte {at} = {byte}"
        );
    }
}
