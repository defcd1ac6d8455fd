//! No bit of a record or of a bundle's signed part can change unnoticed; no unusable key gets in, signed or not.

use unhidra_chain::{
    BadBundle, Bundle, Capabilities, Chain, ChainError, DeviceIdentity, Expected, Genesis, Record,
    codec::Malformed,
    prekey::{Generation, OneTimePrekey, PrekeyOwner, PrekeyType, SignedPrekey},
    record::RecordError,
    safety_number::VerificationCode,
};

use crate::fixture::{
    ALL, NON_CANONICAL_X25519, NOW, Owner, UNUSABLE_ED25519, device, signing_key, storied, user,
};

#[test]
fn every_flipped_bit_of_every_record_is_refused() {
    let records = storied().records();
    for (n, record) in records.iter().enumerate().skip(1) {
        let before = Chain::verify(&records[..n]).unwrap();
        let mut chain = before.clone();
        for flipped in flips(record, 0..record.len()) {
            assert!(chain.append(&flipped).is_err(), "record {n}: {flipped:02x?}");
        }
        assert_eq!(chain, before);
    }
}

#[test]
fn every_flipped_bit_of_a_genesis_is_refused() {
    for previous in [None, Some(signing_key(9))] {
        let genesis = Genesis::sign(&signing_key(1), user(1), NOW, previous.as_ref());
        for flipped in flips(genesis.as_bytes(), 0..Genesis::BYTES) {
            assert!(Chain::begin(&flipped).is_err(), "{flipped:02x?}");
        }
    }
}

/// Whoever makes a new identity may name any key as the one before; only that key's holder may follow it up.
#[test]
fn a_genesis_cannot_claim_a_previous_key_that_did_not_sign_it() {
    let (new, claimed) = (signing_key(1), signing_key(9));
    let mut bytes = Genesis::sign(&new, user(1), NOW, Some(&claimed))
        .as_bytes()
        .to_vec();
    let stranger = signing_key(8).sign(&bytes[..101]);
    bytes[101..165].copy_from_slice(&stranger);
    let signature = new.sign(&bytes[..165]);
    bytes[165..].copy_from_slice(&signature);
    assert_eq!(Chain::begin(&bytes), Err(ChainError::Forged));
}

#[test]
fn a_genesis_verifies_under_its_own_key_only() {
    let genesis = Genesis::sign(&signing_key(1), user(1), NOW, None);
    let record = Record::parse(genesis.as_bytes()).unwrap();
    assert!(record.verify(&signing_key(1).verifying_key()).is_ok());
    assert!(record.verify(&signing_key(2).verifying_key()).is_err());
}

#[test]
fn a_previous_key_without_its_signature_is_malformed() {
    let genesis = Genesis::sign(&signing_key(1), user(1), NOW, Some(&signing_key(9)));
    let mut unsigned = genesis.as_bytes().to_vec();
    unsigned[101..165].fill(0);
    assert_eq!(Record::parse(&unsigned), Err(RecordError::Malformed));
    let mut keyless = genesis.as_bytes().to_vec();
    keyless[61..93].fill(0);
    assert_eq!(Record::parse(&keyless), Err(RecordError::Malformed));
}

#[test]
fn shortened_and_lengthened_encodings_are_malformed() {
    let owner = storied();
    for record in owner.records() {
        for other in lengths(&record) {
            assert_eq!(Record::parse(&other), Err(RecordError::Malformed));
        }
    }
    for other in lengths(&owner.bundle(1).to_bytes()).chain(lengths(&owner.bundle(3).to_bytes())) {
        assert_eq!(Bundle::parse(&other), Err(Malformed));
    }
    for other in lengths(&owner.chain.identity(device(1)).unwrap().to_bytes()) {
        assert_eq!(DeviceIdentity::parse(&other), Err(RecordError::Malformed));
    }
}

