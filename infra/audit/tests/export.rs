//! Every byte of an export counts.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "the test signs as the server does"
)]

use std::{collections::BTreeMap, convert::Infallible, io};

use unhidra_audit::{
    Act, Actor, Details, Header, Record, Report, Subject,
    check::{Fault, Place},
    export::{ExportError, ProofFault, VERSION, verify, verify_proof},
};
use unhidra_crypto::ed25519::SigningKey;
use unhidra_tree::{Hash, Head, Node, SignedHead, complete, inclusion, root};
use unhidra_types::{Secret, Timestamp, UserId};
use unhidra_wire::{
    audit::{AuditKey, AuditRecord, ExportBegin, ExportLine, InclusionProof, TreeHead},
    base64::{Base64, Base64Array},
};

const LOG: [u8; 32] = [4; 32];

struct Log {
    key: SigningKey,
    records: Vec<AuditRecord>,
    nodes: BTreeMap<Node, Hash>,
}

impl Log {
    fn of(count: u64) -> Self {
        let mut log = Self {
            key: SigningKey::from_seed(&Secret::new([9; 32])),
            records: Vec::new(),
            nodes: BTreeMap::new(),
        };
        for number in 1..=count {
            log.append(number);
        }
        log
    }

    fn append(&mut self, number: u64) {
        let record = Record {
            at: Timestamp::from_millis(1_000 + number),
            org: None,
            actor: Actor::User(UserId::from_bytes([0xab; 16])),
            act: Act::LoginAccepted,
            subject: Subject::User(UserId::from_bytes([0xcd; 16])),
            request: [0xef; 16],
            details: Details {
                username: Some(format!("user-{number}")),
                ..Details::default()
            },
        };
        let sealed = record.seal([7; 16]);
        let known = |node: Node| Ok::<_, Infallible>(*self.nodes.get(&node).unwrap());
        let hashes = complete(number, sealed.leaf().0, known).unwrap();
        for (level, hash) in (0..).zip(&hashes) {
            self.nodes.insert(Node { level, end: number }, *hash);
        }
        self.records.push(AuditRecord {
            number,
            says: Header::read(&sealed.header).map(|header| header.saying()),
            header: Base64(sealed.header.to_vec()),
            commitment: Base64(sealed.commitment.to_vec()),
            salt: Some(Base64(sealed.salt.to_vec())),
            payload: Some(String::from_utf8(sealed.payload).unwrap()),
            tree: Base64(hashes.as_flattened().to_vec()),
        });
    }

    fn node(&self, node: Node) -> Result<Hash, Infallible> {
        Ok(*self.nodes.get(&node).unwrap())
    }

    fn head(&self, size: u64) -> TreeHead {
        let head = Head {
            log: LOG,
            size,
            at: Timestamp::from_millis(2_000 + size),
            root: root(size, |node| self.node(node)).unwrap(),
        };
        let signature = self.key.sign(&head.signed_bytes());
        SignedHead { head, signature }.into()
    }

    fn public(&self) -> [u8; 32] {
        *self.key.verifying_key().as_bytes()
    }

    fn lines(&self) -> Vec<String> {
        let count = u64::try_from(self.records.len()).unwrap();
        let key = AuditKey {
            key: Base64Array(self.public()),
            log_id: Base64Array(LOG),
        };
        let begin = ExportBegin {
            version: VERSION,
            key,
            records: count,
        };
        let heads = [3, count].map(|size| ExportLine::Head(self.head(size)));
        let records = self.records.iter().cloned().map(ExportLine::Record);
        [ExportLine::Begin(begin)]
            .into_iter()
            .chain(heads)
            .chain(records)
            .map(|line| serde_json::to_string(&line).unwrap())
            .collect()
    }

    fn check(&self, text: &[u8]) -> Result<Report, ExportError> {
        let lines = io::BufRead::lines(text);
        verify(lines, self.public(), None, |_, _| {})
    }
}

#[test]
fn no_byte_of_an_export_can_be_another() {
    let log = Log::of(9);
    let text = log.lines().join("\n").into_bytes();
    let intact = log.check(&text).unwrap();
    assert_eq!((intact.faults, intact.records, intact.heads), (0, 9, 2));
    for place in 0..text.len() {
        let mut changed = text.clone();
        let byte = changed.get_mut(place).unwrap();
        *byte ^= if place % 2 == 0 { 1 } else { 2 };
        if let Ok(report) = log.check(&changed) {
            let shown = String::from_utf8_lossy(&changed).into_owned();
            assert!(
                report.faults > 0,
                "byte {place}: {}",
                shown
                    .get(place.saturating_sub(40)..place + 40)
                    .unwrap_or_default()
            );
        }
    }
}

