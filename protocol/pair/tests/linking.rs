//! Linking: what an honest pair of devices reaches, and what everybody else does not.
#![cfg(test)]

#[cfg(not(target_family = "wasm"))]
use std::fs;

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use unhidra_chain::{
    Capabilities, Chain, DeviceCertificate, DeviceKind, Genesis, Liveness, Revocation, Validity, auth::Claim,
    record::Subject,
};
use unhidra_crypto::{ed25519::SigningKey, x25519};
use unhidra_pair::linking::{
    APPROVAL_BYTES, LinkCode, LinkError, REQUEST_BYTES,
    certifier::{self, Committed},
    new_device::{self, Applicant, Linked, Offered},
};
use unhidra_types::{DeviceId, Secret, Timestamp, UserId};
#[cfg(target_family = "wasm")]
use unhidra_wasm::fs;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const USER: UserId = UserId::from_bytes([1; 16]);
const DEVICE: DeviceId = DeviceId::from_bytes([0x85; 16]);

/// What may happen to the messages on their way, in their order: commitment, request, reveal, approval.
type Relay<'a> = &'a dyn Fn(usize, &mut Vec<u8>);

#[test]
fn an_honest_run_ends_in_a_certified_device_that_knows_its_genesis() {
    let (linked, chain) = run(&|_, _| {}).unwrap();
    assert_eq!(linked.check(&chain), Ok(()));
    assert_eq!(linked.genesis(), chain.genesis());
    assert_eq!(linked.version(), chain.head().version);
    assert_eq!(chain.is_live(DEVICE, NOW), Liveness::Live);
    let granted = chain.device(DEVICE).unwrap().certificate().subject().capabilities;
    assert_eq!(granted, Capabilities::PQ, "asked for pq and certify");
}

#[test]
fn the_server_can_verify_the_proof_that_goes_with_the_certificate() {
    let (certifier, _) = compare(&|_, _| {}).unwrap();
    let approved = certifier.confirm();
    let subject = approved.subject();
    let claim = Claim {
        user: USER,
        device: subject.device,
        dsk: subject.dsk,
        dik: subject.dik,
    };
    assert_eq!(claim.verify(approved.proof()), Ok(()));
}

/// Bytes of each message.
const LENGTHS: [usize; 4] = [64, REQUEST_BYTES, 32, APPROVAL_BYTES];

#[test]
fn messages_are_as_long_as_said() {
    assert!(run(&|message, bytes| assert_eq!(bytes.len(), LENGTHS[message])).is_ok());
}

#[test]
fn any_altered_byte_of_any_message_ends_linking() {
    for (message, length) in LENGTHS.into_iter().enumerate() {
        for at in 0..length {
            let outcome = run(&|n, bytes| {
                if n == message {
                    bytes[at] ^= 1 << (at % 8);
                }
            });
            assert!(outcome.is_err(), "message {message}, byte {at}");
        }
    }
}

#[test]
fn shortened_and_lengthened_messages_end_linking() {
    for message in 0..4 {
        let longer = run(&|n, bytes| {
            if n == message {
                bytes.push(0);
            }
        });
        let shorter = run(&|n, bytes| {
            if n == message {
                bytes.pop();
            }
        });
        let empty = run(&|n, bytes| {
            if n == message {
                bytes.clear();
            }
        });
        assert!(
            longer.is_err() && shorter.is_err() && empty.is_err(),
            "message {message}"
        );
    }
}

#[test]
fn a_server_that_puts_its_own_key_into_the_commitment_makes_the_request_unopenable() {
    let own = x25519::SecretKey::generate(&mut rng(9));
    let outcome = run(&|n, bytes| {
        if n == 0 {
            bytes[..32].copy_from_slice(own.public().as_bytes());
        }
    });
    assert_eq!(outcome.err(), Some(LinkError::Forged));
}

#[test]
fn a_reveal_that_was_not_committed_to_is_refused() {
    let outcome = run(&|n, bytes| {
        if n == 2 {
            bytes.copy_from_slice(&[3; 32]);
        }
    });
    assert_eq!(outcome.err(), Some(LinkError::BrokenCommitment));
}

#[test]
fn another_secret_does_not_open_the_request() {
    let (offered, code) = Offered::new(applicant(), &mut rng(1));
    let mut guessed = *code.to_bytes().expose();
    guessed[80] ^= 1;
    let guessed = LinkCode::parse(&guessed).unwrap();
    let (committed, commitment) = Committed::new(&guessed, USER, &mut rng(2)).unwrap();
    let (_, request) = offered.commitment(&commitment, &mut rng(3)).unwrap();
    assert_eq!(committed.request(&request).err(), Some(LinkError::Forged));
}

#[test]
fn a_certifier_of_another_user_does_not_open_the_request() {
    let (offered, code) = Offered::new(applicant(), &mut rng(1));
    let (committed, commitment) = Committed::new(&code, UserId::from_bytes([2; 16]), &mut rng(2)).unwrap();
    let (_, request) = offered.commitment(&commitment, &mut rng(3)).unwrap();
    assert_eq!(committed.request(&request).err(), Some(LinkError::Forged));
}

