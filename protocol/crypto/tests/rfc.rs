//! Known answers of the RFCs, through this crate's own functions.
#![cfg(test)]

use unhidra_crypto::{
    aead,
    ed25519::{SigningKey, VerifyingKey},
    kdf,
    x25519::{PublicKey, SecretKey},
};
use unhidra_types::Secret;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

fn x25519(scalar: &[u8; 32], u: &[u8; 32]) -> [u8; 32] {
    let peer = PublicKey::from_bytes(u).unwrap();
    *SecretKey::from_bytes(&Secret::new(*scalar))
        .diffie_hellman(&peer)
        .unwrap()
        .expose()
}

#[test]
fn x25519_gives_the_results_of_rfc_7748_section_5_2() {
    assert_eq!(
        x25519(
            &array("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
            &array("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
        ),
        array("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    );
    // The second vector has bit 255 of u set, which RFC 7748 masks and this protocol refuses.
    let masked = "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a413";
    assert_eq!(
        x25519(
            &array("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"),
            &array(masked),
        ),
        array("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957")
    );
    let mut unmasked = array::<32>(masked);
    unmasked[31] |= 0x80;
    assert!(PublicKey::from_bytes(&unmasked).is_err());
}

#[test]
fn a_thousand_iterations_of_x25519_end_where_rfc_7748_says() {
    let mut k = array::<32>("0900000000000000000000000000000000000000000000000000000000000000");
    let mut u = k;
    for round in 0..1_000 {
        // What a step gives is the next point; it may have bit 255 clear only, as all results have.
        let next = x25519(&k, &u);
        u = k;
        // The scalar becomes a point, whose bit 255 the RFC masks.
        u[31] &= 0x7f;
        k = next;
        if round == 0 {
            assert_eq!(
                k,
                array("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")
            );
        }
    }
    assert_eq!(
        k,
        array("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")
    );
}

#[test]
fn one_end_of_rfc_7748_section_6_1_has_its_public_key_and_secret() {
    let bob = SecretKey::from_bytes(&Secret::new(array(
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    )));
    let public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    assert_eq!(bob.public().as_bytes(), &array(public));
    let alice = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    let shared = bob
        .diffie_hellman(&PublicKey::from_bytes(&array(alice)).unwrap())
        .unwrap();
    assert_eq!(
        shared.expose(),
        &array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    );
}

#[test]
fn ed25519_signs_as_in_rfc_8032_section_7_1() {
    let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b
             d25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c
             387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659
             4a7c15e9716ed28dc027beceea1ec40a",
        ),
        (
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd
             454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030
             3dca179c138ac17ad9bef1177331a704",
        ),
    ];
    for (seed, public, message, signature) in vectors {
        let key = SigningKey::from_seed(&Secret::new(array(seed)));
        assert_eq!(key.verifying_key().as_bytes(), &array(public));
        assert_eq!(key.sign(&hex(message)).to_vec(), hex(signature));
        let public = VerifyingKey::from_bytes(&array(public)).unwrap();
        assert_eq!(public.verify(&hex(message), &array(signature)), Ok(()));
    }
}

#[test]
fn hkdf_gives_the_keys_of_rfc_5869_appendix_a() {
    // A salt shorter than 32 bytes is one with zeros behind it, by the definition of HMAC.
    let salt = array("000102030405060708090a0b0c00000000000000000000000000000000000000");
    let (ikm, info) = ([0x0b; 22], hex("f0f1f2f3f4f5f6f7f8f9"));
    assert_eq!(
        kdf::hkdf::<42>(&salt, &[&ikm], &[&info]).expose().to_vec(),
        hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
    );
    assert_eq!(
        kdf::hkdf::<42>(&[0; 32], &[&ikm], &[]).expose().to_vec(),
        hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")
    );
}

#[test]
fn hmac_gives_the_tags_of_rfc_4231() {
    let mut key = [0; 32];
    key[..20].copy_from_slice(&[0x0b; 20]);
    assert_eq!(
        kdf::hmac(&Secret::new(key), b"Hi There").expose(),
        &array("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
    );
    let mut key = [0; 32];
    key[..4].copy_from_slice(b"Jefe");
    assert_eq!(
        kdf::hmac(&Secret::new(key), b"what do ya want for nothing?").expose(),
        &array("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    );
}

#[test]
fn chacha20_poly1305_seals_as_in_rfc_8439_section_2_8_2() {
    let key = aead::Key::new(Secret::new(array(
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
    )));
    let (nonce, aad) = (array("070000004041424344454647"), hex("50515253c0c1c2c3c4c5c6c7"));
    let plaintext =
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
        sunscreen would be it.";
    let sealed = hex(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b
         1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
         3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691",
    );
    assert_eq!(key.seal(&nonce, &aad, plaintext).unwrap(), sealed);
    assert_eq!(key.open(&nonce, &aad, &sealed).unwrap(), plaintext);
}
