//! `prune`: throws old messages of this device away. Other devices and the other user keep theirs.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client_native::{Client, ClientError};
use unhidra_runtime::Clock;
use unhidra_types::{Timestamp, UserId};

use super::{
    enrol::asked,
    opening::{Opening, user_named},
    read::shown_time,
};
use crate::{
    arguments::Prune,
    exit::{Exit, Failure, Outcome},
    output::Output,
    progress::Progress,
};

/// Messages deleted, and rows of the journal looked at, in one transaction.
const STEP: usize = 512;

/// Deletes messages that the server took before a point in time.
pub(crate) async fn prune(opening: &Opening, options: Prune, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Pruned {
        deleted: usize,
        before: Timestamp,
    }
    let before = options.before.before(Clock::System.context().now);
    let mut client = opening.client()?;
    let only = match &options.user {
        Some(name) => Some(user_named(&mut client, name).await?),
        None => None,
    };
    if !options.yes {
        may_delete(before)?;
    }
    let deleted = delete(&mut client, only, before)?;
    output
        .result(&Pruned { deleted, before }, || {
            format!("{deleted} messages from before {} are gone.", shown_time(before))
        })
        .context("print the result")?;
    Ok(())
}

fn may_delete(before: Timestamp) -> Outcome {
    let (exit, text) = if !std::io::stdin().is_terminal() {
        (Exit::Usage, "there is no terminal to ask on: add --yes to delete")
    } else if asked(&format!(
        "Delete every message from before {} on this device, for good?",
        shown_time(before)
    ))? {
        return Ok(());
    } else {
        (Exit::Failed, "nothing was deleted")
    };
    Err(Failure {
        exit,
        error: anyhow::anyhow!(text),
    })
}

fn delete(client: &mut Client, only: Option<UserId>, before: Timestamp) -> Result<usize, ClientError> {
    let mut progress = Progress::begin();
    let mut deleted = 0;
    for conversation in client.device().conversations()? {
        if only.is_some_and(|peer| peer != conversation.peer) {
            continue;
        }
        loop {
            let now = client.device().prune(conversation.id, before, STEP)?;
            deleted += now;
            progress.show(|| format!("{deleted} messages deleted"));
            if now < STEP {
                break;
            }
        }
    }
    let mut after = 0;
    while let Some(last) = client.device().prune_journal(after, STEP)? {
        after = last;
        progress.show(|| "tidying up".to_owned());
    }
    Ok(deleted)
}
