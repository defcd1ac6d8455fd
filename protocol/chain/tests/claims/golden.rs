//! Every stored and sent format, byte for byte, from fixed seeds.
//!
//! A difference breaks every client and every stored chain; it is a decision, never a repair of a test. After such a
//! decision, the failing test prints the new files and this writes them:
//!
//! ```sh
//! cargo test -p unhidra-chain golden | awk '$1 == "golden" { print $3 > "protocol/chain/testdata/" $2 ".hex" }'
//! ```

#[cfg(not(target_family = "wasm"))]
use std::fs;
use std::{fmt::Write as _, path::Path};

use unhidra_chain::{
    Genesis, auth,
    direct::direct_conversation,
    safety_number::{Person, SafetyNumber, VerificationCode},
};
#[cfg(target_family = "wasm")]
use unhidra_wasm::fs;

use crate::fixture::{ALL, NOW, Owner, device, dh_key, signing_key, storied, user};

#[test]
fn golden_formats_are_unchanged() {
    let mut changed = 0;
    for (name, bytes) in formats() {
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/{name}.hex"));
        if fs::read_to_string(path).unwrap_or_default().trim() != hex {
            println!("golden {name} {hex}");
            changed += 1;
        }
    }
    assert_eq!(changed, 0, "formats changed");
}

#[test]
fn safety_number_is_sixty_digits_in_groups_of_five() {
    let number = SafetyNumber::of(&person(1), &person(2));
    assert_eq!(number, SafetyNumber::of(&person(2), &person(1)));
    assert_eq!(
        number.to_string(),
        "05659 58609 43724 17192 25953 49897 50324 49772 44387 51886 35813 82749"
    );
}

fn formats() -> Vec<(&'static str, Vec<u8>)> {
    let mut owner = storied();
    owner.certify(4, ALL);
    let [genesis, certificate, _, renewal, revocation, ..] = &owner.records()[..] else {
        panic!("a storied chain has five records and more");
    };
    let mut exhausted = owner.bundle(3);
    exhausted.one_time = None;
    let claim = auth::Claim {
        user: user(1),
        device: device(1),
        dsk: signing_key(0x41).verifying_key(),
        dik: dh_key(0x21),
    };
    let code = VerificationCode {
        own: person(1),
        other: person(2),
    };
    vec![
        ("genesis", genesis.clone()),
        (
            "genesis_rotated",
            Genesis::sign(&signing_key(9), user(1), NOW, Some(&owner.uik))
                .as_bytes()
                .into(),
        ),
        ("certificate", certificate.clone()),
        ("certificate_renewed", renewal.clone()),
        ("revocation", revocation.clone()),
        ("bundle", owner.bundle(4).to_bytes()),
        ("bundle_classical", exhausted.to_bytes()),
        (
            "identity",
            owner.chain.identity(device(1)).unwrap().to_bytes().into(),
        ),
        (
            "login_signature",
            auth::sign_challenge(&signing_key(0x41), "chat.example.org", &[7; 32]).into(),
        ),
        ("possession_proof", claim.prove(&signing_key(0x41)).into()),
        (
            "direct_conversation",
            direct_conversation(user(1), user(2)).as_bytes().into(),
        ),
        ("verification_code", code.to_bytes().into()),
    ]
}

fn person(seed: u8) -> Person {
    let owner = Owner::new(seed);
    Person {
        user: owner.chain.user(),
        uik: *owner.chain.uik(),
    }
}

#[test]
fn sizes_are_those_of_the_specification() {
    let size = |name: &str| formats().iter().find(|(n, _)| *n == name).unwrap().1.len();
    assert_eq!(
        [
            "genesis",
            "genesis_rotated",
            "certificate",
            "certificate_renewed",
            "revocation"
        ]
        .map(size),
        [229, 229, 231, 231, 152]
    );
    assert_eq!(
        ["bundle", "bundle_classical", "identity", "verification_code"].map(size),
        [1_461, 200, 128, 97]
    );
}
