//! What a server needs, looked at before it starts and by `doctor`: the same checks, so that `serve` refuses what
//! `doctor` calls damaged.
//!
//! - [`data`]: folder, keys, database   - [`machine`]: clock, disk, files, port

mod data;
pub(crate) mod machine;

pub(crate) use data::PROBE;
use std::collections::BTreeMap;

use serde::Serialize;
use unhidra_store::{Depth, Examined};
use unhidra_types::Timestamp;

use crate::{backup::MIB, configuration::Configuration};

/// Databases up to this size are read whole at each start: about a second for each GiB.
const CHECKED_AT_START_BYTES: u64 = 1024 * MIB;

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: &'static str,
    pub(crate) state: State,
    pub(crate) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
    /// How often, by reason, where something was counted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Ok,
    /// The server starts, and something should be done.
    Warn,
    /// The server does not start.
    Fail,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            state: State::Ok,
            found: found.into(),
            remedy: None,
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn warn(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            state: State::Warn,
            remedy: Some(remedy.into()),
            ..Self::ok(check, found)
        }
    }

    pub(crate) fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            state: State::Fail,
            ..Self::warn(check, found, remedy)
        }
    }

    /// Everything in one line.
    pub(crate) fn line(&self) -> String {
        match &self.remedy {
            None => format!("{}: {}", self.check, self.found),
            Some(remedy) => format!("{}: {}: {remedy}", self.check, self.found),
        }
    }
}

/// Whether the machine's clock is believed even when the database says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockTrust {
    Doubted,
    /// The operator says that it is right.
    Trusted,
}

/// Everything that concerns the data folder and this machine.
pub(crate) fn examine(
    configuration: &Configuration,
    depth: Depth,
    clock: ClockTrust,
    now: Timestamp,
) -> Vec<Finding> {
    let folder = &configuration.server.data;
    let database = data::Database::look(folder, depth);
    let mut findings = vec![
        data::folder(folder),
        data::keys(&configuration.keys, folder, &database),
        database.finding(&configuration.keys),
        machine::disk(folder),
        machine::files(configuration.server.max_connections),
    ];
    let last_record_at = database.examined().and_then(|found| found.last_record_at);
    findings.push(machine::clock(last_record_at, clock, now));
    findings
}

/// [`examine`] for a server that is about to start: what it should be told, or the first thing that keeps it from
/// starting.
///
/// # Errors
/// One line with the remedy.
pub(crate) fn before_start(
    configuration: &Configuration,
    clock: ClockTrust,
    now: Timestamp,
) -> anyhow::Result<Vec<Finding>> {
    let size = data::Database::look(&configuration.server.data, Depth::Header)
        .examined()
        .map_or(0, |found: &Examined| found.bytes);
    let depth = if size <= CHECKED_AT_START_BYTES {
        Depth::Pages
    } else {
        Depth::Header
    };
    let findings = examine(configuration, depth, clock, now);
    match findings.iter().find(|finding| finding.state == State::Fail) {
        Some(finding) => anyhow::bail!("{}", finding.line()),
        None => Ok(findings
            .into_iter()
            .filter(|finding| finding.state == State::Warn)
            .collect()),
    }
}
