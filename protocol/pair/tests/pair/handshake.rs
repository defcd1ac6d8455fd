//! The handshake under attack: swapped keys, weak points, weaker suites.

use unhidra_chain::{BadBundle, Bundle, Capabilities, Expected, prekey};
use unhidra_crypto::{instrument, kem, x25519::PublicKey};
use unhidra_pair::{InitiateError, IntroductionError, OpenError, PrekeyPrefix, SeenEk};
use unhidra_types::Timestamp;

use crate::network::{Device, Two, rng};

/// Every canonical u of small order (RFC 7748 curve and twist): 0, 1, p - 1 and the two of order 8.
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    *b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"\xec\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    *b"\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00",
    *b"\x5f\x9c\x95\xbc\xa3\x50\x8c\x24\xb1\xd0\xb1\x55\x9c\x83\xef\x5b\x04\x44\x5c\xc4\x58\x1c\x8e\x86\xd8\x22\x4e\xdd\xd0\x9f\x11\x57",
];

/// p, p + 1, the highest of all, and 9 with bit 255 set.
const NON_CANONICAL: [[u8; 32]; 4] = [
    *b"\xed\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    *b"\xee\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    [0xff; 32],
    *b"\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80",
];

fn owner(device: &Device) -> prekey::PrekeyOwner {
    prekey::PrekeyOwner {
        user: device.identity().user,
        device: device.identity().device,
        generation: device.stock.generation,
    }
}

/// Checks `bundle` of device 1 as device 0 does, and counts what it computed with the keys.
fn verify(two: &Two, bundle: Bundle, floor: u64, now: Timestamp) -> Result<(), BadBundle> {
    let expected = Expected {
        device: two.devices[1].identity().device,
        generation_floor: prekey::Generation(floor),
        own: Capabilities::PQ,
    };
    let (result, trace) = instrument::record(|| bundle.verify(&two.users[1].chain, &expected, now));
    assert_eq!(trace.diffie_hellmans, 0, "refused or not, no secret was touched");
    result.map(|_| ())
}

/// Invariant 23.
#[test]
fn a_bundle_with_any_signed_key_swapped_is_refused_before_any_computation() {
    let mut two = Two::new(1);
    let genuine = two.devices[1].bundle();
    let other = two.devices[0].bundle();
    assert_eq!(verify(&two, genuine.clone(), 0, two.now), Ok(()));
    let signed = prekey::PrekeyType::Signed;
    let kem_once = prekey::PrekeyType::KemOneTime;

    let mut swapped = genuine.clone();
    swapped.signed.public = other.signed.public;
    assert_eq!(verify(&two, swapped, 0, two.now), Err(BadBundle::Forged(signed)));

    let mut swapped = genuine.clone();
    swapped.signed = other.signed;
    assert_eq!(verify(&two, swapped, 0, two.now), Err(BadBundle::Forged(signed)));

    let mut swapped = genuine.clone();
    swapped.kem.as_mut().unwrap().public = other.kem.unwrap().public;
    assert_eq!(
        verify(&two, swapped, 0, two.now),
        Err(BadBundle::Forged(kem_once))
    );

    let mut unsigned = genuine.clone();
    unsigned.signed.signature = [0; 64];
    assert_eq!(verify(&two, unsigned, 0, two.now), Err(BadBundle::Forged(signed)));

    let mut retyped = genuine.clone();
    retyped.kem.as_mut().unwrap().kind = prekey::KemKind::LastResort;
    let last_resort = prekey::PrekeyType::KemLastResort;
    assert_eq!(
        verify(&two, retyped, 0, two.now),
        Err(BadBundle::Forged(last_resort))
    );

    let mut stale = genuine.clone();
    stale.signed.not_after = two.now;
    assert_eq!(verify(&two, stale, 0, two.now), Err(BadBundle::Forged(signed)));
}

