//! `contacts`: other people, their identities and requests.

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client::{Blocking, MessageKey};
use unhidra_client_native::{Client, ClientError, client::WaitFor};
use unhidra_types::{MsgId, Timestamp, UserId, Username};

use super::{
    enrol::compared,
    opening::{Opening, by_name, user_named},
    read::shown_time,
    verify::in_rows,
};
use crate::{
    arguments::Contacts,
    exit::{Exit, Failure, Outcome},
    output::{Output, printable},
};

/// How long sending anew may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Runs one of the commands.
pub(crate) async fn run(opening: &Opening, command: Contacts, output: Output) -> Outcome {
    let mut client = opening.client()?;
    match command {
        Contacts::List => list(&mut client, output).await,
        Contacts::Accept { user, digits, yes } => {
            accept(&mut client, user, digits.as_deref(), yes, output).await
        }
        Contacts::Requests => requests(&mut client, output).await,
        Contacts::AcceptRequest { user } => accept_request(client, user, output).await,
        Contacts::Block { user } => block(&mut client, user, Blocking::Blocked, output).await,
        Contacts::Unblock { user } => block(&mut client, user, Blocking::Allowed, output).await,
        Contacts::Unsent { user, send, forget } => {
            let fate = match (send, forget) {
                (true, _) => Fate::Send,
                (_, true) => Fate::Forget,
                _ => Fate::Keep,
            };
            unsent(client, user, fate, output).await
        }
    }
}

#[derive(Serialize)]
struct Listed {
    user: Username,
    verified: bool,
    blocked: bool,
    request: bool,
    identity_changed: bool,
}

async fn list(client: &mut Client, output: Output) -> Outcome {
    for (user, known) in client.device().contacts().map_err(ClientError::from)? {
        let listed = Listed {
            user: client.name_of(user).await?,
            verified: known.verified,
            blocked: known.contact.blocked,
            request: known.contact.is_request(),
            identity_changed: known.changed,
        };
        output
            .result(&listed, || {
                let marks = [
                    (listed.verified, "verified"),
                    (listed.identity_changed, "identity changed"),
                    (listed.request, "asks"),
                    (listed.blocked, "blocked"),
                ];
                let marks: Vec<_> = marks
                    .iter()
                    .filter(|(is, _)| *is)
                    .map(|(_, mark)| *mark)
                    .collect();
                format!("{}  {}", listed.user, marks.join(", "))
                    .trim_end()
                    .to_owned()
            })
            .context("print a contact")?;
    }
    Ok(())
}

async fn accept(
    client: &mut Client,
    user: Username,
    digits: Option<&str>,
    yes: bool,
    output: Output,
) -> Outcome {
    #[derive(Serialize)]
    struct Accepted<'a> {
        user: &'a Username,
        old_digits: String,
        new_digits: String,
        accepted: bool,
    }
    let peer = user_named(client, &user).await?;
    let changed = client.changed_identity(peer).await;
    let Some((old, new)) = changed.map_err(|error| by_name(error, &user))? else {
        return Err(Failure {
            exit: Exit::NotFound,
            error: anyhow::anyhow!("the identity of {user} has not changed: there is nothing to accept"),
        });
    };
    if !yes {
        output.progress(&format!(
            "The identity of {user} has changed. Digits until now:\n{}\nDigits that the server shows now:\n{}",
            in_rows(&old.to_string()),
            in_rows(&new.to_string())
        ));
    }
    if let Some(digits) = digits
        && !same_digits(digits, &new.to_string())
    {
        return Err(Failure {
            exit: Exit::Blocked,
            error: anyhow::anyhow!(
                "these are not the digits that the server shows for {user}: someone may be in between; nothing was \
                 accepted"
            ),
        });
    }
    let question = format!("Has {user} read out the new digits to you, over another channel?");
    if !yes && !compared(&question)? {
        return Err(Failure {
            exit: Exit::Blocked,
            error: anyhow::anyhow!("nothing was accepted, and nothing is sent to {user}"),
        });
    }
    let accepted = client.accept_identity(peer, &new).await;
    accepted.map_err(|error| by_name(error, &user))?;
    let accepted = Accepted {
        user: &user,
        old_digits: old.to_string(),
        new_digits: new.to_string(),
        accepted: true,
    };
    output
        .result(&accepted, || {
            format!("Accepted the new identity of {user}. What was queued for the old one was not sent.")
        })
        .context("print the result")?;
    if !client
        .device()
        .unsent_texts(peer)
        .map_err(ClientError::from)?
        .is_empty()
    {
        output.progress(&format!(
            "`unhidra contacts unsent {user}` shows what was not sent."
        ));
    }
    Ok(())
}

