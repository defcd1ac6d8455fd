//! `account delete` and `sessions`.

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client_native::client::Whose;
use unhidra_types::{SessionId, UserId};
use unhidra_wire::rest::{Hidden, Session};

use super::{
    enrol::{Repeat, confirmed, password},
    opening::Opening,
    read::shown_time,
};
use crate::{
    arguments::{DeleteAccount, Sessions},
    exit::{Exit, Failure, Outcome},
    output::Output,
};

/// Deletes the account for good.
pub(crate) async fn delete(opening: &Opening, options: DeleteAccount, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Deleted {
        deleted: UserId,
    }
    let mut client = opening.client()?;
    let (name, user) = (client.account().username.clone(), client.account().user_id);
    let question = format!("Delete the account {name} with all its devices, for good?");
    if !options.yes && !confirmed(&question)? {
        return Err(Failure {
            exit: Exit::Failed,
            error: anyhow::anyhow!("nothing was deleted"),
        });
    }
    let password = password(options.password_file.as_deref(), Repeat::No)?;
    client.delete_account(Hidden::new(password.to_string())).await?;
    output
        .result(&Deleted { deleted: user }, || {
            format!(
                "Deleted the account {name}; nobody gets the name again.\n\
                 What this device has stays readable here: delete the profile's folder to be rid of it."
            )
        })
        .context("print the result")?;
    Ok(())
}

/// Lists or ends the account's own sessions.
pub(crate) async fn sessions(opening: &Opening, command: Sessions, output: Output) -> Outcome {
    let mut client = opening.client()?;
    match command {
        Sessions::List => list(output, &client.sessions(Whose::Own).await?),
        Sessions::End { session } => {
            client.end_session(session).await?;
            ended(output, session)
        }
    }
}

pub(super) fn list(output: Output, sessions: &[Session]) -> Outcome {
    output
        .list(
            ["SESSION", "USER", "DEVICE", "BEGAN", "RENEWED"],
            sessions,
            |session| {
                [
                    session.session_id.to_string(),
                    session.username.to_string(),
                    session.device_name.clone(),
                    shown_time(session.created_at),
                    shown_time(session.refreshed_at),
                ]
            },
        )
        .context("print the sessions")?;
    Ok(())
}

pub(super) fn ended(output: Output, session: SessionId) -> Outcome {
    #[derive(Serialize)]
    struct Ended {
        ended: SessionId,
    }
    output
        .result(&Ended { ended: session }, || format!("Ended {session}."))
        .context("print the result")?;
    Ok(())
}