/// The code was photographed: the thief, who also is the server, plays C towards N and N towards C.
#[test]
fn who_stands_between_with_a_stolen_code_shows_the_user_different_digits() {
    for seed in 0..8 {
        let (offered, code) = Offered::new(applicant(), &mut rng(seed));
        let stolen = LinkCode::parse(code.to_bytes().expose()).unwrap();
        let (committed, commitment) = Committed::new(&code, USER, &mut rng(100 + seed)).unwrap();

        let (thief_c, thief_commitment) = Committed::new(&stolen, USER, &mut rng(200 + seed)).unwrap();
        let (requested, request) = offered
            .commitment(&thief_commitment, &mut rng(300 + seed))
            .unwrap();
        let (_, thief_reveal) = thief_c.request(&request).unwrap();
        let victim_n = requested.reveal(&thief_reveal).unwrap();

        // Towards C the thief answers with keys of its own; E_N is the victim's, so it cannot even open the channel.
        let (thief_n, _) = Offered::new(applicant(), &mut rng(400 + seed));
        let (_, thief_request) = thief_n.commitment(&commitment, &mut rng(500 + seed)).unwrap();
        assert_eq!(committed.request(&thief_request).err(), Some(LinkError::Forged));

        // Unless it also showed C a code of its own making.
        let (own_offer, own_code) = Offered::new(applicant(), &mut rng(600 + seed));
        let (committed, commitment) = Committed::new(&own_code, USER, &mut rng(700 + seed)).unwrap();
        let (_, own_request) = own_offer.commitment(&commitment, &mut rng(800 + seed)).unwrap();
        let (victim_c, _) = committed.request(&own_request).unwrap();
        assert_ne!(victim_n.sas(), victim_c.sas());
    }
}

#[test]
fn an_approval_needs_the_certificate_in_the_users_own_chain() {
    let approved = || compare(&|_, _| {}).unwrap().0.confirm();
    assert_eq!(
        approved().approval(&genesis_only(USER, 1)),
        Err(LinkError::NotCertified)
    );
    let mut foreign = genesis_only(UserId::from_bytes([2; 16]), 1);
    certify(&mut foreign, 1, approved().subject().clone());
    assert_eq!(approved().approval(&foreign), Err(LinkError::NotCertified));
}

#[test]
fn a_chain_without_this_device_or_with_other_keys_is_not_believed() {
    let (linked, chain) = run(&|_, _| {}).unwrap();
    assert_eq!(linked.check(&genesis_only(USER, 1)), Err(LinkError::NotCertified));
    let subject = chain.device(DEVICE).unwrap().certificate().subject();
    for swapped in [
        Subject {
            dsk: signing_key(0x77).verifying_key(),
            ..subject.clone()
        },
        Subject {
            dik: dh_key(0x77),
            ..subject.clone()
        },
    ] {
        let mut other = genesis_only(USER, 1);
        certify(&mut other, 1, swapped);
        assert_eq!(linked.check(&other), Err(LinkError::NotCertified));
    }
}

#[test]
fn a_chain_under_another_genesis_is_not_believed() {
    let (linked, chain) = run(&|_, _| {}).unwrap();
    let mut other = genesis_only(USER, 3);
    certify(
        &mut other,
        3,
        chain.device(DEVICE).unwrap().certificate().subject().clone(),
    );
    assert_eq!(linked.check(&other), Err(LinkError::NotCertified));
}

#[test]
fn a_chain_older_than_the_approval_is_not_believed() {
    let (certifier, new_device) = compare(&|_, _| {}).unwrap();
    let approved = certifier.confirm();
    let mut chain = genesis_only(USER, 1);
    certify(&mut chain, 1, approved.subject().clone());
    let older = chain.clone();
    certify(&mut chain, 1, approved.subject().clone());
    let linked = new_device
        .confirm()
        .approval(&approved.approval(&chain).unwrap())
        .unwrap();
    assert_eq!(linked.check(&older), Err(LinkError::NotCertified));
    assert_eq!(linked.check(&chain), Ok(()));
}

#[test]
fn a_device_that_was_revoked_meanwhile_is_not_linked() {
    let (linked, mut chain) = run(&|_, _| {}).unwrap();
    let revocation = Revocation::sign(&signing_key(1), USER, &chain.head(), DEVICE, NOW);
    chain.append(revocation.as_bytes()).unwrap();
    assert_eq!(linked.check(&chain), Err(LinkError::NotCertified));
}

