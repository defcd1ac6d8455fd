//! `export`: every message that this device holds, in order of time, to a file or to standard output.
//!
//! A file appears whole or not at all. The last record counts what came before it, so that a part is not taken for the
//! whole.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write},
    path::Path,
};

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client::store::Order;
use unhidra_client_native::{Client, ClientError};
use unhidra_types::UserId;

use super::{
    draft::Draft,
    message::{Names, ShownMessage},
    opening::{Opening, user_named},
    timeline::Timeline,
    waiting::ShownWaiting,
};
use crate::{
    arguments::{Export, ExportFormat},
    exit::{Exit, Failure, OrExit as _, Outcome},
    output::{self, Output, printable},
    progress::Progress,
};

/// The last record.
#[derive(Clone, Copy, Default, Serialize)]
struct Count {
    messages: u64,
    waiting: u64,
    /// Own messages that have not reached the server, and are therefore not among the messages.
    unsent: usize,
}

/// Writes everything down.
pub(crate) async fn export(opening: &Opening, options: Export, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Exported<'a> {
        file: &'a Path,
        #[serde(flatten)]
        count: Count,
    }
    let mut client = opening.client()?;
    let only = match &options.user {
        Some(name) => Some(user_named(&mut client, name).await?),
        None => None,
    };
    let Some(file) = &options.out else {
        let mut stdout = BufWriter::new(io::stdout().lock());
        write_all(&mut client, only, options.format, &mut stdout).await?;
        return Ok(());
    };
    let draft = Draft::beside(file).or_exit(Exit::Failed)?;
    let mut writer = BufWriter::new(draft.file.try_clone().context("write the file")?);
    let count = write_all(&mut client, only, options.format, &mut writer).await?;
    drop(writer);
    draft.publish(file).or_exit(Exit::Failed)?;
    output
        .result(&Exported { file, count }, || {
            format!("{} in {}", count.text(), printable(&file.display().to_string()))
        })
        .context("print the result")?;
    Ok(())
}

async fn write_all(
    client: &mut Client,
    only: Option<UserId>,
    format: ExportFormat,
    out: &mut impl Write,
) -> Result<Count, Failure> {
    let written = |result: io::Result<()>| result.map_err(output::reader_gone).context("write the export");
    let mut names = Names::by_id_if_unknown();
    let mut timeline = Timeline::begin(client, only, Order::Ascending)?;
    // On one terminal the messages themselves show how it goes.
    let mut progress = (!io::stdout().is_terminal()).then(Progress::begin);
    let mut count = Count {
        unsent: client.device().unsent_messages().map_err(ClientError::from)?,
        ..Count::default()
    };
    while let Some(message) = timeline.next(client)? {
        let shown = ShownMessage::of(client, &mut names, message).await?;
        written(write_record(out, format, &shown, || detailed(&shown)))?;
        count.messages += 1;
        if let Some(progress) = &mut progress {
            progress.show(|| format!("{} messages exported", count.messages));
        }
    }
    for (waiting, state) in client.waiting()? {
        if let Some(only) = only
            && client.peer_of(waiting.conversation)? != only
        {
            continue;
        }
        let shown = ShownWaiting::of(client, &mut names, &waiting, state).await?;
        written(write_record(out, format, &shown, || shown.line()))?;
        count.waiting += 1;
    }
    written(write_record(out, format, &count, || {
        format!("-- {}", count.text())
    }))?;
    written(out.flush())?;
    Ok(count)
}

fn write_record(
    out: &mut impl Write,
    format: ExportFormat,
    record: &impl Serialize,
    text: impl FnOnce() -> String,
) -> io::Result<()> {
    match format {
        ExportFormat::Jsonl => writeln!(out, "{}", output::json_line(record)?),
        ExportFormat::Text => writeln!(out, "{}", text()),
    }
}

/// A line with the place and the device as well.
fn detailed(message: &ShownMessage) -> String {
    format!("{}  [{} {}]", message.line(), message.seq, message.from_device)
}

impl Count {
    fn text(self) -> String {
        format!(
            "{} messages, {} that can't be opened yet, {} not sent yet",
            self.messages, self.waiting, self.unsent
        )
    }
}
