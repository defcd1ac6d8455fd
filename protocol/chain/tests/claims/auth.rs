//! Signatures for the server hold for one purpose only; codes and numbers for one pair of users only.

use unhidra_chain::{
    auth::{Claim, sign_challenge, verify_challenge},
    record::RecordError,
    safety_number::{Person, SafetyNumber, VerificationCode},
};

use crate::fixture::{device, dh_key, signing_key, user};

#[test]
fn a_login_answer_holds_for_its_challenge_origin_and_key_only() {
    let dsk = signing_key(1);
    let answer = sign_challenge(&dsk, "a.example", &[1; 32]);
    assert_eq!(
        verify_challenge(&dsk.verifying_key(), "a.example", &[1; 32], &answer),
        Ok(())
    );
    for (key, origin, challenge) in [
        (&signing_key(2), "a.example", [1; 32]),
        (&dsk, "b.example", [1; 32]),
        (&dsk, "a.example", [2; 32]),
        (&dsk, "", [1; 32]),
    ] {
        assert!(
            verify_challenge(&key.verifying_key(), origin, &challenge, &answer).is_err(),
            "{origin}"
        );
    }
}

#[test]
fn a_proof_of_possession_holds_for_its_whole_claim_only() {
    let dsk = signing_key(1);
    let claim = Claim {
        user: user(1),
        device: device(1),
        dsk: dsk.verifying_key(),
        dik: dh_key(1),
    };
    let proof = claim.prove(&dsk);
    assert_eq!(claim.verify(&proof), Ok(()));
    for other in [
        Claim {
            user: user(2),
            ..claim
        },
        Claim {
            device: device(2),
            ..claim
        },
        Claim {
            dsk: signing_key(2).verifying_key(),
            ..claim
        },
        Claim {
            dik: dh_key(2),
            ..claim
        },
    ] {
        assert!(other.verify(&proof).is_err(), "{other:?}");
    }
    assert!(claim.verify(&claim.prove(&signing_key(2))).is_err());
}

#[test]
fn a_scanned_code_confirms_only_the_mirrored_view() {
    let [alice, bob, mallory] = [1, 2, 3].map(person);
    let shown = VerificationCode {
        own: alice,
        other: bob,
    };
    let scanned = VerificationCode::parse(&shown.to_bytes()).unwrap();
    assert!(scanned.confirms(&VerificationCode {
        own: bob,
        other: alice
    }));
    let swapped_key = Person {
        uik: mallory.uik,
        ..alice
    };
    for mine in [
        VerificationCode {
            own: bob,
            other: mallory,
        },
        VerificationCode {
            own: bob,
            other: swapped_key,
        },
        shown,
    ] {
        assert!(!scanned.confirms(&mine));
    }
    let mut newer = shown.to_bytes();
    newer[0] = 2;
    assert_eq!(VerificationCode::parse(&newer), Err(RecordError::Unsupported));
}

#[test]
fn another_key_gives_another_safety_number() {
    let [alice, bob, mallory] = [1, 2, 3].map(person);
    let swapped = Person {
        uik: mallory.uik,
        ..bob
    };
    assert_ne!(SafetyNumber::of(&alice, &bob), SafetyNumber::of(&alice, &swapped));
}

fn person(seed: u8) -> Person {
    Person {
        user: user(seed),
        uik: signing_key(seed).verifying_key(),
    }
}
