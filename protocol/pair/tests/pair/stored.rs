//! Stored and sent formats: golden files, strict reading, and states that survive being stored.

#[cfg(not(target_family = "wasm"))]
use std::fs;
use std::{collections::HashSet, fmt::Write as _, path::PathBuf};

use unhidra_chain::Capabilities;
use unhidra_pair::{Content, Publisher, SessionSet, StoredError, prekeys::Prekey};
#[cfg(target_family = "wasm")]
use unhidra_wasm::fs;

use crate::network::{CURRENT, DAY, Mail, Two, rng, secrets_of_active};

/// Compares `bytes` with the golden file, or writes it when `UNHIDRA_BLESS` is set.
fn golden(name: &str, bytes: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    let mut hex = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(hex, "{byte:02x}").unwrap();
        }
        hex.push('\n');
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a test tool's switch, not configuration"
    )]
    let bless = std::env::var("UNHIDRA_BLESS").is_ok();
    if bless {
        fs::write(&path, &hex).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(
        hex == expected,
        "{name} differs from what was stored or sent before"
    );
}

fn read_golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    let hex: String = fs::read_to_string(path).unwrap().split_whitespace().collect();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// A history in which every part of the stored form occurs: skipped keys of two chains, an archive, a pending prefix.
struct History {
    two: Two,
    first: Mail,
    late: Mail,
    control: Vec<u8>,
}

/// Devices without `pq_ratchet`: what they send is what was sent before there was one.
fn history() -> History {
    let mut two = Two::with(Capabilities::PQ, 0);
    two.rng = rng(20);
    history_of(two)
}

/// The same between devices without `pq`, whose sessions have suite `0x0001`.
fn classical_history() -> History {
    history_of(Two::with(Capabilities::NONE, 21))
}

fn history_of(mut two: Two) -> History {
    let first = two.send(0, b"first");
    two.deliver(&first).unwrap();
    two.exchange(1, b"answer");
    let late = two.send(0, b"late");
    two.exchange(0, b"early");
    two.exchange(1, b"end the chain");
    two.send(0, b"lost");
    two.exchange(0, b"in the next chain");
    two.initiate(0);
    let peer = two.devices[1].address();
    let outgoing = two.devices[0].outgoing(late.envelope.msg_id, two.now);
    let sealed = two.devices[0]
        .sessions(peer)
        .seal_control(&outgoing, b"control", two.now, &mut two.rng)
        .unwrap();
    History {
        two,
        first,
        late,
        control: sealed.bytes,
    }
}

/// Invariant 15: a release that changes one of these bytes must know how to read the old ones.
#[test]
fn stored_and_sent_bytes_are_those_of_the_golden_files() {
    let history = history();
    golden("session_set_initiator.hex", &history.two.stored(0));
    golden("session_set_responder.hex", &history.two.stored(1));
    golden("prekey_message.hex", &history.first.bytes);
    golden("ratchet_message.hex", &history.late.bytes);
    golden("control_prekey_message.hex", &history.control);
    golden("body_object.hex", &history.late.object);
    let classical = classical_history();
    golden("session_set_initiator_classical.hex", &classical.two.stored(0));
    golden("session_set_responder_classical.hex", &classical.two.stored(1));
    golden("prekey_message_classical.hex", &classical.first.bytes);
    golden("ratchet_message_classical.hex", &classical.late.bytes);
    golden("control_prekey_message_classical.hex", &classical.control);
    golden("body_object_classical.hex", &classical.late.object);
    for kind in 1..=4 {
        let rows = history.two.devices[1].prekeys.keys().map(Prekey::to_bytes);
        let row = rows.into_iter().find(|row| row[1] == kind).unwrap();
        golden(&format!("prekey_{kind}.hex"), &row);
    }
}

/// Invariant 15.
#[test]
fn the_golden_state_still_opens_the_golden_message() {
    for (history, suite) in [
        (history as fn() -> History, ""),
        (classical_history, "_classical"),
    ] {
        let read = |name: &str| read_golden(&format!("{name}{suite}.hex"));
        let mut two = history().two;
        two.devices[1].known.clear();
        let stored = SessionSet::from_bytes(&read("session_set_responder")).unwrap();
        two.devices[1].store(&stored);
        let mail = Mail {
            bytes: read("ratchet_message"),
            object: read("body_object"),
            ..history().late
        };
        assert_eq!(two.deliver(&mail).unwrap().unwrap().text, b"late");
    }
}

