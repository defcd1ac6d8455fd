//! `send`: one message, or every line of a file.

use std::{
    io::{self, BufRead as _, Read as _},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use unhidra_client::{MessageKey, Progress as Reached};
use unhidra_client_native::{
    Client, Event,
    client::{Outgoing, WaitFor},
};
use unhidra_types::{MsgId, UserId, limits::MAX_TEXT_BYTES};

use super::{
    audit::tell,
    message::state,
    opening::{Opening, by_name, user_named},
};
use crate::{
    arguments::{Reach, Send},
    exit::{Exit, Failure, Outcome},
    output::Output,
    progress::Progress,
};

/// Lines sealed in one transaction.
const CHUNK: usize = 64;
/// Lines that wait between the reader of standard input and the sealing.
const READ_AHEAD: usize = 256;
/// Messages that may be unanswered before more are read: far below what the outbox holds.
const MAX_OUTSTANDING: usize = 1_024;
/// How often the wait looks up.
const TURN: Duration = Duration::from_secs(1);

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
    progress: Progress,
}

/// Sends a message, or the lines of standard input.
pub(crate) async fn send(opening: &Opening, options: Send, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let peer = user_named(&mut client, &options.user).await?;
    client
        .ready_to_send(peer)
        .await
        .map_err(|error| by_name(error, &options.user))?;
    super::notices::tell_changes(&mut client, output).await?;
    let name = options.user.to_string();
    if options.lines {
        send_lines(client, peer, name, &options, output).await
    } else {
        send_one(client, peer, name, options, output).await
    }
}

async fn send_one(mut client: Client, peer: UserId, to: String, options: Send, output: Output) -> Outcome {
    let text = match options.text {
        Some(text) => text,
        None => whole_input()?,
    };
    let outgoing = client.send(peer, vec![(MessageKey::Random, text)])?;
    let mut patience = Patience::new(options.timeout);
    let reached = match patience.drain(&mut client, 0, 1).await {
        Ok(()) => reach(&mut client, &outgoing, options.wait, options.timeout).await,
        Err(failure) => Err(failure),
    };
    drop(patience);
    for &msg_id in &outgoing.ids {
        let known = client.device().progress(outgoing.conversation, msg_id);
        let sent = Sent {
            msg_id,
            to: to.clone(),
            // It was taken into the outbox, whatever the store says now.
            state: known.map_or("queued", |known| state(known.progress)),
        };
        output
            .result(&sent, || format!("{} to {}", sent.state, sent.to))
            .context("print the result")?;
    }
    tell(&mut client, output)?;
    let is_sent = outgoing.ids.iter().all(|id| {
        let known = client.device().progress(outgoing.conversation, *id);
        known.is_ok_and(|known| state(known.progress) == "sent")
    });
    reached.map_err(|failure| match failure.exit {
        Exit::TimedOut if is_sent => undelivered(&to, options.timeout),
        _ => still_queued(failure),
    })?;
    client.close().await;
    Ok(())
}

/// The server has it, so nothing is queued here.
fn undelivered(to: &str, timeout: Duration) -> Failure {
    Failure {
        exit: Exit::TimedOut,
        error: anyhow::anyhow!(
            "no device of {to} has confirmed it within {} s: the server delivers it once one connects, and a first \
             message is confirmed once {to} accepts the request",
            timeout.as_secs_f32()
        ),
    }
}

/// A store that fails after it has taken a message: trying again by hand would send it twice.
fn still_queued(failure: Failure) -> Failure {
    match failure.exit {
        Exit::Store => Failure {
            exit: Exit::Store,
            error: anyhow::anyhow!(
                "{failure}; the message is queued all the same, and sent by the next command that connects: do not \
                 send it again"
            ),
        },
        _ => failure,
    }
}

/// Counts of lines that the outbox has taken.
#[derive(Clone, Copy, Default)]
struct Taken {
    lines: usize,
    new: usize,
}

async fn send_lines(mut client: Client, peer: UserId, to: String, options: &Send, output: Output) -> Outcome {
    let mut taken = Taken::default();
    let sent = feed_lines(&mut client, peer, options, &mut taken).await;
    let state = match &sent {
        Ok(()) if options.wait == Reach::Delivered => "delivered",
        Ok(()) => "sent",
        Err(failure) if matches!(failure.exit, Exit::Unreachable | Exit::TimedOut) => "queued",
        Err(_) => return sent,
    };
    let Taken { lines, new } = taken;
    let result = SentLines {
        to,
        lines,
        new,
        state,
    };
    output
        .result(&result, || {
            format!("{lines} lines {state} to {}, {new} of them new", result.to)
        })
        .context("print the result")?;
    tell(&mut client, output)?;
    sent?;
    client.close().await;
    Ok(())
}

/// Reads, submits and sends, a chunk at a time.
async fn feed_lines(client: &mut Client, peer: UserId, options: &Send, taken: &mut Taken) -> Outcome {
    let (lines, mut input) = mpsc::channel(READ_AHEAD);
    let (tell_end, ended) = oneshot::channel();
    // A thread of its own: one that still waits for input does not keep the program from ending.
    thread::spawn(move || drop(tell_end.send(read_lines(&lines))));
    let mut patience = Patience::new(options.timeout);
    let mut batches: Vec<Outgoing> = Vec::new();
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        chunk.clear();
        if input.recv_many(&mut chunk, CHUNK).await == 0 {
            break;
        }
        let texts = chunk.drain(..).zip(taken.lines..).map(|(text, line)| {
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
        taken.lines += outgoing.ids.len();
        taken.new += outgoing.new;
        if options.wait == Reach::Delivered {
            batches.push(outgoing);
        }
        patience.drain(client, MAX_OUTSTANDING, taken.lines).await?;
    }
    // A line that can't be sent ends the reading; what came before it is sent.
    let ended = ended.await.context("read standard input")?;
    patience.drain(client, 0, taken.lines).await?;
    for outgoing in &batches {
        reach(client, outgoing, Reach::Delivered, options.timeout).await?;
    }
    ended
}

async fn reach(
    client: &mut Client,
    outgoing: &Outgoing,
    wait: Reach,
    timeout: Duration,
) -> Result<Vec<Reached>, Failure> {
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
        Reached::Failed(reason) => Some(reason),
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
            progress: Progress::begin(),
        }
    }

    /// Drives the client until at most `most` of the `taken` messages are unanswered.
    async fn drain(&mut self, client: &mut Client, most: usize, taken: usize) -> Outcome {
        self.last_progress = Instant::now();
        let mut before = client.outstanding();
        let mut unreachable = None;
        while client.outstanding() > most {
            for event in client.step(Instant::now() + TURN).await? {
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
            self.progress
                .show(|| format!("{} of {taken} messages sent", taken.saturating_sub(now)));
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
