//! `logout` and `whoami`.

use anyhow::Context as _;
use serde::Serialize;

use super::opening::Opening;
use crate::{exit::Outcome, output::Output};

/// Ends this session; the keys stay.
pub(crate) async fn logout(opening: &Opening, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct LoggedOut {
        logged_out: bool,
    }
    let mut client = opening.client()?;
    client.log_out().await?;
    output
        .result(&LoggedOut { logged_out: true }, || {
            "Logged out; the keys stay on this device.".to_owned()
        })
        .context("print the result")?;
    Ok(())
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
                serde_json::to_value(me.role)
                    .unwrap_or_default()
                    .as_str()
                    .unwrap_or_default(),
                me.device_id,
                me.session_id
            )
        })
        .context("print the result")?;
    Ok(())
}
