//! A bundle is verified for one device, one chain, one floor and one moment, or not at all.

use unhidra_chain::{
    BadBundle, Bundle, Capabilities, Expected, Liveness, Suite,
    prekey::{Generation, KemKind, KemPrekey, PrekeyOwner, PrekeyType, SignedPrekey},
};
use unhidra_types::Timestamp;

use crate::fixture::{ALL, DAY_MS, NOW, Owner, device, dh_key, id, kem_key, signing_key, storied};

#[test]
fn a_good_bundle_yields_the_peers_identity_and_parsed_keys() {
    let owner = storied();
    let bundle = owner.bundle(1);
    let sent = Bundle::parse(&bundle.to_bytes()).unwrap();
    assert_eq!(sent, bundle);
    let verified = sent.verify(&owner.chain, &expecting(1, ALL), NOW).unwrap();
    assert_eq!(verified.peer(), &owner.chain.identity(device(1)).unwrap());
    assert_eq!(verified.suite(), Suite::Hybrid);
    assert_eq!(verified.kem().unwrap().public, kem_key(0x12));
    assert_eq!(verified.signed().public, dh_key(0x11));
    assert_eq!(verified.one_time().unwrap().public, dh_key(0x13));
    assert_eq!(verified.generation(), Generation(3));
    assert_eq!(verified.liveness(), Liveness::Live);
    assert!(!verified.is_last_resort());
}

#[test]
fn the_suite_is_hybrid_exactly_when_both_certificates_say_pq() {
    let owner = storied();
    for (n, own, suite) in [
        (1, ALL, Suite::Hybrid),
        (1, Capabilities::NONE, Suite::Classical),
        (3, ALL, Suite::Classical),
        (3, Capabilities::NONE, Suite::Classical),
    ] {
        let verified = owner
            .bundle(n)
            .verify(&owner.chain, &expecting(n, own), NOW)
            .unwrap();
        assert_eq!(verified.suite(), suite);
        assert_eq!(verified.kem().is_some(), suite == Suite::Hybrid);
    }
    for suite in [Suite::Classical, Suite::Hybrid] {
        assert_eq!(Suite::from_u16(suite.to_u16()), Some(suite));
    }
    assert_eq!(Suite::from_u16(0x0100), None);
}

#[test]
fn a_server_cannot_strip_or_add_the_kem_prekey() {
    let owner = storied();
    let mut stripped = owner.bundle(1);
    stripped.kem = None;
    let mut padded = owner.bundle(3);
    padded.kem = owner.bundle(1).kem;
    for own in [ALL, Capabilities::NONE] {
        assert_eq!(
            refusal(&owner, stripped.clone(), &expecting(1, own), NOW),
            BadBundle::KemMissing
        );
        assert_eq!(
            refusal(&owner, padded.clone(), &expecting(3, own), NOW),
            BadBundle::KemUnannounced
        );
    }
}

#[test]
fn only_a_live_device_is_sent_to() {
    let owner = storied();
    let mut revoked = storied();
    let bundle = revoked.bundle(1);
    revoked.revoke(1);
    assert_eq!(
        refusal(&revoked, bundle.clone(), &expecting(1, ALL), NOW),
        BadBundle::NotLive(Liveness::Revoked)
    );
    let later = Timestamp::from_millis(NOW.as_millis() + 500 * DAY_MS);
    assert_eq!(
        refusal(&owner, bundle.clone(), &expecting(1, ALL), later),
        BadBundle::NotLive(Liveness::Expired)
    );
    assert_eq!(
        refusal(&Owner::new(1), bundle, &expecting(1, ALL), NOW),
        BadBundle::NotLive(Liveness::Unknown)
    );
}

#[test]
fn a_bundle_under_a_superseded_certificate_is_refused() {
    let mut owner = storied();
    let bundle = owner.bundle(1);
    owner.certify(1, Capabilities::PQ);
    assert_eq!(
        refusal(&owner, bundle, &expecting(1, ALL), NOW),
        BadBundle::OtherCertificate
    );
}

