//! `chat`: a conversation line by line, while messages come in.
//!
//! What is entered lies in the outbox before the next line is read: neither Ctrl-C nor a crash loses it, and it leaves
//! with the next connection. Without a server everything but reading what is new works.

mod screen;
mod typing;

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, timeout},
};
use unhidra_client::{Message, MessageKey, Notice, Progress};
use unhidra_client_native::{Client, ClientError, Event};
use unhidra_types::{ConversationId, MsgId, UserId};

use self::{
    screen::Screen,
    typing::{Entered, Typing},
};
use super::{
    audit::Told,
    message::{Names, ShownMessage},
    news,
    opening::{Opening, by_name, user_named},
};
use crate::{
    arguments::Chat,
    exit::{Failure, Outcome},
    output::Output,
};

/// How long the server is asked, at the start, whether messages can go to the user.
const LOOK_UP: Duration = Duration::from_secs(5);
/// How long the last lines may take to leave at the end, and then the receipts.
const LEAVE: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(2);
/// How often the loop looks up without anything having happened.
const TURN: Duration = Duration::from_secs(5);
/// The same at the end, when other processes may have sent what was typed.
const LAST_TURN: Duration = Duration::from_millis(200);
/// Journal entries looked up at once.
const PAGE: usize = 256;
/// Lines that may be unanswered before more are taken, and lines whose delivery is waited for; marks of the others are
/// not shown.
const MAX_OUTSTANDING: usize = 1_024;
/// The most that `/history` shows.
const MAX_HISTORY: usize = 1_000;

const HELP: &str = "\
/history N   show the last N messages, and how far your own have come
/verify      show the digits to compare
/quit        end; Ctrl-D as well
//text       send a text that begins with /
Ctrl-C clears the line and keeps it in the history (arrow up).";

/// A conversation on the screen.
struct Conversation {
    client: Client,
    peer: UserId,
    name: String,
    id: ConversationId,
    names: Names,
    screen: Screen,
    /// What was typed here and has not been delivered, with its beginning; at most [`MAX_OUTSTANDING`].
    typed: BTreeMap<MsgId, String>,
    /// Messages up to this number were there before: those of this device were not typed here.
    before: u64,
    is_offline: bool,
    /// What waited on the server has come.
    is_caught_up: bool,
}

/// Whether the loop goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    End,
}

/// Shows a conversation and sends what is typed, until Ctrl-D, `/quit` or the end of input.
pub(crate) async fn chat(opening: &Opening, options: Chat, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let peer = user_named(&mut client, &options.user).await?;
    let name = options.user.to_string();
    let mut conversation = Conversation {
        id: client.conversation_with(peer),
        before: client.device().journal_end().map_err(ClientError::from)?,
        client,
        peer,
        names: Names::by_id_if_unknown(),
        screen: Screen::begin(typing::style(output), output),
        typed: BTreeMap::new(),
        is_offline: false,
        is_caught_up: false,
        name,
    };
    conversation.begin(options.history.into()).await?;
    if let Ok(Err(error)) = timeout(LOOK_UP, conversation.client.ready_to_send(peer)).await {
        return Err(by_name(error, &options.user));
    }
    // Whoever opens a chat wants to talk.
    conversation.client.accept_contact(peer)?;
    let mut typing = Typing::begin(&conversation.name, output)?;
    if let Some(printer) = typing.printer() {
        conversation.screen.print_by(Some(printer));
        conversation
            .screen
            .say("Type, and Enter sends. /help shows more, Ctrl-D ends.")?;
    }
    let ended = conversation.talk(&mut typing).await;
    drop(typing);
    conversation.screen.print_by(None);
    ended?;
    conversation.end(output).await
}

impl Conversation {
    /// Shows the last messages that were seen before, and lets those come that were not.
    async fn begin(&mut self, history: usize) -> Outcome {
        let shown = news::shown_through(&mut self.client, self.id)?;
        let first_new = self.first_after(shown)?;
        let device = self.client.device();
        let last = device.messages_before(self.id, first_new, history);
        for message in last.map_err(ClientError::from)?.into_iter().rev() {
            self.show(message).await?;
        }
        self.client.listen_from(shown);
        Ok(())
    }

