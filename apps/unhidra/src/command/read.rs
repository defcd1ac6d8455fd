//! `read` and `listen`.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;
use unhidra_client::{Notice, store::Order};
use unhidra_client_native::{Client, ClientError, Event};
use unhidra_types::{Timestamp, UserId};

use super::{
    audit::{Told, tell},
    message::{Names, ShownMessage},
    news::News,
    notices::print_changes,
    opening::{Opening, user_named},
    timeline::Timeline,
    waiting::ShownWaiting,
};
use crate::{
    arguments::Read,
    exit::{Failure, Outcome},
    output::Output,
    progress::Progress,
};

/// How long catching up may take before what is there is printed.
const CATCH_UP: Duration = Duration::from_secs(60);
/// How long receipts may take to leave.
const SETTLE: Duration = Duration::from_secs(5);

/// Catches up, then prints.
pub(crate) async fn read(opening: &Opening, options: &Read, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let mut progress = Progress::begin();
    let caught_up = client
        .sync_and_tell(Instant::now() + CATCH_UP, |new| {
            progress.show(|| format!("catching up: {new} messages"));
        })
        .await;
    drop(progress);
    let only = match &options.from {
        Some(name) => Some(user_named(&mut client, name).await?),
        None => None,
    };
    print_changes(&mut client, output).await?;
    if options.all {
        print_all(&mut client, only, options.limit, output).await?;
    } else {
        print_new(&mut client, only, options.limit, output).await?;
    }
    print_waiting(&mut client, only, output).await?;
    tell_requests(&mut client, output).await?;
    tell(&mut client, output)?;
    // What could not be fetched is said after what is there, and by the exit code.
    caught_up?;
    client.settle(Instant::now() + SETTLE).await?;
    client.close().await;
    Ok(())
}

/// Tells a person who asks, and how to answer.
async fn tell_requests(client: &mut Client, output: Output) -> Outcome {
    let contacts = client.device().contacts().map_err(ClientError::from)?;
    for (user, _) in contacts.iter().filter(|(_, known)| known.contact.is_request()) {
        let name = client.name_of(*user).await?;
        output.progress(&format!(
            "1 request from {name}: answer, or `unhidra contacts accept-request {name}`, or `unhidra contacts block {name}`"
        ));
    }
    Ok(())
}

async fn print_new(
    client: &mut Client,
    only: Option<UserId>,
    limit: Option<usize>,
    output: Output,
) -> Outcome {
    let mut names = Names::required();
    let mut left = limit.unwrap_or(usize::MAX);
    let mut news = News::begin(client, only)?;
    while left > 0 {
        let places = news.next(client, left)?;
        if places.is_empty() {
            break;
        }
        left -= places.len();
        for place in places {
            let found = client
                .device()
                .messages_after(place.conversation, place.seq.saturating_sub(1), 1);
            for message in found.map_err(ClientError::from)? {
                print(client, &mut names, message, output).await?;
            }
        }
        news.remember(client)?;
    }
    Ok(news.remember(client)?)
}

async fn print_all(
    client: &mut Client,
    only: Option<UserId>,
    limit: Option<usize>,
    output: Output,
) -> Outcome {
    let mut names = Names::required();
    let mut timeline = Timeline::begin(client, only, Order::Ascending)?;
    let mut left = limit.unwrap_or(usize::MAX);
    while left > 0
        && let Some(message) = timeline.next(client)?
    {
        left -= 1;
        print(client, &mut names, message, output).await?;
    }
    Ok(())
}

/// Prints what is there and can't be shown, each time, until it can or is forgotten.
async fn print_waiting(client: &mut Client, only: Option<UserId>, output: Output) -> Outcome {
    // Somebody whom only the server has heard of is shown by the id.
    let mut names = Names::by_id_if_unknown();
    for (waiting, state) in client.waiting()? {
        let peer = client.peer_of(waiting.conversation).ok();
        if only.is_none_or(|user| waiting.sender == user || peer == Some(user)) {
            let shown = ShownWaiting::of(client, &mut names, &waiting, state).await?;
            output
                .result(&shown, || shown.line())
                .context("print a message")?;
        }
    }
    Ok(())
}

async fn print(
    client: &mut Client,
    names: &mut Names,
    message: unhidra_client::Message,
    output: Output,
) -> Outcome {
    let shown = ShownMessage::of(client, names, message).await?;
    output
        .result(&shown, || shown.line())
        .context("print a message")?;
    Ok(())
}

/// Prints messages as they come, until interrupted.
pub(crate) async fn listen(opening: &Opening, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let mut news = News::begin(&mut client, None)?;
    let mut names = Names::required();
    client.listen_from(news.after());
    output.progress("Listening; end with Ctrl-C.");
    tell(&mut client, output)?;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let events = tokio::select! {
            events = client.step(Instant::now() + Duration::from_secs(5)) => events?,
            _ = &mut interrupted => break,
        };
        for event in events {
            told(&mut client, &mut news, &mut names, event, output).await?;
        }
    }
    client.close().await;
    Ok(())
}

async fn told(
    client: &mut Client,
    news: &mut News,
    names: &mut Names,
    event: Event,
    output: Output,
) -> Result<(), Failure> {
    match event {
        Event::Message { number, message } => {
            if news.is_wanted(client, number, &message)? {
                print(client, names, *message, output).await?;
            }
            news.printed(client, number)?;
        }
        Event::Disconnected { reason, retry_in } => {
            let when = match retry_in.as_secs() {
                0 => "now".to_owned(),
                seconds => format!("in {seconds} s"),
            };
            output.progress(&format!("{reason}; trying again {when}"));
        }
        Event::Notice(Notice::IdentityChanged(_) | Notice::IdentityReplaced { .. }) => {
            print_changes(client, output).await?;
        }
        Event::Notice(Notice::ListWithheld(user)) => {
            let name = client.name_of(user).await?;
            output.progress(&format!(
                "the server withholds the device list of {name}: nothing is sent to {name} until it shows it"
            ));
        }
        Event::Notice(Notice::EpochOverdue(user)) => {
            let name = client.name_of(user).await?;
            output.progress(&format!(
                "no post-quantum step with a device of {name} has come through for 30 days: a new session is begun"
            ));
        }
        Event::AuditContradicted(evidence) => Told::new(&evidence).say(output)?,
        Event::Notice(Notice::Waiting { .. }) => {
            output.progress("a message could not be opened: its sender is asked for it again");
        }
        Event::Notice(Notice::ServerSetBack) => {
            output.progress("the server was set back to an older state: what it had lost of this device is sent once more");
        }
        Event::Notice(Notice::RolledBack) => {
            output.progress("this profile was set back to an older state: all sessions are begun anew");
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
