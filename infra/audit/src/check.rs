//! Reads a stored log in order and says what does not fit: which row, and in which way it was changed.
//!
//! Rows come from a database or an export, and nothing about them is believed but the key that signs tree heads. Each
//! record comes with the hashes that it completed, so a change is told from the others by what its neighbours in the
//! tree say: a node is believed when the node above it, or a signed root, follows from it. Memory is O(log n) and the
//! bounded list of findings.

mod finding;
mod peaks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use unhidra_crypto::hash::sha256;
use unhidra_tree::{Hash, SignedHead, node};

pub use self::finding::{Fault, Finding, Place};
use self::peaks::{Choice, Doubt, Peak, Peaks};
use crate::Header;

/// Findings that are kept; further ones are counted.
pub const MAX_FINDINGS: usize = 1_000;

/// A record as it is stored, whatever was done to it.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Its number.
    pub number: u64,
    /// Canonical bytes.
    pub header: &'a [u8],
    /// Hash of salt and payload.
    pub commitment: &'a [u8],
    /// Salt and payload, unless they are gone.
    pub payload: Option<(&'a [u8], &'a [u8])>,
    /// The hashes that it completed, unless they are gone.
    pub hashes: Option<&'a [u8]>,
}

/// What a check came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many records there should be.
    pub records: u64,
    /// How many heads were checked.
    pub heads: u64,
    /// The largest head that was signed over exactly these records.
    pub signed: Option<SignedHead>,
    /// How many payloads were erased by an act that is recorded.
    pub erased: u64,
    /// What does not fit, in the order of the log; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many findings there were.
    pub faults: u64,
}

impl Report {
    /// Adds what was found after the check.
    pub fn find(&mut self, place: Place, fault: Fault) {
        self.faults += 1;
        self.findings.push(Finding { place, fault });
    }
}

/// A check that is going on.
pub struct Checker {
    key: [u8; 32],
    size: u64,
    done: u64,
    peaks: Peaks,
    /// By size.
    heads: VecDeque<(Place, SignedHead)>,
    head_count: u64,
    signed: Option<SignedHead>,
    /// Records without a payload, and records whose payload an act erased.
    gone: BTreeSet<u64>,
    erased: BTreeSet<u64>,
    /// Leaves of records that do not fit: what the tree wants at a number, and what is there instead.
    wanted: BTreeMap<Hash, u64>,
    present: BTreeMap<u64, Hash>,
    findings: Vec<Finding>,
    faults: u64,
}

impl Checker {
    /// Begins a check of a log that should have `size` records and these heads, under `key`.
    #[must_use]
    pub fn new(key: [u8; 32], size: u64, heads: impl IntoIterator<Item = (Place, SignedHead)>) -> Self {
        let mut checker = Self {
            key,
            size,
            done: 0,
            peaks: Peaks::default(),
            heads: VecDeque::new(),
            head_count: 0,
            signed: None,
            gone: BTreeSet::new(),
            erased: BTreeSet::new(),
            wanted: BTreeMap::new(),
            present: BTreeMap::new(),
            findings: Vec::new(),
            faults: 0,
        };
        let mut genuine = Vec::new();
        for (place, head) in heads {
            checker.head_count += 1;
            if head.verify(&checker.key).is_err() {
                checker.find(place, Fault::Forged);
            } else if head.head.size > size {
                let signed = head.head.size;
                checker.find(place, Fault::Beyond { signed, found: size });
            } else {
                genuine.push((place, head));
            }
        }
        genuine.sort_by_key(|(_, head)| head.head.size);
        checker.heads = genuine.into();
        checker.check_heads();
        checker
    }

