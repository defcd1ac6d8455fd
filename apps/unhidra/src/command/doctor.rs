//! `doctor`: checks what a server needs, and says what to do.

use std::{
    fs,
    io::{self, ErrorKind},
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use serde::Serialize;
use unhidra_runtime::Clock;

use crate::{
    arguments::ServerOptions,
    configuration::{self, Configuration},
    exit::{Exit, Failure, Outcome},
    output::Output,
    tls,
};

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            ok: true,
            found: found.into(),
            remedy: None,
        }
    }

    fn bad(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            check,
            ok: false,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// Checks configuration, data folder, database and port.
pub(crate) fn doctor(options: &ServerOptions, output: Output) -> Outcome {
    let findings = match configuration::load(options) {
        Ok(configuration) => examine(&configuration),
        Err(error) => vec![Finding::bad(
            "configuration",
            format!("{error:#}"),
            "correct it; `unhidra config example` prints every key",
        )],
    };
    for finding in &findings {
        output
            .result(finding, || shown(finding))
            .map_err(anyhow::Error::from)?;
    }
    match findings.iter().filter(|finding| !finding.ok).count() {
        0 => Ok(()),
        bad => Err(Failure {
            exit: Exit::Configuration,
            error: anyhow::anyhow!("{bad} of {} checks failed", findings.len()),
        }),
    }
}

fn examine(configuration: &Configuration) -> Vec<Finding> {
    let server = &configuration.server;
    vec![
        Finding::good("configuration", "every key is known and fits"),
        folder(&server.data),
        database(&server.data.join("unhidra.db")),
        certificate(configuration),
        port(configuration),
    ]
}

fn folder(path: &Path) -> Finding {
    const CHECK: &str = "data folder";
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Finding::good(CHECK, format!("{} will be created", path.display()))
        }
        Err(error) => Finding::bad(
            CHECK,
            format!("{}: {error}", path.display()),
            "choose another with --data",
        ),
        Ok(found) if !found.is_dir() => Finding::bad(
            CHECK,
            format!("{} is not a folder", path.display()),
            "choose another with --data",
        ),
        Ok(found) if found.mode() & 0o077 != 0 => Finding::bad(
            CHECK,
            format!(
                "{} is open to other users (mode {:03o})",
                path.display(),
                found.mode() & 0o777
            ),
            format!("chmod 700 {}", path.display()),
        ),
        Ok(_) => match writable(path) {
            Ok(()) => Finding::good(CHECK, format!("{} is writable", path.display())),
            Err(error) => Finding::bad(
                CHECK,
                format!("{} is not writable: {error}", path.display()),
                "make it writable for this user, or choose another with --data",
            ),
        },
    }
}

fn writable(folder: &Path) -> io::Result<()> {
    let probe = folder.join(".doctor");
    fs::write(&probe, b"")?;
    fs::remove_file(probe)
}

fn database(path: &Path) -> Finding {
    const CHECK: &str = "database";
    if !path.exists() {
        return Finding::good(CHECK, "will be created");
    }
    match unhidra_store::examine(path) {
        Ok(report) => Finding::good(CHECK, report),
        Err(error) => Finding::bad(
            CHECK,
            format!("{:#}", anyhow::Error::from(error)),
            "restore the data folder from a backup, or install the version that wrote it",
        ),
    }
}

/// The certificate that the server would present, its dates and its key.
fn certificate(configuration: &Configuration) -> Finding {
    const CHECK: &str = "certificate";
    match tls::examine(configuration, Clock::System.context().now) {
        Ok(found) => Finding::good(CHECK, found),
        Err((found, remedy)) => Finding::bad(CHECK, found, remedy),
    }
}

fn port(configuration: &Configuration) -> Finding {
    const CHECK: &str = "port";
    let address = configuration.server.listen;
    if let Err(error) = tls::check_exposure(configuration) {
        return Finding::bad(
            CHECK,
            format!("{error:#}"),
            "`docs/tls.md` shows each of these ways",
        );
    }
    match TcpListener::bind(address) {
        Ok(_) => Finding::good(CHECK, format!("{address} is free")),
        Err(error) => Finding::bad(
            CHECK,
            format!("{address}: {error}"),
            "stop the program that listens there (`ss -ltnp` names it), or choose another port with --listen",
        ),
    }
}

fn shown(finding: &Finding) -> String {
    let mark = if finding.ok { "ok  " } else { "FAIL" };
    match &finding.remedy {
        None => format!("{mark} {}: {}", finding.check, finding.found),
        Some(remedy) => format!("{mark} {}: {}\n     {remedy}", finding.check, finding.found),
    }
}
