//! Checks an export or a single proof, with nothing but the public key of the log.

use std::io;

use unhidra_crypto::hash::sha256;
use unhidra_tree::{Hash, HeadError, ProofError, SignedHead, verify_inclusion};
use unhidra_wire::audit::{AuditRecord, ExportBegin, ExportLine, InclusionProof};

use crate::{
    Checker, Header, Report, Stored,
    check::{Fault, Place},
};

/// The form of exports that is written and read.
pub const VERSION: u32 = 1;
/// How many records lie between two calls of the caller's progress.
const TELL_EVERY: u64 = 10_000;

/// Why a file could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Reading failed.
    #[error("the export can't be read")]
    Read(#[from] io::Error),
    /// A line is not what has to stand there.
    #[error("line {line} is no line of an audit export, or was changed beyond reading")]
    Line {
        /// Counted from 1.
        line: u64,
    },
    /// It was written by another version.
    #[error(
        "the export has version {found}, and this program reads version {VERSION}: install the newer one"
    )]
    Version {
        /// The file's version.
        found: u32,
    },
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// The head is not the log's.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The path does not lead from the record to the head.
    #[error("the record is not in the signed tree: {0}")]
    Path(#[from] ProofError),
    /// The payload is not the one that was committed to.
    #[error("the payload or its salt was changed; header and commitment are intact")]
    Payload,
    /// What is written for people is not what the header says.
    #[error("the words are not what the header says; the header is intact")]
    Words,
}

/// Checks an export, line by line, against `key`. `earlier` is a head that is known from elsewhere; `progress` hears
/// how many records are done, and how many there are.
///
/// # Errors
/// [`ExportError`]. What does not fit is in the report, not an error.
pub fn verify(
    lines: impl Iterator<Item = io::Result<String>>,
    key: [u8; 32],
    earlier: Option<SignedHead>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, ExportError> {
    let mut lines = (1..).zip(lines);
    let mut next = || -> Result<Option<(u64, ExportLine)>, ExportError> {
        let Some((line, text)) = lines.next() else {
            return Ok(None);
        };
        let parsed = serde_json::from_str(&text?).map_err(|_| ExportError::Line { line });
        Ok(Some((line, parsed?)))
    };
    let begin = match next()? {
        Some((_, ExportLine::Begin(begin))) => begin,
        _ => return Err(ExportError::Line { line: 1 }),
    };
    if begin.version != VERSION {
        return Err(ExportError::Version { found: begin.version });
    }
    let mut heads = Vec::new();
    let mut line = next()?;
    while let Some((_, ExportLine::Head(head))) = line {
        let number = u64::try_from(heads.len()).unwrap_or(u64::MAX).saturating_add(1);
        heads.push((Place::Head(number), SignedHead::from(head)));
        line = next()?;
    }
    heads.extend(earlier.map(|head| (Place::EarlierHead, head)));
    let mut checker = begin_check(key, &begin, heads);
    while let Some((number, found)) = line {
        let ExportLine::Record(record) = found else {
            return Err(ExportError::Line { line: number });
        };
        take(&mut checker, &record);
        if record.number.is_multiple_of(TELL_EVERY) {
            progress(record.number, begin.records);
        }
        line = next()?;
    }
    let mut report = checker.finish();
    let covered = report.signed.map_or(0, |head| head.head.size);
    if covered < report.records && report.faults == 0 {
        report.find(Place::Log, Fault::Uncovered { after: covered });
    }
    Ok(report)
}

fn begin_check(key: [u8; 32], begin: &ExportBegin, heads: Vec<(Place, SignedHead)>) -> Checker {
    let other_log = heads.iter().any(|(_, head)| head.head.log != begin.key.log_id.0);
    let mut checker = Checker::new(key, begin.records, heads);
    if begin.key.key.0 != key || other_log {
        checker.find(Place::Log, Fault::OtherKey);
    }
    checker
}

fn take(checker: &mut Checker, record: &AuditRecord) {
    let payload = record.payload.as_ref().map(String::as_bytes);
    let salt = record.salt.as_ref().map(|salt| salt.0.as_slice());
    checker.record(&Stored {
        number: record.number,
        header: &record.header.0,
        commitment: &record.commitment.0,
        payload: salt.zip(payload),
        hashes: Some(&record.tree.0),
    });
    if salt.is_some() != payload.is_some() {
        checker.find(Place::Payload(record.number), Fault::Changed);
    }
    if !words_fit(record) {
        checker.find(Place::Record(record.number), Fault::Column("says"));
    }
}

fn words_fit(record: &AuditRecord) -> bool {
    record.says == Header::read(&record.header.0).map(|header| header.saying())
}

/// Checks that the log of `key` signed a tree that has the record of `proof`.
///
/// # Errors
/// [`ProofFault`].
pub fn verify_proof(proof: &InclusionProof, key: &[u8; 32]) -> Result<(), ProofFault> {
    let head = SignedHead::from(proof.head);
    head.verify(key)?;
    let record = &proof.record;
    let leaf = sha256(&[&[0x00], &record.header.0, &record.commitment.0]);
    let path: Vec<Hash> = proof.path.iter().map(|hash| hash.0).collect();
    verify_inclusion(record.number, &leaf, head.head.size, &head.head.root, &path)?;
    let fits = match (&record.salt, &record.payload) {
        (Some(salt), Some(payload)) => sha256(&[&salt.0, payload.as_bytes()])[..] == record.commitment.0,
        (None, None) => true,
        _ => false,
    };
    if !fits {
        return Err(ProofFault::Payload);
    }
    if words_fit(record) {
        Ok(())
    } else {
        Err(ProofFault::Words)
    }
}
