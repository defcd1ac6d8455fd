//! Known answers of ML-KEM-768 for given randomness: the first hundred of the file `kat_MLKEM_768.rsp` that the package
//! `cryptography-vectors` 50.0.2 carries. A line is d, z, m and SHA-256 of encapsulation key, ciphertext and secret.
#![cfg(test)]

mod given;

use unhidra_crypto::{hash::sha256, kem::DecapsulationKey};
use unhidra_types::Secret;

use self::given::Given;

fn array<const N: usize>(text: &str) -> [u8; N] {
    let bytes: Vec<u8> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

#[test]
fn ml_kem_makes_the_published_keys_ciphertexts_and_secrets() {
    let lines = include_str!("../testdata/mlkem_768.txt").lines();
    let mut taken = 0;
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        let key = DecapsulationKey::from_seed(&Secret::new(array(&[fields[0], fields[1]].concat())));
        let public = key.encapsulation_key();
        let (ciphertext, shared) = public.encapsulate(&mut Given::of(&array::<32>(fields[2])));
        assert_eq!(
            sha256(&[&public.to_bytes(), &ciphertext, shared.expose()]),
            array(fields[3])
        );
        assert_eq!(key.decapsulate(&ciphertext), shared);
        taken += 1;
    }
    println!("{taken} vectors");
    assert_eq!(taken, 100);
}