/// Invariant 15: the form of before sessions could wait on standby.
#[test]
fn a_set_of_the_first_version_still_opens_the_golden_message() {
    let stored = SessionSet::from_bytes(&read_golden("session_set_v1.hex")).unwrap();
    assert_eq!(stored.to_bytes()[0], 2);
    let mut two = history().two;
    two.devices[1].known.clear();
    two.devices[1].store(&stored);
    let mail = Mail {
        bytes: read_golden("ratchet_message.hex"),
        object: read_golden("body_object.hex"),
        ..history().late
    };
    assert_eq!(two.deliver(&mail).unwrap().unwrap().text, b"late");
}

/// Invariant 15: sessions of before there were epochs open what was sent then, and go on to epochs.
#[test]
fn sessions_stored_before_there_were_epochs_go_on_to_epochs() {
    let mut two = history().two;
    two.devices[1].known.clear();
    for (at, name) in [
        (0, "session_set_initiator_before_epochs.hex"),
        (1, "session_set_responder_before_epochs.hex"),
    ] {
        let stored = SessionSet::from_bytes(&read_golden(name)).unwrap();
        two.devices[at].store(&stored);
    }
    let mail = Mail {
        bytes: read_golden("ratchet_message.hex"),
        object: read_golden("body_object.hex"),
        ..history().late
    };
    assert_eq!(two.deliver(&mail).unwrap().unwrap().text, b"late");
    // Until both certificates say so, nothing rides along.
    let mail = two.send(1, b"as before");
    assert!(!Two::has_part(&mail));
    two.deliver(&mail).unwrap();
    for device in &mut two.devices {
        device.capabilities = CURRENT;
    }
    let mut parts = 0;
    for from in [0, 1, 0, 1, 0, 1] {
        let mail = two.send(from, b"upgraded");
        parts += usize::from(Two::has_part(&mail));
        two.deliver(&mail).unwrap();
    }
    assert!(parts >= 2, "{parts}: a key and a ciphertext");
}

/// Invariant 15: every state between two epochs, and the messages that lead through them.
#[test]
fn epochs_in_every_state_are_those_of_the_golden_files() {
    let mut two = Two::acquainted(24);
    two.now = two.now.saturating_add(DAY);
    let mut mails = Vec::new();
    for (from, sent, opened) in [
        (0, Some("key_sent"), Some("key_held")),
        (1, Some("ciphertext_sent"), Some("secret_held")),
        (0, Some("epoch_1_mixed"), Some("epoch_1_ready")),
    ] {
        let mail = two.send(from, b"text");
        for (at, name) in [(from, sent), (1 - from, opened)] {
            if at != from {
                two.deliver(&mail).unwrap();
            }
            if let Some(name) = name {
                let stored = two.stored(at);
                golden(&format!("session_set_{name}.hex"), &stored);
                let set = SessionSet::from_bytes(&stored).unwrap();
                assert_eq!(set.to_bytes(), stored);
                for length in 0..stored.len() {
                    assert!(
                        SessionSet::from_bytes(&stored[..length]).is_err(),
                        "{name}: {length} bytes"
                    );
                }
                assert!(stored.len() <= 2_048, "{name}: {} B", stored.len());
            }
        }
        mails.push(mail);
    }
    golden("key_message.hex", &mails[0].bytes);
    golden("ciphertext_message.hex", &mails[1].bytes);
    assert_eq!(
        mails.iter().map(|mail| mail.bytes.len()).collect::<Vec<_>>(),
        [1_382, 1_382, 170]
    );
}