fn same_digits(typed: &str, shown: &str) -> bool {
    let digits = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    digits(typed) == digits(shown)
}

#[derive(Serialize)]
struct Request {
    user: Username,
    since: Option<Timestamp>,
    messages: usize,
}

async fn requests(client: &mut Client, output: Output) -> Outcome {
    let own = client.account().user_id;
    for (user, known) in client.device().contacts().map_err(ClientError::from)? {
        if !known.contact.is_request() {
            continue;
        }
        let log = unhidra_client::direct_conversation(own, user);
        let messages = client.device().messages_after(log, 0, usize::MAX);
        let request = Request {
            user: client.name_of(user).await?,
            since: known.contact.requested_at,
            messages: messages.map_err(ClientError::from)?.len(),
        };
        output
            .result(&request, || {
                let since = request.since.map_or_else(String::new, shown_time);
                let messages = match request.messages {
                    1 => "1 message".to_owned(),
                    many => format!("{many} messages"),
                };
                format!("{}  {messages} since {since}", request.user)
            })
            .context("print a request")?;
    }
    Ok(())
}

async fn accept_request(mut client: Client, user: Username, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Accepted<'a> {
        user: &'a Username,
        accepted: bool,
    }
    let peer = user_named(&mut client, &user).await?;
    if !client.accept_request(peer)? {
        return Err(Failure {
            exit: Exit::NotFound,
            error: anyhow::anyhow!("{user} does not ask: `unhidra contacts requests` names who does"),
        });
    }
    let accepted = Accepted {
        user: &user,
        accepted: true,
    };
    output
        .result(&accepted, || {
            format!("Accepted; {user} gets receipts from now on.")
        })
        .context("print the result")?;
    // The receipts that were withheld leave now, or with the next command that connects.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    if client.connect().await.is_ok() {
        client.settle(deadline).await?;
    }
    client.close().await;
    Ok(())
}

async fn block(client: &mut Client, user: Username, blocking: Blocking, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Blocked<'a> {
        user: &'a Username,
        blocked: bool,
    }
    let peer = user_named(client, &user).await?;
    if peer == client.account().user_id {
        return Err(Failure {
            exit: Exit::Usage,
            error: anyhow::anyhow!("you can't block yourself"),
        });
    }
    client.set_blocked(peer, blocking)?;
    let blocked = Blocked {
        user: &user,
        blocked: blocking == Blocking::Blocked,
    };
    output
        .result(&blocked, || match blocking {
            Blocking::Blocked => format!("Blocked {user} on this device; {user} is not told."),
            Blocking::Allowed => format!("{user} can write to you again."),
        })
        .context("print the result")?;
    Ok(())
}

/// What becomes of texts that were not sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Send,
    Forget,
}

async fn unsent(mut client: Client, user: Username, fate: Fate, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Unsent<'a> {
        msg_id: MsgId,
        to: &'a Username,
        text: &'a str,
        state: &'static str,
    }
    let peer = user_named(&mut client, &user).await?;
    let texts = client.device().unsent_texts(peer).map_err(ClientError::from)?;
    if fate == Fate::Send && !texts.is_empty() {
        send_anew(&mut client, peer, &user, &texts).await?;
    }
    let state = match fate {
        Fate::Keep => "failed",
        Fate::Send => "sent",
        Fate::Forget => "forgotten",
    };
    for (msg_id, text) in &texts {
        let unsent = Unsent {
            msg_id: *msg_id,
            to: &user,
            text,
            state,
        };
        output
            .result(&unsent, || {
                format!("{state}  {}", printable(text).replace('\n', "\n    "))
            })
            .context("print a text")?;
    }
    if fate != Fate::Keep {
        let ids: Vec<_> = texts.iter().map(|(id, _)| *id).collect();
        client
            .device()
            .forget_unsent(peer, &ids)
            .map_err(ClientError::from)?;
    }
    client.close().await;
    Ok(())
}

async fn send_anew(
    client: &mut Client,
    peer: UserId,
    user: &Username,
    texts: &[(MsgId, String)],
) -> Result<(), Failure> {
    let ready = client.ready_to_send(peer).await;
    ready.map_err(|error| by_name(error, user))?;
    let anew = texts.iter().map(|(_, text)| (MessageKey::Random, text.clone()));
    let outgoing = client.send(peer, anew.collect())?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    client
        .wait(outgoing.conversation, &outgoing.ids, WaitFor::Sent, deadline)
        .await?;
    Ok(())
}