#[test]
fn no_line_of_an_export_can_go_come_or_move() {
    let log = Log::of(9);
    let lines = log.lines();
    let faulty = |lines: &[String]| {
        log.check(lines.join("\n").as_bytes())
            .map_or(true, |report| report.faults > 0)
    };
    assert!(!faulty(&lines));
    for place in 0..lines.len() {
        let mut without = lines.clone();
        let gone = without.remove(place);
        // An earlier head more or less changes nothing that the last one does not cover.
        assert_eq!(faulty(&without), place != 1, "without line {place}");
        let mut doubled = lines.clone();
        doubled.insert(place, gone);
        assert_eq!(faulty(&doubled), !(1..=2).contains(&place), "line {place} twice");
        for other in 3..place {
            let mut swapped = lines.clone();
            swapped.swap(place, other);
            assert!(faulty(&swapped), "lines {place} and {other}");
        }
    }
}

#[test]
fn records_that_were_rewritten_with_all_their_hashes_contradict_the_next_head() {
    let honest = Log::of(9);
    // A whole other history under the honest heads.
    let mut other = Log::of(9);
    let record = other.records.get_mut(6).unwrap();
    record.payload = Some(r#"{"username":"forged"}"#.to_owned());
    let salt = record.salt.clone().unwrap();
    record.commitment =
        Base64(unhidra_crypto::hash::sha256(&[&salt.0, br#"{"username":"forged"}"#]).to_vec());
    let leaves: Vec<(u64, Hash)> = other
        .records
        .iter()
        .map(|record| {
            let leaf = unhidra_crypto::hash::sha256(&[&[0], &record.header.0, &record.commitment.0]);
            (record.number, leaf)
        })
        .collect();
    let mut nodes: BTreeMap<Node, Hash> = BTreeMap::new();
    for ((number, leaf), record) in leaves.into_iter().zip(&mut other.records) {
        let hashes = complete(number, leaf, |node| {
            Ok::<_, Infallible>(*nodes.get(&node).unwrap())
        })
        .unwrap();
        record.tree = Base64(hashes.as_flattened().to_vec());
        for (level, hash) in (0..).zip(hashes) {
            nodes.insert(Node { level, end: number }, hash);
        }
    }
    let mut lines = honest.lines();
    lines.truncate(3);
    let records = other.records.iter().cloned().map(ExportLine::Record);
    lines.extend(records.map(|line| serde_json::to_string(&line).unwrap()));
    let report = honest.check(lines.join("\n").as_bytes()).unwrap();
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|found| (found.place, found.fault))
        .collect();
    assert_eq!(found, [(Place::Head(2), Fault::OtherRoot { after: 3, size: 9 })]);
}

#[test]
fn a_proof_holds_for_its_record_and_key_alone() {
    let log = Log::of(9);
    let proof = |number: u64| InclusionProof {
        head: log.head(9),
        record: log
            .records
            .iter()
            .find(|record| record.number == number)
            .unwrap()
            .clone(),
        path: inclusion(number, 9, |node| log.node(node))
            .unwrap()
            .into_iter()
            .map(Base64Array)
            .collect(),
    };
    for number in 1..=9 {
        assert_eq!(verify_proof(&proof(number), &log.public()), Ok(()));
    }
    assert!(matches!(
        verify_proof(&proof(4), &[7; 32]),
        Err(ProofFault::Head(_))
    ));
    let mut changed = proof(4);
    changed.record.payload = Some("{}".to_owned());
    assert_eq!(verify_proof(&changed, &log.public()), Err(ProofFault::Payload));
    changed.record.salt = None;
    assert_eq!(verify_proof(&changed, &log.public()), Err(ProofFault::Payload));
    changed.record.payload = None;
    assert_eq!(verify_proof(&changed, &log.public()), Ok(()), "erased");
    changed.record.says.as_mut().unwrap().act = "logout".to_owned();
    assert_eq!(verify_proof(&changed, &log.public()), Err(ProofFault::Words));
    let mut moved = proof(4);
    moved.record.number = 5;
    assert!(matches!(
        verify_proof(&moved, &log.public()),
        Err(ProofFault::Path(_))
    ));
}