    /// The first place of this conversation that the journal names after a number.
    fn first_after(&mut self, number: u64) -> Result<u64, Failure> {
        let (mut after, mut first) = (number, u64::MAX);
        loop {
            let page = self
                .client
                .device()
                .journal(after, PAGE)
                .map_err(ClientError::from)?;
            let Some((last, _)) = page.last() else {
                return Ok(first);
            };
            after = *last;
            let here = page.iter().filter(|(_, message)| message.conversation == self.id);
            first = here.map(|(_, message)| message.seq).fold(first, u64::min);
        }
    }

    async fn talk(&mut self, typing: &mut Typing) -> Outcome {
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        let mut terminated = signal(SignalKind::terminate()).context("handle signals")?;
        loop {
            let go = tokio::select! {
                entered = typing.next(), if self.client.outstanding() < MAX_OUTSTANDING => self.take(entered).await?,
                events = self.client.step(Instant::now() + TURN) => {
                    self.tell(events?).await?;
                    Go::On
                }
                // Only where lines are piped in: a terminal hands the key over as a key.
                _ = &mut interrupted => Go::End,
                _ = terminated.recv() => Go::End,
            };
            if go == Go::End {
                return Ok(());
            }
        }
    }

    /// Lets what was typed leave and shows what was waiting; says what could not leave.
    async fn end(mut self, output: Output) -> Outcome {
        let deadline = Instant::now() + LEAVE;
        let is_done = |this: &Self| this.is_caught_up && this.client.outstanding() == 0;
        while !self.is_offline && !is_done(&self) && Instant::now() < deadline {
            let turn = Instant::now() + LAST_TURN;
            let events = self.client.step(turn.min(deadline)).await?;
            self.tell(events).await?;
        }
        match self.client.outstanding() {
            0 => self.client.settle(Instant::now() + SETTLE).await?,
            queued => output.progress(&format!(
                "{queued} messages are queued: the next command that connects sends them"
            )),
        }
        self.client.close().await;
        Ok(())
    }

    async fn take(&mut self, entered: Entered) -> Result<Go, Failure> {
        match entered {
            Entered::Line(line) => {
                self.enter(&line).await?;
                Ok(Go::On)
            }
            Entered::Interrupted => {
                self.screen.say("Ctrl-D ends the chat.")?;
                Ok(Go::On)
            }
            Entered::End => Ok(Go::End),
            Entered::Unreadable(error) => Err(error),
        }
    }

