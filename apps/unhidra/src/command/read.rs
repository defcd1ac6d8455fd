//! `read` and `listen`.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;
use unhidra_client::Notice;
use unhidra_client_native::{Client, ClientError, Event};
use unhidra_types::{Timestamp, UserId};

use super::{
    message::ShownMessage,
    opening::{Opening, user_named},
};
use crate::{
    arguments::Read,
    exit::{Failure, Outcome},
    output::Output,
};

/// How long catching up may take before what is there is printed.
const CATCH_UP: Duration = Duration::from_secs(60);
/// How long receipts may take to leave.
const SETTLE: Duration = Duration::from_secs(5);
/// Messages looked up at once.
const PAGE: usize = 256;
/// The mark that says how far this profile's messages were printed.
const MARK: &str = "printed";

/// Catches up, then prints.
pub(crate) async fn read(opening: &Opening, options: &Read, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let caught_up = client.sync_until_caught_up(Instant::now() + CATCH_UP).await;
    let only = match &options.from {
        Some(name) => Some(user_named(&mut client, name).await?),
        None => None,
    };
    if options.all {
        print_all(&mut client, only, options.limit, output).await?;
    } else {
        print_new(&mut client, only, options.limit, output).await?;
    }
    // What could not be fetched is said after what is there, and by the exit code.
    caught_up?;
    client.settle(Instant::now() + SETTLE).await?;
    client.close().await;
    Ok(())
}

async fn print_new(
    client: &mut Client,
    only: Option<UserId>,
    limit: Option<usize>,
    output: Output,
) -> Outcome {
    let mut left = limit.unwrap_or(usize::MAX);
    let mut after = client.mark(MARK)?.unwrap_or(0);
    while left > 0 {
        let page = client
            .device()
            .journal(after, PAGE.min(left))
            .map_err(ClientError::from)?;
        if page.is_empty() {
            return Ok(());
        }
        for (number, message) in page {
            if is_wanted(client, &message, only)? {
                print(client, message, output).await?;
                left -= 1;
            }
            after = number;
        }
        if only.is_none() {
            client.set_mark(MARK, after)?;
        }
    }
    Ok(())
}

async fn print_all(
    client: &mut Client,
    only: Option<UserId>,
    limit: Option<usize>,
    output: Output,
) -> Outcome {
    let mut left = limit.unwrap_or(usize::MAX);
    for conversation in client.device().conversations().map_err(ClientError::from)? {
        if only.is_some_and(|peer| peer != conversation.peer) {
            continue;
        }
        let mut after = 0;
        while left > 0 {
            let page = client
                .device()
                .messages_after(conversation.id, after, PAGE.min(left))
                .map_err(ClientError::from)?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            left -= page.len();
            for message in page {
                print(client, message, output).await?;
            }
        }
    }
    Ok(())
}

fn is_wanted(
    client: &mut Client,
    message: &unhidra_client::Message,
    only: Option<UserId>,
) -> Result<bool, ClientError> {
    // What was typed on this device is not news here.
    Ok(message.sender_device != client.device_id()
        && match only {
            None => true,
            Some(peer) => client.peer_of(message.conversation)? == peer,
        })
}

async fn print(client: &mut Client, message: unhidra_client::Message, output: Output) -> Outcome {
    let shown = ShownMessage::of(client, message).await?;
    output
        .result(&shown, || shown.line())
        .context("print a message")?;
    Ok(())
}

/// Prints messages as they come, until interrupted.
pub(crate) async fn listen(opening: &Opening, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let after = client.mark(MARK)?.unwrap_or(0);
    client.listen_from(after);
    output.progress("Listening; end with Ctrl-C.");
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let events = tokio::select! {
            events = client.step(Instant::now() + Duration::from_secs(5)) => events?,
            _ = &mut interrupted => break,
        };
        for event in events {
            told(&mut client, event, output).await?;
        }
    }
    client.close().await;
    Ok(())
}

async fn told(client: &mut Client, event: Event, output: Output) -> Result<(), Failure> {
    match event {
        Event::Message { number, message } => {
            if is_wanted(client, &message, None)? {
                print(client, *message, output).await?;
            }
            client.set_mark(MARK, number)?;
        }
        Event::Disconnected { reason, retry_in } => {
            output.progress(&format!("{reason}; trying again in {} s", retry_in.as_secs()));
        }
        Event::Notice(Notice::IdentityChanged(user)) => {
            let name = client.name_of(user).await?;
            output.progress(&format!(
                "{name} has a new identity key: nothing is sent to {name} until you accept it"
            ));
        }
        Event::Notice(Notice::ListWithheld(user)) => {
            let name = client.name_of(user).await?;
            output.progress(&format!(
                "the server withholds the device list of {name}: nothing is sent to {name} until it shows it"
            ));
        }
        Event::Connected | Event::Notice(_) | Event::Trouble(_) => {}
        _ => {}
    }
    Ok(())
}

/// A time as people read it: UTC, to the second.
pub(crate) fn shown_time(time: Timestamp) -> String {
    let seconds = i64::try_from(time.as_millis() / 1_000).unwrap_or(i64::MAX);
    let Ok(time) = time::OffsetDateTime::from_unix_timestamp(seconds) else {
        return "-".to_owned();
    };
    let (date, clock) = (time.date(), time.time());
    format!(
        "{date} {:02}:{:02}:{:02}Z",
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}
