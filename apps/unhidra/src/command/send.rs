//! `send`: one message, or every line of a file.

use std::{
    io::{self, BufRead as _, Read as _},
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{sync::mpsc, time::Instant};
use unhidra_client::{MessageKey, Progress};
use unhidra_client_native::{
    Client, ClientError, Event,
    client::{Outgoing, WaitFor},
};
use unhidra_types::{MsgId, UserId, Username, limits::MAX_TEXT_BYTES};

use super::{
    message::state,
    opening::{Opening, user_named},
};
use crate::{
    arguments::{Reach, Send},
    exit::{Exit, Failure, Outcome},
    output::Output,
};

/// Lines sealed in one transaction.
const CHUNK: usize = 64;
/// Lines that wait between the reader of standard input and the sealing.
const READ_AHEAD: usize = 256;
/// Messages that may be unanswered before more are read: far below what the outbox holds.
const MAX_OUTSTANDING: usize = 1_024;
/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Sent {
    msg_id: MsgId,
    to: String,
    state: &'static str,
}

#[derive(Serialize)]
struct SentLines {
    to: String,
    lines: usize,
    new: usize,
    state: &'static str,
}

/// Waits that end when nothing has moved for a while.
struct Patience {
    limit: Duration,
    last_progress: Instant,
    last_shown: Instant,
}

/// Sends a message, or the lines of standard input.
pub(crate) async fn send(opening: &Opening, options: Send, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let peer = user_named(&mut client, &options.user).await?;
    client
        .ready_to_send(peer)
        .await
        .map_err(|error| blocked(error, &options.user))?;
    let name = options.user.to_string();
    if options.lines {
        send_lines(client, peer, name, &options, output).await
    } else {
        send_one(client, peer, name, options, output).await
    }
}

/// Why nothing goes to a user, by the name that was typed.
pub(super) fn blocked(error: ClientError, name: &Username) -> Failure {
    let text = match error {
        ClientError::NoDevice(_) => {
            format!("{name} has no device yet: it can be reached once {name} has logged in on one")
        }
        ClientError::IdentityChanged(_) => {
            format!(
                "{name} has a new identity key: nothing is sent until you compared the digits of `unhidra verify {name}`"
            )
        }
        ClientError::ListWithheld(_) => {
            format!("the server withholds the device list of {name}: nothing is sent until it shows it")
        }
        error => return error.into(),
    };
    Failure {
        exit: Exit::Blocked,
        error: anyhow::anyhow!(text),
    }
}

async fn send_one(mut client: Client, peer: UserId, to: String, options: Send, output: Output) -> Outcome {
    let text = match options.text {
        Some(text) => text,
        None => whole_input()?,
    };
    let outgoing = client.send(peer, vec![(MessageKey::Random, text)])?;
    let mut patience = Patience::new(options.timeout);
    patience.drain(&mut client, 0, output).await?;
    let progress = reach(&mut client, &outgoing, options.wait, options.timeout).await?;
    for (msg_id, progress) in outgoing.ids.iter().zip(progress) {
        let sent = Sent {
            msg_id: *msg_id,
            to: to.clone(),
            state: state(progress),
        };
        output
            .result(&sent, || format!("{} to {}", sent.state, sent.to))
            .context("print the result")?;
    }
    client.close().await;
    Ok(())
}

async fn send_lines(mut client: Client, peer: UserId, to: String, options: &Send, output: Output) -> Outcome {
    let (lines, mut input) = mpsc::channel(READ_AHEAD);
    let reader = tokio::task::spawn_blocking(move || read_lines(&lines));
    let mut patience = Patience::new(options.timeout);
    let mut batches: Vec<Outgoing> = Vec::new();
    let (mut count, mut new) = (0_usize, 0_usize);
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        chunk.clear();
        if input.recv_many(&mut chunk, CHUNK).await == 0 {
            break;
        }
        let texts = chunk.drain(..).zip(count..).map(|(text, line)| {
            let key = match &options.batch {
                Some(name) => MessageKey::Batch {
                    name,
                    line: u64::try_from(line).unwrap_or(u64::MAX),
                },
                None => MessageKey::Random,
            };
            (key, text)
        });
        let outgoing = client.send(peer, texts.collect())?;
        count += outgoing.ids.len();
        new += outgoing.new;
        if options.wait == Reach::Delivered {
            batches.push(outgoing);
        }
        patience.drain(&mut client, MAX_OUTSTANDING, output).await?;
    }
    // A line that can't be sent ends the reading; what came before it is sent.
    let ended = reader.await.context("read standard input")?;
    patience.drain(&mut client, 0, output).await?;
    for outgoing in &batches {
        reach(&mut client, outgoing, Reach::Delivered, options.timeout).await?;
    }
    ended?;
    let state = if options.wait == Reach::Delivered {
        "delivered"
    } else {
        "sent"
    };
    let sent = SentLines {
        to,
        lines: count,
        new,
        state,
    };
    output
        .result(&sent, || {
            format!("{} of {} lines {} to {}", sent.lines, count, sent.state, sent.to)
        })
        .context("print the result")?;
    client.close().await;
    Ok(())
}