#[test]
fn unusable_keys_are_refused_wherever_a_key_stands() {
    let owner = storied();
    let [genesis, certificate, ..] = &owner.records()[..] else {
        panic!("a storied chain has two records and more");
    };
    let identity = owner.chain.identity(device(1)).unwrap();
    for key in UNUSABLE_ED25519 {
        assert_eq!(
            Record::parse(&with(genesis, 29, &key)),
            Err(RecordError::BadKey),
            "UIK {key:02x?}"
        );
        assert_eq!(
            Record::parse(&with(certificate, 47, &key)),
            Err(RecordError::BadKey),
            "DSK {key:02x?}"
        );
        for at in [32, 64] {
            assert_eq!(
                DeviceIdentity::parse(&with(&identity.to_bytes(), at, &key)),
                Err(RecordError::BadKey)
            );
        }
        let mut code = [1; VerificationCode::BYTES];
        code[17..49].copy_from_slice(&key);
        assert_eq!(VerificationCode::parse(&code), Err(RecordError::BadKey));
    }
    let bundle = owner.bundle(1).to_bytes();
    for key in NON_CANONICAL_X25519 {
        assert_eq!(
            Record::parse(&with(certificate, 79, &key)),
            Err(RecordError::BadKey),
            "DIK {key:02x?}"
        );
        assert_eq!(
            DeviceIdentity::parse(&with(&identity.to_bytes(), 96, &key)),
            Err(RecordError::BadKey)
        );
        assert_eq!(
            Bundle::parse(&with(&bundle, 56 + 12, &key)),
            Err(Malformed),
            "SPK {key:02x?}"
        );
        assert_eq!(
            Bundle::parse(&with(&bundle, bundle.len() - 32, &key)),
            Err(Malformed),
            "OPK {key:02x?}"
        );
    }
    // Coefficients beyond the modulus 3329.
    assert_eq!(
        Bundle::parse(&with(&bundle, 164 + 13, &[0xff; 3])),
        Err(Malformed)
    );
}

#[test]
fn every_flipped_bit_of_a_bundles_signed_part_is_refused() {
    let owner = storied();
    let expected = Expected {
        device: device(1),
        generation_floor: Generation(0),
        own: ALL,
    };
    let bytes = owner.bundle(1).to_bytes();
    let (kem_key, one_time) = (177..177 + 1_184, Bundle::BYTES - OneTimePrekey::BYTES);
    let outside = flips(&bytes, 0..kem_key.start).chain(flips(&bytes, kem_key.end..one_time));
    // One bit of each byte of the long key: all of them are in one signature's input.
    let inside = kem_key.map(|at| with(&bytes, at, &[bytes[at] ^ (1 << (at % 8))]));
    for flipped in outside.chain(inside) {
        let verdict = Bundle::parse(&flipped).map(|bundle| bundle.verify(&owner.chain, &expected, NOW));
        assert!(!matches!(verdict, Ok(Ok(_))), "{flipped:02x?}");
    }
}

#[test]
fn a_zero_prekey_number_means_none_and_then_there_is_no_key() {
    let owner = storied();
    let classical = owner.bundle(3).to_bytes();
    for at in [56, 200 - 36] {
        assert_eq!(Bundle::parse(&with(&classical, at, &[0; 4])), Err(Malformed));
    }
    let none = Bundle::parse(&with(&classical, 200 - 36, &[0; 36])).unwrap();
    assert_eq!(none.one_time, None);
}

#[test]
fn a_signed_prekey_alone_is_checked_at_upload() {
    let owner = storied();
    let (bundle, identity) = (owner.bundle(1), owner.chain.identity(device(1)).unwrap());
    let prekey_owner = PrekeyOwner {
        user: identity.user,
        device: identity.device,
        generation: bundle.generation,
    };
    let uploaded = SignedPrekey::parse(&bundle.signed.to_bytes()).unwrap();
    assert_eq!(uploaded.verify(&identity.dsk, &prekey_owner), Ok(()));
    let next_generation = PrekeyOwner {
        generation: Generation(4),
        ..prekey_owner
    };
    assert!(uploaded.verify(&identity.dsk, &next_generation).is_err());
}

#[test]
fn a_forged_record_says_so_and_a_forged_bundle_names_the_prekey() {
    let mut owner = storied();
    let mut record = owner.revocation(1).as_bytes().to_vec();
    record[100] ^= 1;
    assert_eq!(owner.chain.append(&record), Err(ChainError::Forged));
    let mut bundle = owner.bundle(1);
    bundle.signed.signature[0] ^= 1;
    let expected = Expected {
        device: device(1),
        generation_floor: Generation(0),
        own: Capabilities::NONE,
    };
    assert_eq!(
        bundle.verify(&owner.chain, &expected, NOW),
        Err(BadBundle::Forged(PrekeyType::Signed))
    );
}

#[test]
fn another_user_with_the_same_devices_has_another_chain() {
    let records = storied().records();
    let mut other = Owner::new(2);
    assert_eq!(other.chain.append(&records[1]), Err(ChainError::OtherUser));
}

fn flips(bytes: &[u8], range: std::ops::Range<usize>) -> impl Iterator<Item = Vec<u8>> {
    range.flat_map(move |at| (0..8).map(move |bit| with(bytes, at, &[bytes[at] ^ (1 << bit)])))
}

fn lengths(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let longer = [bytes, &[0]].concat();
    let shorter = [0, 1, 20, bytes.len() - 1].map(|n| bytes[..n].to_vec());
    shorter.into_iter().chain([longer])
}

fn with(bytes: &[u8], at: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + field.len()].copy_from_slice(field);
    bytes
}
