//! `backup` and `restore`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use unhidra_runtime::Clock;
use unhidra_types::Timestamp;

use super::serve::{program, quoted};
use crate::{
    arguments::{Backup, Restore},
    backup::{MIB, archive::Manifest, make::make, restore},
    configuration,
    exit::{Exit, Failure, OrExit as _, Outcome},
    output::Output,
};

#[derive(Serialize)]
struct BackedUp<'a> {
    backup: &'a Path,
    sha256: &'a str,
    bytes: u64,
    #[serde(flatten)]
    manifest: &'a Manifest,
}

#[derive(Serialize)]
struct Restored<'a> {
    restored: &'a Path,
    made_at: Timestamp,
    program: &'a str,
    conversations: usize,
    sessions: usize,
}

/// Copies a server's data into one file.
pub(crate) fn backup(options: &Backup, output: Output) -> Outcome {
    let configuration = configuration::load(&options.server.clone().into()).or_exit(Exit::Configuration)?;
    let now = Clock::System.context().now;
    let file = target(&options.out, now)?;
    let made = make(&configuration, &file, now, |text| output.progress(text)).or_exit(Exit::Configuration)?;
    let result = BackedUp {
        backup: &made.file,
        sha256: &made.sha256,
        bytes: made.manifest.bytes(),
        manifest: &made.manifest,
    };
    output
        .result(&result, || {
            format!(
                "{} has {} files, {} MiB, of schema {}, read back and whole\nsha256 {}",
                made.file.display(),
                made.manifest.parts.len(),
                made.manifest.bytes() / MIB,
                made.manifest.schema,
                made.sha256
            )
        })
        .context("print the result")?;
    for file in &made.manifest.outside {
        output.progress(&format!(
            "{file} lies outside of the data folder and is not in it: keep a copy of your own"
        ));
    }
    Ok(())
}

/// The new file that is meant: `out`, or one named by the time in the folder `out`.
fn target(out: &Path, now: Timestamp) -> Result<PathBuf, Failure> {
    let file = if out.is_dir() {
        out.join(format!("unhidra-{}.tar", stamp(now)))
    } else {
        out.to_owned()
    };
    if file.exists() {
        return Err(Failure {
            exit: Exit::Usage,
            error: anyhow::anyhow!(
                "{} is there already: name a new file or a folder with --out",
                file.display()
            ),
        });
    }
    Ok(file)
}

/// As in `20261121T155907Z`.
fn stamp(now: Timestamp) -> String {
    super::read::shown_time(now)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == ' ')
        .map(|c| if c == ' ' { 'T' } else { c })
        .collect()
}

/// Restores a backup into an empty data folder, or only looks at it.
pub(crate) async fn restore(options: &Restore, output: Output) -> Outcome {
    let manifest = restore::check(&options.file).or_exit(Exit::Input)?;
    if options.check {
        output
            .result(&manifest, || described(&manifest))
            .context("print the result")?;
        return Ok(());
    }
    let configuration = configuration::load(&options.server.clone().into()).or_exit(Exit::Configuration)?;
    let context = Clock::System.context();
    let tell = |text: &str| output.progress(text);
    let resumed = restore::restore(&configuration, &options.file, &manifest, &context, tell)
        .await
        .or_exit(Exit::Configuration)?;
    let data = &configuration.server.data;
    let result = Restored {
        restored: data,
        made_at: manifest.made_at,
        program: &manifest.program,
        conversations: resumed.logs,
        sessions: resumed.sessions,
    };
    output
        .result(&result, || {
            format!(
                "{} holds the server of {} again",
                data.display(),
                super::read::shown_time(manifest.made_at)
            )
        })
        .context("print the result")?;
    for file in &manifest.outside {
        output.progress(&format!("{file} was not in the backup: put your own copy there"));
    }
    output.progress(&format!(
        "Start it with\n  {} serve --data {}\nRevocations, log-outs and used invitations since then are undone: repeat them (docs/operations.md).",
        program(),
        quoted(data)
    ));
    Ok(())
}

fn described(manifest: &Manifest) -> String {
    let mut text = format!(
        "made {} by version {}, schema {}, {} audit records, whole",
        super::read::shown_time(manifest.made_at),
        manifest.program,
        manifest.schema,
        manifest.audit_records
    );
    for part in &manifest.parts {
        text.push_str(&format!("\n{:>12}  {}", part.bytes, part.name));
    }
    text
}