async fn reach(
    client: &mut Client,
    outgoing: &Outgoing,
    wait: Reach,
    timeout: Duration,
) -> Result<Vec<Progress>, Failure> {
    let wait = match wait {
        Reach::Sent => WaitFor::Sent,
        Reach::Delivered => WaitFor::Delivered,
    };
    let progress = client
        .wait(
            outgoing.conversation,
            &outgoing.ids,
            wait,
            Instant::now() + timeout,
        )
        .await?;
    match progress.iter().find_map(|progress| match progress {
        Progress::Failed(reason) => Some(reason),
        _ => None,
    }) {
        Some(reason) => Err(Failure {
            exit: Exit::Failed,
            error: anyhow::anyhow!("a message could not be sent: {reason}"),
        }),
        None => Ok(progress),
    }
}

fn whole_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(MAX_TEXT_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    io::stdin()
        .lock()
        .take(bound)
        .read_to_end(&mut bytes)
        .context("read standard input")?;
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(too_long("the message"));
    }
    String::from_utf8(bytes).map_err(|_| not_text("standard input"))
}

/// Reads lines until the input or the receiver ends.
fn read_lines(lines: &mpsc::Sender<String>) -> Result<(), Failure> {
    let mut input = io::stdin().lock();
    for number in 1_u64.. {
        let mut line = Vec::new();
        let bound = u64::try_from(MAX_TEXT_BYTES)
            .unwrap_or(u64::MAX)
            .saturating_add(2);
        let read = (&mut input)
            .take(bound)
            .read_until(b'\n', &mut line)
            .context("read standard input")?;
        if read == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.len() > MAX_TEXT_BYTES {
            return Err(too_long(&format!("line {number}")));
        }
        let line = String::from_utf8(line).map_err(|_| not_text(&format!("line {number}")))?;
        if lines.blocking_send(line).is_err() {
            break;
        }
    }
    Ok(())
}

fn too_long(what: &str) -> Failure {
    let error = anyhow::anyhow!("{what} is longer than {MAX_TEXT_BYTES} bytes: send it in parts");
    Failure {
        exit: Exit::Input,
        error,
    }
}

fn not_text(what: &str) -> Failure {
    Failure {
        exit: Exit::Input,
        error: anyhow::anyhow!("{what} is not UTF-8 text: convert it, for example with iconv"),
    }
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            last_progress: Instant::now(),
            last_shown: Instant::now(),
        }
    }

    /// Drives the client until at most `most` of its messages are unanswered.
    async fn drain(&mut self, client: &mut Client, most: usize, output: Output) -> Outcome {
        self.last_progress = Instant::now();
        let mut before = client.outstanding();
        let mut unreachable = None;
        while client.outstanding() > most {
            for event in client.step(Instant::now() + SHOW_EVERY).await? {
                match event {
                    Event::Disconnected { reason, .. } => unreachable = Some(reason),
                    Event::Connected => unreachable = None,
                    Event::Trouble(error) => tracing::debug!(error = %error, "the server is asked again"),
                    _ => {}
                }
            }
            let now = client.outstanding();
            if now < before {
                self.last_progress = Instant::now();
            }
            before = now;
            if self.last_progress.elapsed() > self.limit {
                return Err(gave_up(unreachable, now));
            }
            if self.last_shown.elapsed() > SHOW_EVERY && now > 0 {
                self.last_shown = Instant::now();
                output.progress(&format!("{now} messages on their way"));
            }
        }
        Ok(())
    }
}

fn gave_up(unreachable: Option<unhidra_client_native::ClientError>, queued: usize) -> Failure {
    match unreachable {
        Some(reason) => reason.into(),
        None => Failure {
            exit: Exit::TimedOut,
            error: anyhow::anyhow!(
                "timed out with {queued} messages queued: the next command that connects sends them"
            ),
        },
    }
}
