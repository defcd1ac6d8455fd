//! Changes of identities, as `read` and `listen` tell them: each once, in the order in which the device learnt of them.

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client::{ChangeKind, IdentityChange};
use unhidra_client_native::{Client, ClientError};
use unhidra_types::{Timestamp, Username};
use unhidra_wire::base64::Base64Array;

use super::read::shown_time;
use crate::{exit::Outcome, output::Output};

/// Changes looked up at once.
const PAGE: usize = 64;
/// The mark that says how far they were printed.
const MARK: &str = "printed identity changes";

/// One change, in the form that `docs/cli.md` promises.
#[derive(Serialize)]
struct Notice {
    notice: &'static str,
    user: Username,
    at: Timestamp,
    old_key: Base64Array<32>,
    new_key: Base64Array<32>,
    was_verified: bool,
    unsent: u32,
}

/// Prints what is new.
pub(super) async fn print_changes(client: &mut Client, output: Output) -> Outcome {
    let mut after = client.mark(MARK)?.unwrap_or(0);
    loop {
        let page = client
            .device()
            .identity_changes(after, PAGE)
            .map_err(ClientError::from)?;
        if page.is_empty() {
            return Ok(());
        }
        for (number, change) in page {
            print(client, &change, output).await?;
            after = number;
            client.set_mark(MARK, after)?;
        }
    }
}

/// Says what is new to a person whose command is about something else; `read` tells it for good.
pub(super) async fn tell_changes(client: &mut Client, output: Output) -> Outcome {
    let after = client.mark(MARK)?.unwrap_or(0);
    let news = client
        .device()
        .identity_changes(after, PAGE)
        .map_err(ClientError::from)?;
    for (place, (_, change)) in news.iter().enumerate() {
        // What was accepted since stops nothing any more, and would only confuse.
        let is_over = |later: &IdentityChange| {
            later.user == change.user && later.kind == ChangeKind::Accepted && later.to == change.to
        };
        if change.kind == ChangeKind::Accepted {
            continue;
        }
        if change.kind == ChangeKind::Shown && news.iter().skip(place).any(|(_, later)| is_over(later)) {
            continue;
        }
        let own = change.user == client.account().user_id;
        let notice = named(client, change).await?;
        output.progress(&text(&notice, own));
    }
    Ok(())
}

async fn print(client: &mut Client, change: &IdentityChange, output: Output) -> Outcome {
    let own = change.user == client.account().user_id;
    let notice = named(client, change).await?;
    output
        .result(&notice, || {
            format!("{}  ! {}", shown_time(change.at), text(&notice, own))
        })
        .context("print a notice")?;
    Ok(())
}

async fn named(client: &mut Client, change: &IdentityChange) -> Result<Notice, ClientError> {
    Ok(Notice {
        notice: match change.kind {
            ChangeKind::Shown => "identity-changed",
            ChangeKind::Rotated => "identity-rotated",
            ChangeKind::Renewed => "identity-renewed",
            ChangeKind::Accepted => "identity-accepted",
        },
        user: client.name_of(change.user).await?,
        at: change.at,
        old_key: Base64Array(change.from),
        new_key: Base64Array(change.to),
        was_verified: change.was_verified,
        unsent: change.unsent,
    })
}

fn text(notice: &Notice, own: bool) -> String {
    let user = &notice.user;
    let said = match (notice.notice, own) {
        ("identity-changed", true) => {
            "the server shows another identity for your own account: nothing is sent. Whoever reset it knows your \
             password"
                .to_owned()
        }
        ("identity-rotated", true) => "the account's identity key was replaced".to_owned(),
        ("identity-changed", false) => format!(
            "the server shows another identity key for {user}: nothing is sent to {user} until you compare the digits \
             and run `unhidra contacts accept {user}`"
        ),
        ("identity-rotated", false) => format!(
            "{user} has replaced the identity key, signed by the one before{}: `unhidra verify {user}` shows the new \
             digits",
            if notice.was_verified { ", and is not verified any more" } else { "" }
        ),
        ("identity-accepted", _) => format!("you have accepted the new identity of {user}"),
        _ => format!("{user} goes on under the same identity key with a new device list"),
    };
    match notice.unsent {
        0 => said,
        1 => format!("{said}. 1 queued message was not sent: `unhidra contacts unsent {user}`"),
        many => format!("{said}. {many} queued messages were not sent: `unhidra contacts unsent {user}`"),
    }
}
