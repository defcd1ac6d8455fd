//! `logout` and `whoami`.

use anyhow::Context as _;
use serde::Serialize;

use unhidra_client_native::ClientError;

use super::{admin::role_name, opening::Opening};
use crate::{
    exit::{Exit, Failure, Outcome},
    output::Output,
};

/// Ends this session; the keys stay.
pub(crate) async fn logout(opening: &Opening, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct LoggedOut {
        logged_out: bool,
        server_told: bool,
    }
    let mut client = opening.client()?;
    let told = match client.log_out().await {
        Err(ClientError::Rest(error)) => Err(error),
        told => {
            told?;
            Ok(())
        }
    };
    let logged_out = LoggedOut {
        logged_out: true,
        server_told: told.is_ok(),
    };
    output
        .result(&logged_out, || {
            "Logged out; the keys stay on this device.".to_owned()
        })
        .context("print the result")?;
    told.map_err(|error| Failure {
        exit: Exit::Unreachable,
        error: anyhow::anyhow!(
            "the server could not be told ({error}): the session there ends by itself after 30 days without use, or at \
             the next login of this profile"
        ),
    })
}

/// Shows who this session is.
pub(crate) async fn whoami(opening: &Opening, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let me = client.me().await?;
    output
        .result(&me, || {
            format!(
                "{} ({})\nrole    {}\ndevice  {}\nsession {}",
                me.username,
                me.user_id,
                role_name(me.role),
                me.device_id,
                me.session_id
            )
        })
        .context("print the result")?;
    Ok(())
}
