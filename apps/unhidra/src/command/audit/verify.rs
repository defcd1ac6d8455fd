//! `audit verify` and `audit verify-proof`: without a network.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;
use unhidra_audit::{Finding, Report, export};
use unhidra_keys::Keys;
use unhidra_store::audit_check::{CheckError, check_audit};
use unhidra_tree::SignedHead;
use unhidra_wire::{
    audit::{AuditKey, ExportLine, InclusionProof, TreeHead},
    base64,
};

use crate::{
    arguments::audit::Verify,
    command::read::shown_time,
    configuration,
    exit::{Exit, Failure, OrExit as _, Outcome},
    output::{Output, printable},
    progress::Progress,
};

#[derive(Serialize)]
struct ShownFinding {
    table: &'static str,
    number: Option<u64>,
    text: String,
}

#[derive(Serialize)]
struct Summary {
    intact: bool,
    records: u64,
    heads: u64,
    /// How many of the records the largest genuine head covers.
    signed: u64,
    erased: u64,
    faults: u64,
}

#[derive(Serialize)]
struct Proved<'a> {
    proved: bool,
    number: u64,
    size: u64,
    payload: Option<&'a str>,
}

/// Checks an export or a database, and says which rows do not fit.
pub(crate) fn verify(options: &Verify, output: Output) -> Outcome {
    let earlier = options.earlier.as_deref().map(read_head);
    let earlier = earlier.transpose().or_exit(Exit::Input)?;
    let mut line = Progress::begin();
    let progress = |done: u64, all: u64| line.show(|| format!("{done} of {all} records"));
    let report = match &options.file {
        Some(file) => {
            let key = options.key.as_deref().context("an export is checked with --key");
            let key = read_key(key.or_exit(Exit::Usage)?).or_exit(Exit::Input)?;
            let lines = File::open(file).with_context(|| format!("open {}", file.display()));
            let lines = BufReader::new(lines.or_exit(Exit::Input)?).lines();
            export::verify(lines, key, earlier, progress).or_exit(Exit::Input)?
        }
        None => verify_database(options, earlier, progress)?,
    };
    drop(line);
    show(&report, output)
}

fn verify_database(
    options: &Verify,
    earlier: Option<SignedHead>,
    progress: impl FnMut(u64, u64),
) -> Result<Report, Failure> {
    let configuration = configuration::load(&options.server()).or_exit(Exit::Configuration)?;
    let data = &configuration.server.data;
    let key = match &options.key {
        Some(key) => read_key(key).or_exit(Exit::Input)?,
        None => Keys::read_audit_key(&configuration.keys, data)
            .or_exit(Exit::Configuration)?
            .with_context(|| {
                format!(
                    "{} has no key of an audit log: name it with --key",
                    data.display()
                )
            })
            .or_exit(Exit::Configuration)?,
    };
    match check_audit(&data.join("unhidra.db"), key, earlier, progress) {
        Ok(report) => Ok(report),
        Err(error @ (CheckError::Open(_) | CheckError::NoTree)) => Err(error).or_exit(Exit::Configuration),
        Err(error @ CheckError::Store(_)) => Err(error)
            .context("pages of the database are damaged: restore a backup")
            .or_exit(Exit::Store),
    }
}

fn show(report: &Report, output: Output) -> Outcome {
    for finding in &report.findings {
        let shown = ShownFinding {
            table: finding.place.kind(),
            number: finding.place.number(),
            text: finding.to_string(),
        };
        output
            .result(&shown, || shown.text.clone())
            .context("print a finding")?;
    }
    let signed = report.signed.map(|head| head.head);
    let summary = Summary {
        intact: report.faults == 0,
        records: report.records,
        heads: report.heads,
        signed: signed.map_or(0, |head| head.size),
        erased: report.erased,
        faults: report.faults,
    };
    output
        .result(&summary, || {
            let state = if summary.intact { "intact" } else { "DAMAGED" };
            let signed = signed.map_or("none is signed yet".to_owned(), |head| {
                format!("a head signed {} covers {} of them", shown_time(head.at), head.size)
            });
            let (records, heads, erased) = (summary.records, summary.heads, summary.erased);
            format!("{state}: {records} records, {heads} heads; {signed}; payloads erased by a recorded act: {erased}")
        })
        .context("print the result")?;
    match report.findings.first() {
        None => Ok(()),
        Some(first) => Err(damaged(report.faults, first)),
    }
}

fn damaged(faults: u64, first: &Finding) -> Failure {
    Failure {
        exit: Exit::Store,
        error: anyhow!(
            "the audit log does not fit its tree ({faults} found), first: {first}. Keep this copy as evidence, and compare it with a backup and with heads that others saw"
        ),
    }
}

/// Checks one proof.
pub(crate) fn verify_proof(file: &Path, key: &str, output: Output) -> Outcome {
    let key = read_key(key).or_exit(Exit::Input)?;
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()));
    let proof: InclusionProof = serde_json::from_str(&text.or_exit(Exit::Input)?)
        .with_context(|| format!("{} is no proof of an audit record", file.display()))
        .or_exit(Exit::Input)?;
    export::verify_proof(&proof, &key).or_exit(Exit::Store)?;
    let record = &proof.record;
    let proved = Proved {
        proved: true,
        number: record.number,
        size: proof.head.size,
        payload: record.payload.as_deref(),
    };
    let line = || {
        let payload = record.payload.as_deref().unwrap_or("payload erased");
        let act = record.says.as_ref().map_or("", |says| &says.act);
        format!(
            "proved: record {} ({act}) is among the {} records that were signed {}\n{}",
            record.number,
            proof.head.size,
            shown_time(proof.head.at),
            printable(payload)
        )
    };
    output.result(&proved, line).context("print the result")?;
    Ok(())
}

/// A head that was saved, or a line of an export.
fn read_head(file: &Path) -> anyhow::Result<SignedHead> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let head: Option<TreeHead> = serde_json::from_str(&text).ok();
    let head = head.or_else(|| match serde_json::from_str(&text) {
        Ok(ExportLine::Head(head)) => Some(head),
        _ => None,
    });
    let head = head.with_context(|| format!("{} is no tree head of an audit log", file.display()))?;
    Ok(head.into())
}

/// A public key as 64 hexadecimal digits, as base64url, or in a file that holds either or an answer of the server.
fn read_key(text: &str) -> anyhow::Result<[u8; 32]> {
    if let Some(key) = key_of(text) {
        return Ok(key);
    }
    let Ok(content) = fs::read_to_string(text) else {
        bail!("{text} is neither a key nor a file: print the key with `unhidra audit key`");
    };
    let json = || serde_json::from_str(&content).map(|key: AuditKey| key.key.0).ok();
    key_of(content.trim())
        .or_else(json)
        .with_context(|| format!("{text} holds no key of an audit log: save it with `unhidra audit key`"))
}

fn key_of(text: &str) -> Option<[u8; 32]> {
    if text.len() == 64 {
        let mut key = [0; 32];
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        }
        return Some(key);
    }
    base64::decode(text)?.try_into().ok()
}
