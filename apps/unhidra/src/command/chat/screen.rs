//! What a chat shows: on a terminal above the line that is being typed, elsewhere line by line.

use std::io::{self, Write as _};

use anyhow::Context as _;
use rustyline::ExternalPrinter;
use serde::Serialize;
use unhidra_client::Progress;
use unhidra_types::MsgId;

use crate::{
    command::{
        message::{ShownMessage, state},
        read::shown_time,
    },
    exit::Outcome,
    output::{Output, printable},
};

/// Where a chat is shown.
pub(super) struct Screen {
    style: Style,
    /// What prints above the line that is being typed, while one is.
    printer: Option<Box<dyn ExternalPrinter>>,
    output: Output,
    /// The day of the last message that was shown, as text.
    day: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Short, for a person.
    Short,
    /// As `read` prints.
    Full,
}

/// How far a message has come that was typed here.
#[derive(Serialize)]
struct Reached {
    msg_id: MsgId,
    state: &'static str,
}

impl Screen {
    /// Messages on standard output.
    pub(super) const fn begin(style: Style, output: Output) -> Self {
        Self {
            style,
            printer: None,
            output,
            day: String::new(),
        }
    }

    /// Prints by `printer` from now on, while a line is being typed.
    pub(super) fn print_by(&mut self, printer: Option<Box<dyn ExternalPrinter>>) {
        self.printer = printer;
    }

    /// Shows a message: on a terminal short, under its day; elsewhere as `read` does.
    pub(super) fn message(&mut self, message: &ShownMessage) -> Outcome {
        if self.style == Style::Full {
            self.output
                .result(message, || message.line())
                .context("print a message")?;
            return Ok(());
        }
        let time = shown_time(message.server_time);
        let (day, clock) = time.split_once(' ').unwrap_or((&time, ""));
        let clock = clock.get(..5).unwrap_or(clock).to_owned();
        if self.day != day {
            self.day = day.to_owned();
            self.print(&format!("-- {day} UTC --"))?;
        }
        let mark = match message.state {
            "received" => "",
            "delivered" => " ✓✓",
            "sent" => " ✓",
            _ => " …",
        };
        self.print(&format!(
            "{clock} {}: {}{mark}",
            message.from,
            message.indented_text()
        ))
    }

    /// Tells the person something; a script gets it on standard error, and with `--json` not at all.
    pub(super) fn say(&mut self, text: &str) -> Outcome {
        if self.style == Style::Short {
            self.print(&printable(text))
        } else {
            self.output.progress(&printable(text));
            Ok(())
        }
    }

    /// Tells a script how far a message has come.
    pub(super) fn state(&mut self, msg_id: MsgId, progress: Progress) -> Outcome {
        if self.output.json {
            let reached = Reached {
                msg_id,
                state: state(progress),
            };
            self.output
                .result(&reached, String::new)
                .context("print a state")?;
        }
        Ok(())
    }

    /// Marks messages as delivered, several at once.
    pub(super) fn delivered(&mut self, messages: &[(MsgId, String)]) -> Outcome {
        let Some((_, last)) = messages.last() else {
            return Ok(());
        };
        if self.output.json {
            for (msg_id, _) in messages {
                let reached = Reached {
                    msg_id: *msg_id,
                    state: "delivered",
                };
                self.output
                    .result(&reached, String::new)
                    .context("print a state")?;
            }
            return Ok(());
        }
        match messages.len() {
            1 => self.say(&format!("✓✓ delivered: {last}")),
            count => self.say(&format!("✓✓ delivered: {count} messages, the last: {last}")),
        }
    }

    /// Prints lines above the one that is being typed. Their text has been made harmless.
    fn print(&mut self, lines: &str) -> Outcome {
        let lines = format!("{lines}\n");
        match &mut self.printer {
            Some(printer) => printer.print(lines).context("print on the terminal")?,
            None => io::stdout()
                .lock()
                .write_all(lines.as_bytes())
                .context("print a line")?,
        }
        Ok(())
    }
}
