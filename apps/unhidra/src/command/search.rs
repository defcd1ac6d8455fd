//! `search`: looks through the messages that this device holds, the newest first, and shows what it found in order.

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client::{Message, MessageBody, store::Order};
use unhidra_client_native::{Client, ClientError};
use unhidra_runtime::Clock;
use unhidra_types::Timestamp;

use super::{
    message::{Names, ShownMessage},
    opening::{Opening, user_named},
    timeline::Timeline,
};
use crate::{
    arguments::Search,
    exit::{Exit, Failure, Outcome},
    output::Output,
    progress::Progress,
};

/// A message that holds the text, or one around it.
#[derive(Serialize)]
struct Hit<'a> {
    #[serde(flatten)]
    message: &'a ShownMessage,
    #[serde(rename = "match")]
    is_match: bool,
}

/// What is looked for.
struct Wanted {
    /// In lower case.
    text: String,
    since: Timestamp,
    until: Timestamp,
}

/// Shows the newest messages that hold a text.
pub(crate) async fn search(opening: &Opening, options: Search, output: Output) -> Outcome {
    let now = Clock::System.context().now;
    let wanted = Wanted {
        text: options.text.to_lowercase(),
        since: options.since.map_or(Timestamp::EPOCH, |since| since.before(now)),
        until: options
            .until
            .map_or(Timestamp::from_millis(u64::MAX), |until| until.before(now)),
    };
    if wanted.text.is_empty() {
        return Err(Failure {
            exit: Exit::Usage,
            error: anyhow::anyhow!(
                "name a text: every message holds the empty one; `unhidra export` prints all"
            ),
        });
    }
    let mut client = opening.client()?;
    let only = match &options.user {
        Some(name) => Some(user_named(&mut client, name).await?),
        None => None,
    };
    let mut timeline = Timeline::begin(&mut client, only, Order::Descending)?;
    let mut progress = Progress::begin();
    let (mut found, mut examined) = (Vec::new(), 0_u64);
    while found.len() < options.limit.into()
        && let Some(message) = timeline.next(&mut client)?
    {
        examined += 1;
        progress.show(|| format!("{examined} messages searched, {} found", found.len()));
        if wanted.is_held_by(&message) {
            found.push(message);
        }
    }
    drop(progress);
    if found.is_empty() {
        output.progress(&format!("None of {examined} messages holds that text."));
    }
    let mut names = Names::by_id_if_unknown();
    for message in found.into_iter().rev() {
        show(&mut client, &mut names, message, options.context.into(), output).await?;
    }
    Ok(())
}

impl Wanted {
    fn is_held_by(&self, message: &Message) -> bool {
        let MessageBody::Text(text) = &message.body else {
            return false;
        };
        (self.since..self.until).contains(&message.server_time) && text.to_lowercase().contains(&self.text)
    }
}

/// Shows a message with up to `context` before and after it in its conversation.
async fn show(
    client: &mut Client,
    names: &mut Names,
    message: Message,
    context: usize,
    output: Output,
) -> Outcome {
    let (conversation, seq) = (message.conversation, message.seq);
    let mut shown = vec![];
    if context > 0 {
        let device = client.device();
        let before = device.messages_before(conversation, seq, context);
        shown.extend(before.map_err(ClientError::from)?.into_iter().rev());
    }
    shown.push(message);
    if context > 0 {
        let after = client.device().messages_after(conversation, seq, context);
        shown.extend(after.map_err(ClientError::from)?);
    }
    for message in shown {
        let is_match = message.seq == seq;
        let message = ShownMessage::of(client, names, message).await?;
        let hit = Hit {
            message: &message,
            is_match,
        };
        output
            .result(&hit, || match (context, is_match) {
                (0, _) => message.line(),
                (_, true) => format!("> {}", message.line()),
                (_, false) => format!("  {}", message.line()),
            })
            .context("print a message")?;
    }
    if context > 0 && !output.json {
        crate::output::document(b"--\n").context("print a separator")?;
    }
    Ok(())
}