    async fn enter(&mut self, line: &str) -> Outcome {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (None, _) => Ok(()),
            (Some("/help"), None) => self.screen.say(HELP),
            (Some("/verify"), None) => self.verify().await,
            (Some("/history"), count) => match count.map_or(Ok(20), str::parse) {
                Ok(count) => self.history(count).await,
                Err(_) => self.screen.say("/history takes a number, as in /history 50"),
            },
            (Some(first), _) if first.starts_with("//") => {
                let text = line.replacen("//", "/", 1);
                self.send(text)
            }
            (Some(first), _) if first.starts_with('/') => self.screen.say(&format!(
                "There is no {first}: /help shows what there is, and //{} sends a text that begins with /.",
                first.trim_start_matches('/')
            )),
            _ => self.send(line.to_owned()),
        }
    }

    fn send(&mut self, text: String) -> Outcome {
        let beginning = beginning(&text);
        match self.client.send(self.peer, vec![(MessageKey::Random, text)]) {
            Ok(outgoing) => {
                let typed = outgoing.ids.into_iter().map(|id| (id, beginning.clone()));
                self.typed.extend(typed);
                while self.typed.len() > MAX_OUTSTANDING && self.typed.pop_first().is_some() {}
                Ok(())
            }
            Err(error @ ClientError::Submit(_)) => {
                let failure = Failure::from(error);
                self.screen.say(&format!("Not sent: {failure}"))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn history(&mut self, count: usize) -> Outcome {
        let count = count.min(MAX_HISTORY);
        let last = self.client.device().messages_before(self.id, u64::MAX, count);
        for message in last.map_err(ClientError::from)?.into_iter().rev() {
            self.show(message).await?;
        }
        Ok(())
    }

    async fn verify(&mut self) -> Outcome {
        match self.client.safety_number(self.peer).await {
            Ok((number, verified)) => {
                let standing = if verified { "verified" } else { "not verified yet" };
                let name = &self.name;
                self.screen.say(&format!(
                    "{name}: {standing}\n  {number}\nCompare over another channel; `unhidra verify {name} --confirm` records it."
                ))
            }
            Err(error) => self.screen.say(&Failure::from(error).to_string()),
        }
    }

    async fn show(&mut self, message: Message) -> Outcome {
        let shown = ShownMessage::of(&mut self.client, &mut self.names, message).await?;
        self.screen.message(&shown)
    }

    async fn tell(&mut self, events: Vec<Event>) -> Outcome {
        let mut delivered = Vec::new();
        for event in events {
            match event {
                Event::Message { number, message } => self.arrived(number, *message).await?,
                Event::Notice(Notice::Delivered { msg_id, .. }) => {
                    if let Some(beginning) = self.typed.remove(&msg_id) {
                        delivered.push((msg_id, beginning));
                    }
                }
                Event::Notice(Notice::CaughtUp) => self.is_caught_up = true,
                Event::Notice(notice) => self.noticed(notice)?,
                Event::AuditContradicted(evidence) => self.screen.say(&Told::new(&evidence).warning())?,
                Event::Connected if self.is_offline => {
                    self.is_offline = false;
                    self.screen.say("Online again.")?;
                }
                Event::Disconnected { reason, .. } if !self.is_offline => {
                    self.is_offline = true;
                    self.screen.say(&format!(
                        "Offline ({reason}): what you type is kept, and sent when the server is back."
                    ))?;
                }
                _ => {}
            }
        }
        self.screen.delivered(&delivered)
    }

    async fn arrived(&mut self, number: u64, message: Message) -> Outcome {
        if message.conversation != self.id {
            return Ok(());
        }
        let is_typed_here = message.sender_device == self.client.device_id() && number > self.before;
        if !is_typed_here {
            self.show(message).await?;
        }
        Ok(news::remember_shown(&mut self.client, self.id, number)?)
    }

    fn noticed(&mut self, notice: Notice) -> Outcome {
        let name = &self.name;
        match notice {
            Notice::Accepted { msg_id, .. } if self.typed.contains_key(&msg_id) => {
                self.screen.state(msg_id, Progress::Accepted { seq: 0 })
            }
            Notice::Failed { msg_id, reason, .. } => match self.typed.remove(&msg_id) {
                Some(beginning) => self.screen.say(&format!("Not sent: {beginning} ({reason})")),
                None => Ok(()),
            },
            Notice::IdentityChanged(user) if user == self.peer => self.screen.say(&format!(
                "{name} has a new identity key: nothing is sent until you compare the digits and run \
                 `unhidra contacts accept {name}`"
            )),
            Notice::IdentityReplaced { user, .. } if user == self.peer => self.screen.say(&format!(
                "The identity of {name} was replaced: /verify shows the new digits"
            )),
            Notice::Waiting { conversation, .. } if conversation == self.id => self
                .screen
                .say("A message could not be opened: its sender is asked for it again"),
            Notice::ListWithheld(user) if user == self.peer => self.screen.say(&format!(
                "The server withholds the device list of {name}: nothing is sent until it shows it"
            )),
            Notice::EpochOverdue(user) if user == self.peer => self.screen.say(&format!(
                "No post-quantum step with a device of {name} has come through for 30 days: a new session is begun"
            )),
            _ => Ok(()),
        }
    }
}

/// Enough of a text to recognise it.
fn beginning(text: &str) -> String {
    const SHOWN: usize = 40;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_one_line_of_whole_characters() {
        assert_eq!(beginning("short\nsecond"), "short");
        let long = beginning(&"ü".repeat(50));
        assert_eq!(long.chars().count(), 41);
    }
}