    /// How many records were taken.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// Notes what was found outside of the tree.
    pub fn find(&mut self, place: Place, fault: Fault) {
        self.faults += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { place, fault });
        }
    }

    /// Takes the next record.
    pub fn record(&mut self, stored: &Stored<'_>) {
        let number = stored.number;
        if number <= self.done {
            return self.find(Place::Record(number), Fault::OutOfOrder { after: self.done });
        }
        if number > self.size {
            return self.find(Place::Record(number), Fault::Inserted);
        }
        while self.done + 1 < number {
            self.missing(None);
        }
        self.done = number;
        let hashes = self.hashes_of(stored.number, stored.hashes);
        self.payload_of(stored);
        let leaf = self.leaf_of(stored, hashes.first().copied());
        self.push(leaf, &hashes);
    }

    /// The next record is not there; `hashes` is what the tree says about it.
    pub fn missing(&mut self, hashes: Option<&[u8]>) {
        self.done += 1;
        self.find(Place::Record(self.done), Fault::Missing);
        // In an export they go with their record.
        let hashes = hashes.map_or_else(Vec::new, |hashes| self.hashes_of(self.done, Some(hashes)));
        let leaf = Peak::stated(hashes.first().copied());
        self.push(leaf, &hashes);
    }

    /// What the check came to.
    #[must_use]
    pub fn finish(mut self) -> Report {
        while self.done < self.size {
            self.missing(None);
        }
        for doubt in self.peaks.doubts() {
            self.settle(doubt, None);
        }
        let unexplained: Vec<u64> = self.gone.difference(&self.erased).copied().collect();
        for number in unexplained {
            self.find(Place::Payload(number), Fault::PayloadGone);
        }
        let (wanted, present) = (&self.wanted, &self.present);
        for finding in &mut self.findings {
            if let (Place::Record(number), Fault::Changed) = (finding.place, finding.fault) {
                let belongs = present.get(&number).and_then(|leaf| wanted.get(leaf));
                if let Some(belongs) = belongs.filter(|belongs| **belongs != number) {
                    finding.fault = Fault::Moved { belongs: *belongs };
                }
            }
        }
        self.findings.sort_by_key(|finding| finding.place.order());
        Report {
            records: self.size,
            heads: self.head_count,
            signed: self.signed,
            erased: u64::try_from(self.gone.intersection(&self.erased).count()).unwrap_or(u64::MAX),
            findings: self.findings,
            faults: self.faults,
        }
    }

    /// The hashes of a row of the tree, when there are as many as its number has.
    fn hashes_of(&mut self, number: u64, hashes: Option<&[u8]>) -> Vec<Hash> {
        let Some(bytes) = hashes else {
            self.find(Place::Node(number), Fault::Missing);
            return Vec::new();
        };
        let (hashes, rest) = bytes.as_chunks::<32>();
        let expected = usize::try_from(node::levels_above(number)).unwrap_or_default() + 1;
        if hashes.len() != expected || !rest.is_empty() {
            self.find(Place::Node(number), Fault::OtherNumber);
            return Vec::new();
        }
        hashes.to_vec()
    }

    fn payload_of(&mut self, stored: &Stored<'_>) {
        if stored.payload.is_none() {
            self.gone.insert(stored.number);
        }
        let header = Header::read(stored.header);
        self.erased.extend(header.and_then(|header| header.erased()));
    }

    /// Compares a record with its leaf, as far as that is possible without the tree above it.
    fn leaf_of(&mut self, stored: &Stored<'_>, stated: Option<Hash>) -> Peak {
        let leaf = |commitment: &[u8]| sha256(&[&[0x00], stored.header, commitment]);
        let committed = stored.payload.map(|(salt, payload)| sha256(&[salt, payload]));
        let computed = leaf(stored.commitment);
        let fits = committed.is_none_or(|committed| committed == stored.commitment);
        let Some(stated) = stated else {
            if !fits {
                self.find(Place::Payload(stored.number), Fault::Changed);
            }
            return Peak::loose(computed, stored.number);
        };
        if stated == computed {
            if !fits {
                self.find(Place::Payload(stored.number), Fault::Changed);
            }
            return Peak::stated(Some(stated));
        }
        if committed.is_some_and(|committed| leaf(&committed) == stated) {
            self.find(Place::Record(stored.number), Fault::CommitmentChanged);
            return Peak::stated(Some(stated));
        }
        if self.wanted.len() < MAX_FINDINGS {
            self.wanted.insert(stated, stored.number);
            self.present.insert(stored.number, computed);
        }
        Peak::doubtful(stated, computed, Doubt::Record(stored.number))
    }

    /// Adds a leaf and the nodes above it that it completes, then looks at the heads of this size.
    fn push(&mut self, leaf: Peak, hashes: &[Hash]) {
        self.peaks.0.push(leaf);
        for level in 1..=node::levels_above(self.done) {
            let stated = usize::try_from(level).ok().and_then(|level| hashes.get(level));
            let node = node::Node {
                level,
                end: self.done,
            };
            for (doubt, choice) in self.peaks.join(node, stated.copied()) {
                self.settle(doubt, choice);
            }
        }
        self.check_heads();
    }

    fn check_heads(&mut self) {
        while let Some((place, head)) = self.heads.pop_front_if(|(_, head)| head.head.size == self.done) {
            match self.peaks.explain(&head.head.root) {
                Some(settled) => {
                    for (doubt, choice) in settled {
                        self.settle(doubt, Some(choice));
                    }
                    self.signed = Some(head);
                }
                None => {
                    let after = self.signed.map_or(0, |head| head.head.size);
                    self.find(
                        place,
                        Fault::OtherRoot {
                            after,
                            size: self.done,
                        },
                    );
                }
            }
        }
    }

    /// Says which of two versions was believed by the tree above; `None` when nothing decides.
    fn settle(&mut self, doubt: Doubt, choice: Option<Choice>) {
        match (doubt, choice) {
            (Doubt::Record(number), Some(Choice::Stated)) => self.find(Place::Record(number), Fault::Changed),
            (Doubt::Record(number), Some(Choice::Computed)) => self.find(Place::Node(number), Fault::Changed),
            (Doubt::Loose(number), None) => self.find(Place::Record(number), Fault::Changed),
            (Doubt::Loose(_), Some(_)) => {}
            (Doubt::Record(number), None) => self.find(Place::Record(number), Fault::Unclear),
            (Doubt::Node(node), Some(Choice::Computed)) => {
                self.find(Place::Node(node.end), Fault::NodeChanged { level: node.level });
            }
            (Doubt::Node(node), Some(Choice::Stated) | None) => {
                let (first, last) = (node.first(), node.end);
                self.find(Place::Record(first), Fault::Rewritten { last });
            }
        }
    }
}