/// Invariant 23.
#[test]
fn an_old_generation_a_late_date_and_a_missing_kem_key_are_refused() {
    let mut two = Two::new(2);
    let genuine = two.devices[1].bundle();
    assert_eq!(
        verify(&two, genuine.clone(), 2, two.now),
        Err(BadBundle::EarlierGeneration)
    );
    let late = two.now.saturating_add(unhidra_pair::prekeys::PUBLIC_LIFETIME * 2);
    let expired = BadBundle::Expired(prekey::PrekeyType::Signed);
    assert_eq!(verify(&two, genuine.clone(), 0, late), Err(expired));
    let stripped = Bundle { kem: None, ..genuine };
    assert_eq!(verify(&two, stripped, 0, two.now), Err(BadBundle::KemMissing));
}

/// Invariant 23.
#[test]
fn a_swapped_one_time_key_fails_at_the_first_decryption() {
    let mut two = Two::new(3);
    let foreign = two.devices[0].stock.one_time[0].public;
    two.devices[1].stock.one_time.last_mut().unwrap().public = foreign;
    let mail = two.send(0, b"text");
    let before = two.devices[1].prekeys.clone();
    assert_eq!(two.deliver(&mail), Err(OpenError::NoSession));
    assert_eq!(two.devices[1].prekeys, before, "nothing was spent");
}

/// Invariant 24.
#[test]
fn a_signed_prekey_of_low_order_is_refused_by_the_initiator() {
    for point in LOW_ORDER {
        let mut two = Two::new(4);
        let peer = &mut two.devices[1];
        let (owner, not_after) = (owner(peer), peer.stock.standing.signed.not_after);
        let id = peer.stock.standing.signed.id;
        let public = PublicKey::from_bytes(&point).unwrap();
        peer.stock.standing.signed = prekey::SignedPrekey::sign(&peer.dsk, &owner, id, not_after, public);
        assert_eq!(initiate(&mut two), Err(InitiateError::BadPeerKey));
    }
}

/// Invariant 24.
#[test]
fn a_one_time_prekey_of_low_order_is_refused_by_the_initiator() {
    for point in LOW_ORDER {
        let mut two = Two::new(4);
        two.devices[1].stock.one_time.last_mut().unwrap().public = PublicKey::from_bytes(&point).unwrap();
        assert_eq!(initiate(&mut two), Err(InitiateError::BadPeerKey));
    }
}

fn initiate(two: &mut Two) -> Result<(), InitiateError> {
    let bundle = two.devices[1].bundle();
    let verified = two.devices[0].verify(bundle, &two.users[1].chain, two.now);
    let sessions = two.devices[0].sessions(two.devices[1].address());
    sessions
        .initiate(&two.devices[0].local, &verified, two.now, &mut two.rng)
        .map(|_| ())
}

/// Invariant 24.
#[test]
fn an_ephemeral_key_of_low_order_or_another_encoding_is_refused_by_the_responder() {
    let mut two = Two::new(5);
    let genuine = two.send(0, b"text");
    for point in LOW_ORDER.into_iter().chain(NON_CANONICAL) {
        let mut mail = genuine.clone();
        mail.bytes[66..98].copy_from_slice(&point);
        assert_eq!(two.deliver(&mail), Err(OpenError::Malformed));
    }
    assert!(two.deliver(&genuine).is_ok());
}

/// Invariant 24.
#[test]
fn a_bundle_with_a_non_canonical_key_or_a_malformed_kem_key_does_not_parse() {
    let mut two = Two::new(6);
    let bytes = two.devices[1].bundle().to_bytes();
    assert!(Bundle::parse(&bytes).is_ok());
    for point in NON_CANONICAL {
        for at in [68, 1_429] {
            let mut altered = bytes.clone();
            altered[at..at + 32].copy_from_slice(&point);
            assert!(Bundle::parse(&altered).is_err(), "at {at}");
        }
    }
    let mut altered = bytes;
    altered[177..180].copy_from_slice(&[0xff; 3]);
    assert!(
        Bundle::parse(&altered).is_err(),
        "a coefficient that is not below q"
    );
}