#[test]
fn another_devices_bundle_is_refused() {
    let owner = storied();
    assert_eq!(
        refusal(&owner, owner.bundle(3), &expecting(1, ALL), NOW),
        BadBundle::OtherDevice(device(3))
    );
}

#[test]
fn a_generation_below_the_highest_seen_is_refused() {
    let owner = storied();
    let floor = |generation| Expected {
        generation_floor: Generation(generation),
        ..expecting(1, ALL)
    };
    assert!(owner.bundle(1).verify(&owner.chain, &floor(3), NOW).is_ok());
    assert_eq!(
        refusal(&owner, owner.bundle(1), &floor(4), NOW),
        BadBundle::EarlierGeneration
    );
    let mut claimed = owner.bundle(1);
    claimed.generation = Generation(4);
    assert_eq!(
        refusal(&owner, claimed, &floor(4), NOW),
        BadBundle::Forged(PrekeyType::Signed)
    );
}

#[test]
fn prekeys_are_used_up_to_their_last_moment_and_not_after() {
    let owner = storied();
    let bundle = owner.bundle(1);
    let last = bundle.signed.not_after;
    let past = Timestamp::from_millis(last.as_millis() + 1);
    assert!(
        bundle
            .clone()
            .verify(&owner.chain, &expecting(1, ALL), last)
            .is_ok()
    );
    assert_eq!(
        refusal(&owner, bundle.clone(), &expecting(1, ALL), past),
        BadBundle::Expired(PrekeyType::Signed)
    );
    let mut fresh = bundle;
    fresh.signed = SignedPrekey::sign(&signing_key(0x41), &prekeys_of(&owner, 1), id(1), past, dh_key(1));
    assert_eq!(
        refusal(&owner, fresh, &expecting(1, ALL), past),
        BadBundle::Expired(PrekeyType::KemOneTime)
    );
}

#[test]
fn the_last_resort_key_is_flagged_and_cannot_pass_for_a_one_time_key() {
    let owner = storied();
    let mut bundle = owner.bundle(1);
    let not_after = bundle.signed.not_after;
    bundle.kem = Some(KemPrekey::sign(
        &signing_key(0x41),
        &prekeys_of(&owner, 1),
        KemKind::LastResort,
        id(5),
        not_after,
        kem_key(5),
    ));
    let verified = bundle
        .clone()
        .verify(&owner.chain, &expecting(1, ALL), NOW)
        .unwrap();
    assert!(verified.is_last_resort());
    bundle.kem.as_mut().unwrap().kind = KemKind::OneTime;
    assert_eq!(
        refusal(&owner, bundle, &expecting(1, ALL), NOW),
        BadBundle::Forged(PrekeyType::KemOneTime)
    );
}

#[test]
fn a_prekey_signed_for_another_device_is_refused() {
    let owner = storied();
    let mut bundle = owner.bundle(1);
    let foreign = PrekeyOwner {
        device: device(3),
        ..prekeys_of(&owner, 1)
    };
    bundle.signed = SignedPrekey::sign(
        &signing_key(0x41),
        &foreign,
        id(1),
        bundle.signed.not_after,
        dh_key(1),
    );
    assert_eq!(
        refusal(&owner, bundle, &expecting(1, ALL), NOW),
        BadBundle::Forged(PrekeyType::Signed)
    );
}

fn expecting(n: u8, own: Capabilities) -> Expected {
    Expected {
        device: device(n),
        generation_floor: Generation(0),
        own,
    }
}

fn prekeys_of(owner: &Owner, n: u8) -> PrekeyOwner {
    PrekeyOwner {
        user: owner.chain.user(),
        device: device(n),
        generation: Generation(3),
    }
}

fn refusal(owner: &Owner, bundle: Bundle, expected: &Expected, now: Timestamp) -> BadBundle {
    bundle.verify(&owner.chain, expected, now).unwrap_err()
}
