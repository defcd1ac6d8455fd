//! What the machine gives: time, room, files and a port.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use rustix::process::{Resource, getrlimit};
use unhidra_types::Timestamp;

use super::{ClockTrust, Finding};
use crate::{
    backup::{MIB, free_bytes},
    configuration::Configuration,
    disk::{RESERVE, RESERVE_BYTES},
    tls,
};

const DAY: Duration = Duration::from_secs(86_400);
/// A clock that is set back by more would end sessions and certificates wrongly.
const MAX_BEHIND: Duration = DAY;
/// As much as clocks of one network differ.
const USUAL_BEHIND: Duration = Duration::from_secs(300);
/// A server that wrote nothing for longer either stood still or has the wrong time.
const MAX_AHEAD: Duration = Duration::from_secs(300 * 86_400);
/// Files that a server has open beside its connections: database, log, keys.
const OTHER_FILES: u64 = 128;
/// Less free room than this is told.
const LITTLE_ROOM: u64 = 512 * MIB;

/// Compares the clock with the last audit record.
pub(super) fn clock(last_record_at: Option<Timestamp>, trust: ClockTrust, now: Timestamp) -> Finding {
    const CHECK: &str = "clock";
    const REMEDY: &str =
        "set the clock (`timedatectl set-ntp true`); if it is right, say so with --trust-clock";
    let shown = crate::command::read::shown_time(now);
    let Some(last) = last_record_at else {
        return Finding::ok(CHECK, shown);
    };
    let (ahead, behind) = (now.since(last), last.since(now));
    let days = |time: Duration| time.as_secs() / DAY.as_secs();
    let text = if behind > MAX_BEHIND {
        format!("{shown} is {} days before the last audit record", days(behind))
    } else if ahead > MAX_AHEAD {
        format!("{shown} is {} days after the last audit record", days(ahead))
    } else if behind > USUAL_BEHIND {
        return Finding::warn(
            CHECK,
            format!("{shown} is {} s before the last audit record", behind.as_secs()),
            REMEDY,
        );
    } else {
        return Finding::ok(CHECK, shown);
    };
    match trust {
        ClockTrust::Doubted => Finding::fail(CHECK, text, REMEDY),
        ClockTrust::Trusted => Finding::warn(CHECK, text, "it was said to be right"),
    }
}

/// Room on the disk of the data folder, and the reserve.
pub(super) fn disk(data: &Path) -> Finding {
    const CHECK: &str = "disk";
    // A relative path ends above its first folder, in the one where this process works.
    let existing = data
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("."));
    let free = match free_bytes(existing) {
        Ok(free) => free,
        Err(error) => return Finding::fail(CHECK, format!("{error:#}"), "choose another folder with --data"),
    };
    let is_reserved = fs::metadata(data.join(RESERVE)).is_ok_and(|found| found.len() >= RESERVE_BYTES);
    let text = format!("{} MiB free", free / MIB);
    if free < LITTLE_ROOM {
        let state = if is_reserved {
            "64 MiB are in reserve"
        } else {
            "nothing is in reserve: only administrators are served"
        };
        return Finding::warn(
            CHECK,
            format!("{text}, {state}"),
            "make room; when it is used up, `unhidra doctor --recover` lets administrators in",
        );
    }
    Finding::ok(CHECK, text)
}

/// How many files this process may open.
pub(super) fn files(max_connections: usize) -> Finding {
    const CHECK: &str = "files";
    let needed = files_needed(max_connections);
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < needed => Finding::warn(
            CHECK,
            format!("{limit} files may be open, and {max_connections} connections need {needed}"),
            "raise the limit (`ulimit -n`, LimitNOFILE=), or lower server.max_connections",
        ),
        limit => Finding::ok(
            CHECK,
            limit.map_or("as many as needed may be open".to_owned(), |limit| {
                format!("{limit} may be open")
            }),
        ),
    }
}

fn files_needed(max_connections: usize) -> u64 {
    u64::try_from(max_connections)
        .unwrap_or(u64::MAX)
        .saturating_add(OTHER_FILES)
}

/// Whether the address can be listened on.
pub(crate) fn port(configuration: &Configuration, has_server: bool) -> Finding {
    const CHECK: &str = "port";
    let address = configuration.server.listen;
    if let Err(error) = tls::check_exposure(configuration) {
        return Finding::fail(
            CHECK,
            format!("{error:#}"),
            "`docs/tls.md` shows each of these ways",
        );
    }
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(CHECK, format!("{address} is free")),
        Err(error) if has_server => Finding::ok(
            CHECK,
            format!("{address}: {error}; a server runs on the data folder"),
        ),
        Err(error) => Finding::fail(
            CHECK,
            format!("{address}: {error}"),
            "stop the program that listens there (`ss -ltnp` names it), or choose another port with --listen",
        ),
    }
}