/// Invariant 25.
#[test]
fn a_first_message_in_the_weaker_suite_is_refused_where_both_have_pq() {
    let mut two = Two::new(7);
    // A malicious sender claims to be without pq.
    two.devices[0].capabilities = Capabilities::NONE;
    let mail = two.send(0, b"text");
    assert_eq!(mail.bytes.len(), 280);
    let (prefix, _) = PrekeyPrefix::parse(&mail.bytes).unwrap();
    let refused = two.devices[1].introduce(&prefix, &two.users[0].chain, SeenEk::New, two.now);
    assert_eq!(refused.map(|_| ()), Err(IntroductionError::Downgrade));
    assert!(two.deliver(&mail).is_err());
}

/// Invariant 25.
#[test]
fn a_first_message_whose_suite_was_altered_does_not_open() {
    let mut two = Two::new(8);
    let genuine = two.send(0, b"text");
    let mut stripped = genuine.clone();
    stripped.bytes[..2].copy_from_slice(&[0, 1]);
    stripped.bytes.drain(110..1_198);
    assert_eq!(
        two.deliver(&stripped),
        Err(OpenError::Malformed),
        "it names a kem key"
    );
    stripped.bytes[106..110].fill(0);
    assert!(two.deliver(&stripped).is_err());
    let mut unknown = genuine.clone();
    unknown.bytes[..2].copy_from_slice(&[2, 1]);
    assert_eq!(two.deliver(&unknown), Err(OpenError::Unsupported));
    // Where the session exists already, its suite is not what a prefix says.
    two.deliver(&genuine).unwrap();
    assert_eq!(two.deliver(&stripped), Ok(None), "known");
    two.devices[1].known.clear();
    assert_eq!(two.deliver(&stripped), Err(OpenError::Malformed));
}

/// Invariant 23.
#[test]
fn a_first_message_that_names_another_certificate_or_a_stranger_is_not_introduced() {
    let mut two = Two::new(9);
    let mail = two.send(0, b"text");
    let (prefix, _) = PrekeyPrefix::parse(&mail.bytes).unwrap();
    let introduce = |prefix: &PrekeyPrefix, now| {
        let seen = SeenEk::New;
        let result = two.devices[1].introduce(prefix, &two.users[0].chain, seen, now);
        result.map(|_| ())
    };
    assert_eq!(introduce(&prefix, two.now), Ok(()));
    let mut other = prefix.clone();
    other.cert_hash[0] ^= 1;
    assert_eq!(
        introduce(&other, two.now),
        Err(IntroductionError::OtherCertificate)
    );
    let mut stranger = prefix.clone();
    stranger.initiator.device = two.devices[1].identity().device;
    assert!(matches!(
        introduce(&stranger, two.now),
        Err(IntroductionError::NotLive(_))
    ));
    let mut stranger = prefix.clone();
    stranger.initiator.user = two.users[1].id;
    assert!(matches!(
        introduce(&stranger, two.now),
        Err(IntroductionError::NotLive(_))
    ));
    let expired = two
        .now
        .saturating_add(core::time::Duration::from_secs(500 * 86_400));
    assert!(matches!(
        introduce(&prefix, expired),
        Err(IntroductionError::NotLive(_))
    ));
}

/// Invariant 6: another KEM secret under the same message gives keys that open nothing.
#[test]
fn another_kem_ciphertext_opens_nothing() {
    let mut two = Two::new(10);
    let mut mail = two.send(0, b"text");
    let (prefix, _) = PrekeyPrefix::parse(&mail.bytes).unwrap();
    let used = prefix.kem.unwrap().id;
    let key = Two::new(10).devices[1].bundle().kem.unwrap();
    assert_eq!(key.id, used);
    let (ciphertext, _) = key.public.encapsulate(&mut rng(11));
    mail.bytes[110..110 + kem::CIPHERTEXT_BYTES].copy_from_slice(&ciphertext);
    assert_eq!(two.deliver(&mail), Err(OpenError::NoSession));
}

#[test]
fn a_bundle_of_another_device_is_not_taken() {
    let mut two = Two::new(12);
    let bundle = two.devices[1].bundle();
    let verified = two.devices[0].verify(bundle, &two.users[1].chain, two.now);
    let own = two.devices[0].address();
    let result =
        two.devices[0]
            .sessions(own)
            .initiate(&two.devices[0].local, &verified, two.now, &mut two.rng);
    assert_eq!(result.map(|_| ()), Err(InitiateError::OtherDevice));
}
