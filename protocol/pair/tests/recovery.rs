//! Recovery: the words are the key, and the key opens one user's identity under one genesis.
#![cfg(test)]

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use unhidra_chain::Genesis;
use unhidra_crypto::ed25519::SigningKey;
use unhidra_pair::recovery::{PhraseError, RecoveryError, RecoveryKey, WrappedIdentity};
use unhidra_types::{Secret, Timestamp, UserId};

/// From the vectors published with BIP-39 (English, 256 bits).
const VECTORS: [([u8; 32], &str); 3] = [
    (
        [0; 32],
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
         abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art",
    ),
    (
        [0x7f; 32],
        "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal \
         winner thank year wave sausage worth title",
    ),
    (
        [0xff; 32],
        "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote",
    ),
];

#[test]
fn words_are_those_of_bip_39() {
    for (bytes, words) in VECTORS {
        let key = RecoveryKey::from_bytes(Secret::new(bytes));
        assert_eq!(key.to_phrase().as_str(), words);
        assert_eq!(RecoveryKey::parse(words), Ok(key));
    }
}

#[test]
fn typed_words_may_differ_in_case_and_spacing() {
    let key = RecoveryKey::generate(&mut rng(1));
    let typed = format!("\n {} ", key.to_phrase().to_uppercase().replace(' ', " \n\t"));
    assert_eq!(RecoveryKey::parse(&typed), Ok(key));
}

#[test]
fn a_refused_phrase_says_what_to_correct() {
    let words = VECTORS[1].1;
    for (phrase, refusal) in [
        (words.replacen("title", "", 1), PhraseError::WordCount(23)),
        (format!("{words} title"), PhraseError::WordCount(25)),
        (String::new(), PhraseError::WordCount(0)),
        (words.replacen("winner", "winer", 1), PhraseError::UnknownWord(2)),
        (words.replacen("winner", "Wínner", 1), PhraseError::UnknownWord(2)),
        (words.replacen("title", "useful", 1), PhraseError::Checksum),
        (
            words.replacen("legal winner", "winner legal", 1),
            PhraseError::Checksum,
        ),
    ] {
        assert_eq!(RecoveryKey::parse(&phrase), Err(refusal), "{phrase}");
    }
}

#[test]
fn the_wrapped_identity_opens_under_its_key_and_genesis() {
    let (recovery, wrapped) = wrapped();
    let stored = WrappedIdentity::parse(&wrapped.to_bytes()).unwrap();
    let uik = stored.unwrap(&recovery, &genesis(1, 1)).unwrap();
    assert_eq!(uik.to_seed(), signing_key(1).to_seed());
}

#[test]
fn another_key_user_or_genesis_opens_nothing() {
    let (recovery, wrapped) = wrapped();
    let opened = |key: &RecoveryKey, genesis: &Genesis| wrapped.unwrap(key, genesis).err();
    let other = RecoveryKey::generate(&mut rng(7));
    assert_eq!(opened(&other, &genesis(1, 1)), Some(RecoveryError::WrongKey));
    assert_eq!(
        opened(&recovery, &genesis(2, 1)),
        Some(RecoveryError::OtherGenesis)
    );
    assert_eq!(
        opened(&recovery, &genesis(1, 2)),
        Some(RecoveryError::OtherGenesis)
    );
}

#[test]
fn every_flipped_bit_of_the_wrapped_identity_is_refused() {
    let (recovery, wrapped) = wrapped();
    let bytes = wrapped.to_bytes();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes;
            flipped[at] ^= 1 << bit;
            let opened = WrappedIdentity::parse(&flipped)
                .and_then(|wrapped| wrapped.unwrap(&recovery, &genesis(1, 1)));
            let refusal = match at {
                0 => RecoveryError::Unsupported,
                1..33 => RecoveryError::OtherGenesis,
                _ => RecoveryError::WrongKey,
            };
            assert_eq!(opened.err(), Some(refusal), "byte {at}");
        }
    }
    assert_eq!(
        WrappedIdentity::parse(&bytes[..92]),
        Err(RecoveryError::Malformed)
    );
    assert_eq!(
        WrappedIdentity::parse(&[&bytes[..], &[0]].concat()),
        Err(RecoveryError::Malformed)
    );
}

#[test]
fn a_key_that_the_genesis_does_not_name_is_not_wrapped() {
    let recovery = RecoveryKey::generate(&mut rng(1));
    let wrapped = WrappedIdentity::wrap(&recovery, &genesis(1, 1), &signing_key(2), &mut rng(2));
    assert_eq!(wrapped, Err(RecoveryError::OtherIdentity));
}

#[test]
fn debug_output_shows_no_word_and_no_byte() {
    assert_eq!(
        format!("{:?}", RecoveryKey::from_bytes(Secret::new([7; 32]))),
        "RecoveryKey(..)"
    );
}

/// Regenerated as the linking messages are.
#[test]
fn golden_wrapped_identity_is_unchanged() {
    let hex: String = wrapped()
        .1
        .to_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    println!("golden wrapped_identity {hex}");
    assert_eq!(include_str!("../testdata/wrapped_identity.hex").trim(), hex);
}

fn wrapped() -> (RecoveryKey, WrappedIdentity) {
    let recovery = RecoveryKey::generate(&mut rng(1));
    let wrapped = WrappedIdentity::wrap(&recovery, &genesis(1, 1), &signing_key(1), &mut rng(2)).unwrap();
    (recovery, wrapped)
}

fn genesis(user: u8, uik: u8) -> Genesis {
    let created_at = Timestamp::from_millis(1_790_000_000_000);
    Genesis::sign(
        &signing_key(uik),
        UserId::from_bytes([user; 16]),
        created_at,
        None,
    )
}

fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}
