//! `audit search`, `prove`, `key` and `erase`: what an administrator asks a server for.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use unhidra_client_native::{Client, ClientError};
use unhidra_runtime::Clock;
use unhidra_types::Username;
use unhidra_wire::{
    audit::{AuditQuery, AuditRecord},
    rest::ProblemCode,
};

use super::{hex, save};
use crate::{
    arguments::audit::Search,
    command::{
        opening::{Opening, user_named},
        read::shown_time,
    },
    exit::{Exit, Failure, Outcome},
    output::{Output, printable},
};

/// Records asked for at once.
const PAGE: u32 = 500;

#[derive(Serialize)]
struct More {
    next: u64,
}

/// Prints the records that fit.
pub(crate) async fn search(opening: &Opening, options: Search, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let now = Clock::System.context().now;
    let mut query = AuditQuery {
        after: options.after,
        limit: None,
        act: options.act,
        actor: id_of(&mut client, options.actor).await?,
        subject: id_of(&mut client, options.subject).await?,
        since: options.since.map(|since| since.before(now)),
        until: options.until.map(|until| until.before(now)),
        text: options.text,
    };
    let (mut left, mut found) = (options.limit, 0);
    while left > 0 {
        query.limit = Some(u32::try_from(left).unwrap_or(PAGE).min(PAGE));
        let page = client.audit_records(&query).await?;
        for record in &page.records {
            output.result(record, || line(record)).context("print a record")?;
        }
        left = left.saturating_sub(page.records.len());
        found += page.records.len();
        match page.next {
            None if found == 0 => {
                output.progress("No record fits.");
                return Ok(());
            }
            None => return Ok(()),
            Some(next) => query.after = next,
        }
    }
    let next = query.after;
    if output.json {
        output
            .result(&More { next }, String::new)
            .context("print the result")?;
    }
    output.progress(&format!("There may be more: --after {next}"));
    Ok(())
}

/// A name becomes the user's id; anything with a prefix stays as it is.
async fn id_of(client: &mut Client, text: Option<String>) -> Result<Option<String>, Failure> {
    match text {
        Some(name) if !name.contains('_') && !name.starts_with("record-") => match name.parse::<Username>() {
            Ok(name) => Ok(Some(user_named(client, &name).await?.to_string())),
            Err(_) => Ok(Some(name)),
        },
        other => Ok(other),
    }
}

fn line(record: &AuditRecord) -> String {
    let Some(says) = &record.says else {
        return format!("{:>7}  unreadable header", record.number);
    };
    let actor = match (says.user, says.device) {
        (Some(user), Some(device)) => format!("{user} on {device}"),
        (Some(user), None) => user.to_string(),
        _ => says.actor.clone(),
    };
    let payload = record.payload.as_deref().unwrap_or("(payload erased)");
    format!(
        "{:>7}  {}  {}  by {actor}  to {}  {}",
        record.number,
        shown_time(says.at),
        says.act,
        says.subject,
        printable(payload)
    )
}

/// What is said of a proof that was saved.
#[derive(Serialize)]
struct Proved<'a> {
    file: &'a Path,
    number: u64,
}

/// Saves the proof of a record.
pub(crate) async fn prove(opening: &Opening, number: u64, out: Option<&Path>, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let proof = client
        .audit_proof(number)
        .await
        .map_err(|error| not_found(error, number))?;
    let text = serde_json::to_string(&proof).context("encode the proof")?;
    match out {
        Some(path) => {
            save(path, &text)?;
            let proved = Proved { file: path, number };
            output
                .result(&proved, || {
                    let path = printable(&path.display().to_string());
                    format!(
                        "The proof of record {number} is in {path}; check it with `unhidra audit verify-proof {path} \
                         --key KEY`"
                    )
                })
                .context("print the result")?;
        }
        None => output.result(&proof, || text).context("print the proof")?,
    }
    Ok(())
}

/// Prints the log's public key.
pub(crate) async fn key(opening: &Opening, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let key = client.audit_key().await?;
    output.result(&key, || hex(&key.key.0)).context("print the key")?;
    Ok(())
}

/// Erases the details of a record.
pub(crate) async fn erase(opening: &Opening, number: u64, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Erased {
        erased: u64,
    }
    let mut client = opening.client()?;
    let erased = client.erase_audit_payload(number).await;
    erased.map_err(|error| not_found(error, number))?;
    let text = || format!("The details of record {number} are erased; the record stays in the tree.");
    output
        .result(&Erased { erased: number }, text)
        .context("print the result")?;
    Ok(())
}

fn not_found(error: ClientError, number: u64) -> Failure {
    match &error {
        ClientError::Rest(rest) if rest.code() == Some(ProblemCode::NotFound) => Failure {
            exit: Exit::NotFound,
            error: anyhow!(
                "there is no record {number}, or its details are gone: see `unhidra audit search`"
            ),
        },
        _ => error.into(),
    }
}
