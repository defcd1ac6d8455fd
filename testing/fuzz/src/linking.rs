//! Linking and recovery: codes and wraps that people or the server hand over, and a whole run whose messages are altered.

use unhidra_chain::{
    Capabilities, Chain, DeviceCertificate, DeviceKind, Genesis, Validity, safety_number::VerificationCode,
};
use unhidra_crypto::{ed25519::SigningKey, x25519::SecretKey};
use unhidra_pair::{
    linking::{
        LinkCode, LinkError,
        certifier::Committed,
        new_device::{Applicant, Offered},
    },
    recovery::{RecoveryKey, WrappedIdentity},
};
use unhidra_types::{DeviceId, Timestamp, UserId};

use crate::session::Dice;

const USER: UserId = UserId::from_bytes([1; 16]);
const DEVICE: DeviceId = DeviceId::from_bytes([0x85; 16]);
const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// Codes and wraps.
pub fn codes(data: &[u8]) {
    if let Ok(code) = LinkCode::parse(data) {
        assert_eq!(code.to_bytes().expose().as_slice(), data);
    }
    if let Ok(code) = VerificationCode::parse(data) {
        assert_eq!(code.to_bytes().as_slice(), data);
    }
    if let Ok(wrap) = WrappedIdentity::parse(data) {
        assert_eq!(wrap.to_bytes().as_slice(), data);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(LinkCode::parse_text(text).is_err() || text.len() >= LinkCode::TEXT_LETTERS);
        if let Ok(key) = RecoveryKey::parse(text) {
            let phrase = key.to_phrase();
            let again = RecoveryKey::parse(&phrase).map(|key| key.to_phrase());
            assert_eq!(again.as_ref(), Ok(&phrase));
        }
    }
}

/// A run of linking. Acts of four bytes alter its messages: which one, what is done, where, with what. A device is linked
/// only if nothing was altered.
pub fn ceremony(data: &[u8]) {
    let (acts, _) = data.as_chunks::<4>();
    let is_altered = std::cell::Cell::new(false);
    let relay = |number: u8, mut bytes: Vec<u8>| {
        let honest = bytes.clone();
        for [_, how, place, by] in acts.iter().filter(|[which, ..]| which % 4 == number) {
            let place = usize::from(*place).checked_rem(bytes.len()).unwrap_or(0);
            match how % 4 {
                0 => bytes.truncate(place),
                1 => bytes.push(*by),
                2 => bytes = vec![*by; bytes.len()],
                _ => {
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte ^= by;
                    }
                }
            }
        }
        if bytes != honest {
            is_altered.set(true);
        }
        bytes
    };
    let linked = run(&relay).is_ok();
    assert_eq!(
        linked,
        !is_altered.get(),
        "linked, though altered, or not, though not"
    );
}

fn run(relay: &dyn Fn(u8, Vec<u8>) -> Vec<u8>) -> Result<(), LinkError> {
    let mut dice = Dice::of(5);
    let uik = SigningKey::generate(&mut dice);
    let applicant = Applicant {
        user: USER,
        device: DEVICE,
        kind: DeviceKind::Human,
        capabilities: Capabilities::PQ,
        dsk: SigningKey::generate(&mut dice),
        dik: *SecretKey::generate(&mut dice).public(),
    };
    let (offered, code) = Offered::new(applicant, &mut dice);
    let (committed, commitment) = Committed::new(&code, USER, &mut dice)?;
    let (requested, request) = offered.commitment(&relay(0, commitment.to_vec()), &mut dice)?;
    let (certifier, reveal) = committed.request(&relay(1, request))?;
    let new_device = requested.reveal(&relay(2, reveal.to_vec()))?;
    assert_eq!(
        certifier.sas(),
        new_device.sas(),
        "other digits, though every message was taken"
    );
    let genesis = Genesis::sign(&uik, USER, NOW, None);
    let mut chain = Chain::begin(genesis.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let approved = certifier.confirm();
    let subject = approved.subject().clone();
    let certificate = DeviceCertificate::sign(&uik, USER, &chain.head(), subject, Validity::starting(NOW));
    chain
        .append(certificate.as_bytes())
        .unwrap_or_else(|error| panic!("{error}"));
    let approval = approved.approval(&chain)?;
    new_device.confirm().approval(&relay(3, approval))?.check(&chain)
}