#[test]
fn the_text_of_a_code_survives_wrapping_and_nothing_else() {
    let (_, code) = Offered::new(applicant(), &mut rng(1));
    let text = code.to_text();
    assert_eq!(text.len(), LinkCode::TEXT_LETTERS);
    let wrapped = format!("  {}\r\n\t{}\n", &text[..50], &text[50..]);
    for pasted in [text.as_str(), &wrapped] {
        assert_eq!(LinkCode::parse_text(pasted).unwrap().to_bytes(), code.to_bytes());
    }
    for refused in [
        "",
        &text[1..],
        &format!("{}A", *text),
        &text.replacen('A', "=", 1),
        &text.replacen('A', "+", 1),
    ] {
        assert_eq!(
            LinkCode::parse_text(refused).err(),
            Some(LinkError::Malformed),
            "{refused}"
        );
    }
    let mut newer = *code.to_bytes().expose();
    newer[0] = 2;
    assert_eq!(LinkCode::parse(&newer).err(), Some(LinkError::Unsupported));
    assert_eq!(LinkCode::parse(&newer[..80]).err(), Some(LinkError::Unsupported));
    assert_eq!(
        LinkCode::parse(&code.to_bytes().expose()[..80]).err(),
        Some(LinkError::Malformed)
    );
}

/// Invariant 38: a code is a secret.
#[test]
fn debug_output_of_a_code_shows_the_device_and_no_secret() {
    let (_, code) = Offered::new(applicant(), &mut rng(1));
    assert_eq!(format!("{code:?}"), format!("LinkCode({DEVICE}, ..)"));
}

#[test]
fn a_code_whose_key_contributes_nothing_is_refused() {
    let (_, code) = Offered::new(applicant(), &mut rng(1));
    let mut bytes = *code.to_bytes().expose();
    bytes[17..49].fill(0);
    let code = LinkCode::parse(&bytes).unwrap();
    assert_eq!(
        Committed::new(&code, USER, &mut rng(2)).err(),
        Some(LinkError::Malformed)
    );
}

/// The messages of the run with fixed seeds. After a decided change of format:
///
/// ```sh
/// cargo test -p unhidra-pair golden | awk '$1 == "golden" { print $3 > "protocol/pair/testdata/" $2 ".hex" }'
/// ```
#[test]
fn golden_linking_messages_are_unchanged() {
    let seen = std::cell::RefCell::new(Vec::new());
    let (_, code) = Offered::new(applicant(), &mut rng(1));
    run(&|_, bytes| seen.borrow_mut().push(bytes.clone())).unwrap();
    let names = [
        "link_commitment",
        "link_request",
        "link_reveal",
        "link_approval",
        "link_code",
    ];
    seen.borrow_mut().push(code.to_bytes().expose().to_vec());
    let mut changed = 0;
    for (name, bytes) in names.iter().zip(seen.borrow().iter()) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/{name}.hex"));
        if fs::read_to_string(path).unwrap_or_default().trim() != hex {
            println!("golden {name} {hex}");
            changed += 1;
        }
    }
    assert_eq!(changed, 0, "formats changed");
    let (certifier, _) = compare(&|_, _| {}).unwrap();
    assert_eq!(certifier.sas().to_string(), "781373");
}

/// Both sides up to the digits, which the caller compares.
fn compare(relay: Relay<'_>) -> Result<(certifier::Comparing, new_device::Comparing), LinkError> {
    let (offered, code) = Offered::new(applicant(), &mut rng(1));
    let (committed, commitment) = Committed::new(&code, USER, &mut rng(2))?;
    let (requested, request) = offered.commitment(&relayed(relay, 0, &commitment), &mut rng(3))?;
    let (certifier, reveal) = committed.request(&relayed(relay, 1, &request))?;
    let new_device = requested.reveal(&relayed(relay, 2, &reveal))?;
    Ok((certifier, new_device))
}

fn run(relay: Relay<'_>) -> Result<(Linked, Chain), LinkError> {
    let (certifier, new_device) = compare(relay)?;
    assert_eq!(certifier.sas(), new_device.sas());
    assert_eq!(certifier.kind(), DeviceKind::Human);
    let approved = certifier.confirm();
    let mut chain = genesis_only(USER, 1);
    certify(&mut chain, 1, approved.subject().clone());
    let approval = approved.approval(&chain)?;
    let linked = new_device.confirm().approval(&relayed(relay, 3, &approval))?;
    Ok((linked, chain))
}

fn relayed(relay: Relay<'_>, message: usize, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    relay(message, &mut bytes);
    bytes
}

fn certify(chain: &mut Chain, uik: u8, subject: Subject) {
    let validity = Validity::starting(NOW);
    let certificate =
        DeviceCertificate::sign(&signing_key(uik), chain.user(), &chain.head(), subject, validity);
    chain.append(certificate.as_bytes()).unwrap();
}

fn genesis_only(user: UserId, uik: u8) -> Chain {
    Chain::begin(Genesis::sign(&signing_key(uik), user, NOW, None).as_bytes()).unwrap()
}

fn applicant() -> Applicant {
    Applicant {
        user: USER,
        device: DEVICE,
        kind: DeviceKind::Human,
        capabilities: Capabilities::PQ.with(Capabilities::CERTIFY),
        dsk: signing_key(0x45),
        dik: dh_key(0x25),
    }
}

fn dh_key(seed: u8) -> x25519::PublicKey {
    *x25519::SecretKey::from_bytes(&Secret::new([seed; 32])).public()
}

fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

fn rng(seed: u64) -> ChaCha20Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_be_bytes());
    ChaCha20Rng::from_seed(key)
}
