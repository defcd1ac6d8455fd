//! `audit`: the tamper-evident log, exported, checked, proved, searched and watched.

mod export;
mod read;
mod verify;
mod watch;

use std::{fs, path::Path};

use anyhow::Context as _;

pub(crate) use self::watch::{Told, tell};
use super::opening::Opening;
use crate::{
    arguments::audit::Audit,
    exit::{Exit, Failure, OrExit as _, Outcome},
    output::Output,
};

/// Runs one of the commands; only those that ask a server open a profile.
pub(crate) async fn audit(
    opening: impl FnOnce() -> Result<Opening, Failure>,
    options: Audit,
    output: Output,
) -> Outcome {
    match options {
        Audit::Export { out } => export::export(&opening()?, out.as_deref(), output).await,
        Audit::Verify(options) => verify::verify(&options, output),
        Audit::Prove { number, out } => read::prove(&opening()?, number, out.as_deref(), output).await,
        Audit::VerifyProof { file, key } => verify::verify_proof(&file, &key, output),
        Audit::Search(options) => read::search(&opening()?, options, output).await,
        Audit::Heads { out } => watch::heads(&opening()?, out.as_deref(), output).await,
        Audit::AcceptRestore => watch::accept(&opening()?, output).await,
        Audit::Key => read::key(&opening()?, output).await,
        Audit::Erase { number } => read::erase(&opening()?, number, output).await,
    }
}

/// Writes `text` and a line feed to a file.
fn save(path: &Path, text: &str) -> Outcome {
    fs::write(path, format!("{text}\n"))
        .with_context(|| format!("write {}", path.display()))
        .or_exit(Exit::Failed)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
