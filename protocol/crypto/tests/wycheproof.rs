//! Project Wycheproof's vectors, through this crate's own functions. Each test says how many it took, so that a set that
//! is read as empty fails.
#![cfg(test)]

mod given;

use serde_json::Value;
use unhidra_crypto::{
    aead, ed25519, kdf,
    kem::{self, DecapsulationKey, EncapsulationKey},
    x25519::{PublicKey, SecretKey},
};
use unhidra_types::Secret;

use self::given::Given;

fn tests(json: &str) -> Vec<(Value, Value)> {
    let set: Value = serde_json::from_str(json).unwrap();
    let mut tests = Vec::new();
    for group in set["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            tests.push((group.clone(), test.clone()));
        }
    }
    println!("{} vectors", tests.len());
    tests
}

fn hex(value: &Value) -> Vec<u8> {
    value
        .as_str()
        .unwrap_or("")
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn array<const N: usize>(value: &Value) -> Option<[u8; N]> {
    hex(value).try_into().ok()
}

/// A value of at most 32 bytes with zeros behind it: for a key of HMAC the same key.
fn padded(value: &Value) -> Option<[u8; 32]> {
    let mut bytes = hex(value);
    (bytes.len() <= 32).then(|| {
        bytes.resize(32, 0);
        bytes.try_into().unwrap()
    })
}

fn is(test: &Value, result: &str) -> bool {
    test["result"] == result
}

fn is_flagged(test: &Value, flag: &str) -> bool {
    test["flags"]
        .as_array()
        .is_some_and(|flags| flags.iter().any(|found| found == flag))
}

#[test]
fn x25519_agrees_and_refuses_zero_results_and_encodings_that_are_not_canonical() {
    let (mut agreed, mut refused) = (0, 0);
    for (_, test) in tests(wycheproof::xdh::TestName::X25519.json_data()) {
        let (secret, shared) = (array(&test["private"]).unwrap(), hex(&test["shared"]));
        let public = PublicKey::from_bytes(&array(&test["public"]).unwrap());
        let ours =
            public.and_then(|public| SecretKey::from_bytes(&Secret::new(secret)).diffie_hellman(&public));
        match ours {
            Ok(ours) => {
                assert_eq!(ours.expose().to_vec(), shared, "{test}");
                agreed += 1;
            }
            Err(_) => {
                let foreign =
                    is_flagged(&test, "NonCanonicalPublic") || is_flagged(&test, "ZeroSharedSecret");
                assert!(foreign && is(&test, "acceptable"), "{test}");
                refused += 1;
            }
        }
    }
    assert!(
        agreed >= 400 && refused >= 20,
        "{agreed} agreed, {refused} refused"
    );
}

#[test]
fn ed25519_takes_exactly_the_valid_signatures() {
    let (mut valid, mut invalid) = (0, 0);
    for (group, test) in tests(wycheproof::eddsa::TestName::Ed25519.json_data()) {
        let key = ed25519::VerifyingKey::from_bytes(&array(&group["publicKey"]["pk"]).unwrap()).unwrap();
        let holds =
            array(&test["sig"]).is_some_and(|signature| key.verify(&hex(&test["msg"]), &signature).is_ok());
        assert_eq!(holds, is(&test, "valid"), "{test}");
        *if holds { &mut valid } else { &mut invalid } += 1;
    }
    assert!(valid >= 70 && invalid >= 50, "{valid} valid, {invalid} invalid");
}

#[test]
fn chacha20_poly1305_opens_exactly_what_is_valid_and_seals_the_same_bytes() {
    let (mut valid, mut invalid) = (0, 0);
    for (_, test) in tests(wycheproof::aead::TestName::ChaCha20Poly1305.json_data()) {
        // Another length of nonce can't be said to this crate.
        let Some(nonce) = array(&test["iv"]) else {
            assert!(is(&test, "invalid"), "{test}");
            continue;
        };
        let key = aead::Key::new(Secret::new(array(&test["key"]).unwrap()));
        let (aad, text) = (hex(&test["aad"]), hex(&test["msg"]));
        let sealed = [hex(&test["ct"]), hex(&test["tag"])].concat();
        let opened = key.open(&nonce, &aad, &sealed);
        if is(&test, "valid") {
            assert_eq!(opened.unwrap(), text, "{test}");
            assert_eq!(key.seal(&nonce, &aad, &text).unwrap(), sealed, "{test}");
            valid += 1;
        } else {
            assert!(opened.is_err(), "{test}");
            invalid += 1;
        }
    }
    assert!(valid >= 200 && invalid >= 50, "{valid} valid, {invalid} invalid");
}

#[test]
fn hkdf_gives_every_output_whose_salt_fits() {
    let (mut taken, mut longer) = (0, 0);
    for (_, test) in tests(wycheproof::hkdf::TestName::HkdfSha256.json_data()) {
        let Some(salt) = padded(&test["salt"]).filter(|_| is(&test, "valid")) else {
            longer += 1;
            continue;
        };
        let (ikm, info, okm) = (hex(&test["ikm"]), hex(&test["info"]), hex(&test["okm"]));
        // What is asked for is a prefix of what a longer output would be.
        let ours = kdf::hkdf::<{ 255 * 32 }>(&salt, &[&ikm], &[&info]);
        assert_eq!(ours.expose()[..okm.len()], okm, "{test}");
        taken += 1;
    }
    assert!(
        taken >= 60,
        "{taken} taken, {longer} with a longer salt or an impossible length"
    );
}

#[test]
fn hmac_gives_every_valid_tag_whose_key_fits_and_no_other() {
    let (mut valid, mut invalid) = (0, 0);
    for (group, test) in tests(wycheproof::mac::TestName::HmacSha256.json_data()) {
        let Some(key) = padded(&test["key"]) else {
            continue;
        };
        let tag = hex(&test["tag"]);
        assert_eq!(group["tagSize"].as_u64(), u64::try_from(tag.len() * 8).ok());
        let ours = kdf::hmac(&Secret::new(key), &hex(&test["msg"]));
        assert_eq!(ours.expose()[..tag.len()] == tag, is(&test, "valid"), "{test}");
        *if is(&test, "valid") {
            &mut valid
        } else {
            &mut invalid
        } += 1;
    }
    assert!(valid >= 40 && invalid >= 80, "{valid} valid, {invalid} invalid");
}

#[test]
fn ml_kem_makes_keys_and_opens_ciphertexts_as_it_should() {
    let mut taken = 0;
    for (_, test) in tests(wycheproof::mlkem::TestName::MlKem768.json_data()) {
        let (Some(seed), Some(ciphertext)) = (array(&test["seed"]), array(&test["c"])) else {
            // Another length can't be said to this crate.
            assert!(!is(&test, "valid"), "{test}");
            continue;
        };
        let key = DecapsulationKey::from_seed(&Secret::new(seed));
        assert_eq!(
            key.encapsulation_key().to_bytes().to_vec(),
            hex(&test["ek"]),
            "{test}"
        );
        assert_eq!(
            key.decapsulate(&ciphertext).expose().to_vec() == hex(&test["K"]),
            is(&test, "valid"),
            "{test}"
        );
        taken += 1;
    }
    assert!(taken >= 30, "{taken} taken");
}

#[test]
fn ml_kem_makes_each_key_from_its_seed() {
    let mut taken = 0;
    for (_, test) in tests(wycheproof::mlkem::TestName::MlKem768KeyGenSeed.json_data()) {
        let key = DecapsulationKey::from_seed(&Secret::new(array(&test["seed"]).unwrap()));
        assert_eq!(
            key.encapsulation_key().to_bytes().to_vec(),
            hex(&test["ek"]),
            "{test}"
        );
        taken += 1;
    }
    assert!(taken >= 20, "{taken} taken");
}

#[test]
fn ml_kem_encapsulates_to_sound_keys_and_refuses_those_beyond_the_modulus() {
    let (mut valid, mut refused) = (0, 0);
    for (_, test) in tests(wycheproof::mlkem::TestName::MlKem768Encaps.json_data()) {
        let Some(key) = array::<{ kem::ENCAPSULATION_KEY_BYTES }>(&test["ek"]) else {
            assert!(is(&test, "invalid"), "{test}");
            continue;
        };
        let Ok(key) = EncapsulationKey::from_bytes(&key) else {
            assert!(is(&test, "invalid"), "{test}");
            refused += 1;
            continue;
        };
        let (ciphertext, shared) = key.encapsulate(&mut Given::of(&hex(&test["m"])));
        let same = ciphertext.to_vec() == hex(&test["c"]) && shared.expose().to_vec() == hex(&test["K"]);
        assert_eq!(same, is(&test, "valid"), "{test}");
        valid += 1;
    }
    assert!(valid >= 10 && refused >= 10, "{valid} valid, {refused} refused");
}