/// Invariant 15.
#[test]
fn truncated_extended_and_foreign_states_are_refused() {
    let history = history();
    for at in [0, 1] {
        let bytes = history.two.stored(at);
        assert_eq!(SessionSet::from_bytes(&bytes).unwrap().to_bytes(), bytes);
        for length in 0..bytes.len() {
            assert!(
                SessionSet::from_bytes(&bytes[..length]).is_err(),
                "{length} bytes"
            );
        }
        let extended = [bytes.as_slice(), &[0]].concat();
        assert_eq!(
            SessionSet::from_bytes(&extended).map(|_| ()),
            Err(StoredError::Malformed)
        );
        // The set's own version, and that of its first session.
        for version in [0, 34] {
            let mut other = bytes.clone();
            other[version] = 3;
            assert_eq!(
                SessionSet::from_bytes(&other).map(|_| ()),
                Err(StoredError::UnknownVersion)
            );
        }
    }
}

/// Invariant 15.
#[test]
fn a_stored_prefix_of_another_length_than_its_suite_has_is_refused() {
    let mut bytes = history().two.stored(0);
    // In the first session: version, suite, role, T, EK, then the length of the prefix.
    assert_eq!(bytes[102..104], [0x04, 0xae]);
    bytes[102..104].copy_from_slice(&[0, 110]);
    bytes.drain(214..1_302);
    assert_eq!(
        SessionSet::from_bytes(&bytes).map(|_| ()),
        Err(StoredError::Malformed)
    );
}

/// Invariant 15: what is sealed after a restart is what would have been sealed without.
#[test]
fn storing_changes_no_later_output() {
    let mut two = history().two;
    let peer = two.devices[1].address();
    let mut kept = two.devices[0].sessions(peer);
    for n in 0..5 {
        let restored = SessionSet::from_bytes(&kept.to_bytes()).unwrap();
        let outgoing = two.devices[0].outgoing(unhidra_types::MsgId::from_bytes([n; 16]), two.now);
        let mut same = two.rng.clone();
        let one = kept.seal_control(&outgoing, &[n], two.now, &mut two.rng).unwrap();
        let other = restored
            .seal_control(&outgoing, &[n], two.now, &mut same)
            .unwrap();
        assert_eq!(one.bytes, other.bytes);
        assert_eq!(one.sessions.to_bytes(), other.sessions.to_bytes());
        kept = one.sessions;
    }
}

/// A state without skipped keys fits the memory of a small device.
#[test]
fn one_session_is_stored_in_two_kilobytes() {
    let mut two = Two::new(22);
    two.initiate(0);
    assert!(
        two.stored(0).len() <= 2_048,
        "{} B with the prefix pending",
        two.stored(0).len()
    );
    let two = Two::acquainted(22);
    assert!(two.stored(0).len() <= 512, "{} B", two.stored(0).len());
}

/// Invariant 38: whatever finds its way into a log or a panic.
#[test]
fn debug_output_shows_no_secret() {
    let mut two = Two::acquainted(23);
    let late = two.send(0, b"late");
    two.exchange(0, b"early");
    let sessions = two.devices[1].sessions(two.devices[0].address());
    let opened = two.open(&late).unwrap();
    let Content::Capsule(capsule) = &opened.content else {
        panic!("a text travels in a body");
    };
    let device = &mut two.devices[1];
    let publisher = Publisher {
        dsk: &device.dsk.clone(),
        ..device.publisher()
    };
    let new = device.prekeys.replace(&publisher, two.now, &mut two.rng);
    let shown = [
        format!("{sessions:?}"),
        format!("{opened:?}"),
        format!("{:?}", device.prekeys),
        format!("{:?} {:?}", new.store, new.added),
    ]
    .concat();
    assert!(
        shown.contains("Session {") && shown.contains("Secret<32>(..)"),
        "{shown}"
    );
    let mut secrets = secrets_of_active(&sessions.to_bytes());
    secrets.extend_from_slice(capsule.key.expose());
    for row in new.store.keys().map(Prekey::to_bytes) {
        secrets.extend_from_slice(&row[22..]);
    }
    let shown = shown.to_lowercase();
    let in_hex: HashSet<&[u8]> = shown.as_bytes().windows(8).collect();
    // Whatever stands between the numbers of an array.
    let numbers: Vec<u8> = shown
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let in_decimal: HashSet<&[u8]> = numbers.windows(4).collect();
    for part in secrets.chunks_exact(4) {
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(
            !in_hex.contains(hex.as_bytes()) && !in_decimal.contains(part),
            "{hex}"
        );
    }
}
