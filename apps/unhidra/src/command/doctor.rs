//! `doctor`: checks what a server needs, and says what to do; with `--recover` does what is safe. Where there is a client's
//! profile, it says what that has not opened.

mod unopened;

use std::{fs, io, path::Path};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use unhidra_runtime::Clock;
use unhidra_store::{Depth, Store, examine, wal};

use super::opening::Opening;
use crate::{
    arguments::Doctor,
    backup::{DATABASE, MIB, free_bytes},
    configuration::{self, Configuration},
    disk,
    exit::{Exit, Failure, Outcome},
    folder::LOCK,
    health::{self, ClockTrust, Finding, State, machine},
    output::Output,
    tls,
};

/// Checks configuration, data folder, database, machine and port.
pub(crate) async fn doctor(options: &Doctor, opening: Option<&Opening>, output: Output) -> Outcome {
    let mut findings = match configuration::load(&options.server) {
        Ok(configuration) => look(options, &configuration).await,
        Err(error) => vec![Finding::fail(
            "configuration",
            format!("{error:#}"),
            "correct it; `unhidra config example` prints every key",
        )],
    };
    findings.extend(opening.map(unopened::examine).unwrap_or_default());
    for finding in &findings {
        output
            .result(finding, || shown(finding))
            .map_err(anyhow::Error::from)?;
    }
    match findings
        .iter()
        .filter(|finding| finding.state == State::Fail)
        .count()
    {
        0 => Ok(()),
        failed => Err(Failure {
            exit: Exit::Configuration,
            error: anyhow::anyhow!("{failed} of {} checks failed", findings.len()),
        }),
    }
}

async fn look(options: &Doctor, configuration: &Configuration) -> Vec<Finding> {
    let server = &configuration.server;
    let mut findings = vec![Finding::ok("configuration", "every key is known and fits")];
    let has_server = is_locked(&server.data);
    if options.recover {
        findings.extend(recover(&server.data, has_server).await);
    }
    let depth = if options.full { Depth::Full } else { Depth::Pages };
    let trust = trust(options.server.trust_clock);
    let now = Clock::System.context().now;
    findings.extend(health::examine(configuration, depth, trust, now));
    findings.push(certificate(configuration));
    findings.push(machine::port(configuration, has_server));
    findings
}

/// The certificate that the server would present, its dates and its key.
fn certificate(configuration: &Configuration) -> Finding {
    const CHECK: &str = "certificate";
    match tls::examine(configuration, Clock::System.context().now) {
        Ok(found) => Finding::ok(CHECK, found),
        Err((found, remedy)) => Finding::fail(CHECK, found, remedy),
    }
}

/// What the flag says.
pub(super) fn trust(trust_clock: bool) -> ClockTrust {
    if trust_clock {
        ClockTrust::Trusted
    } else {
        ClockTrust::Doubted
    }
}

/// Whether a server uses the folder.
fn is_locked(data: &Path) -> bool {
    let Ok(lock) = fs::File::open(data.join(LOCK)) else {
        return false;
    };
    flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
}

/// Does what can't do harm, and says what it did.
async fn recover(data: &Path, has_server: bool) -> Vec<Finding> {
    const CHECK: &str = "recovery";
    let done = |result: anyhow::Result<String>| match result {
        Ok(text) => Finding::ok(CHECK, text),
        Err(error) => Finding::fail(CHECK, format!("{error:#}"), "correct that, and run it again"),
    };
    let mut findings = vec![done(give_room(data)), done(tidy(data))];
    findings.push(if has_server {
        Finding::ok(CHECK, "a server runs: it looks after the database itself")
    } else {
        done(settle(&data.join(DATABASE)).await)
    });
    findings
}

/// Gives the reserve back to a server whose disk is full.
fn give_room(data: &Path) -> anyhow::Result<String> {
    let free = free_bytes(data)?;
    if free >= disk::RESERVE_BYTES {
        return Ok(format!("{} MiB are free: the reserve is kept", free / MIB));
    }
    Ok(if disk::release(data).context("release the reserve")? {
        "64 MiB of reserve released: administrators can log in; messages are taken again once there is room"
            .to_owned()
    } else {
        "nothing is in reserve any more: make room on the disk".to_owned()
    })
}

/// Removes files that were never finished.
fn tidy(data: &Path) -> anyhow::Result<String> {
    let entries = match fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok("there is no data folder".to_owned());
        }
        entries => entries.context("read the data folder")?,
    };
    let mut removed = 0;
    for entry in entries {
        let path = entry.context("read the data folder")?.path();
        let is_unfinished =
            path.extension().is_some_and(|ending| ending == "new") || path.ends_with(health::PROBE);
        if is_unfinished && path.is_file() {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            removed += 1;
        }
    }
    Ok(format!(
        "{removed} unfinished files removed; a lock that a crash left holds nobody up"
    ))
}

/// Takes the log into the database, if it is whole and of this version.
async fn settle(path: &Path) -> anyhow::Result<String> {
    if !path.exists() {
        return Ok("there is no database".to_owned());
    }
    let found = examine(path, Depth::Pages)?;
    if found.schema != found.known {
        return Ok(format!(
            "the database has schema {}: it is left alone",
            found.schema
        ));
    }
    let torn = match wal::tail(path) {
        wal::Tail::Whole => "",
        wal::Tail::Torn => "; it ended within a commit, so every conversation goes on behind a gap",
    };
    let (store, commits) = Store::open(path, 1)?;
    store.close().await;
    drop((store, commits));
    Ok(format!("the database's log was taken in{torn}"))
}

fn shown(finding: &Finding) -> String {
    let mark = match finding.state {
        State::Ok => "ok  ",
        State::Warn => "warn",
        State::Fail => "FAIL",
    };
    match &finding.remedy {
        None => format!("{mark} {}: {}", finding.check, finding.found),
        Some(remedy) => format!("{mark} {}: {}\n     {remedy}", finding.check, finding.found),
    }
}
