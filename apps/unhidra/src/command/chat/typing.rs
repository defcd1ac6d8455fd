//! Lines as they are entered: with an editor on a terminal, plain ones elsewhere. A thread of its own waits for keys.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Context as _;
use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler, ExternalPrinter,
    KeyEvent, RepeatCount,
    error::ReadlineError,
    history::{History as _, MemHistory},
};
use tokio::sync::mpsc;
use unhidra_types::limits::MAX_TEXT_BYTES;

use super::screen::Style;
use crate::{
    exit::{Exit, Failure},
    output::Output,
};

/// Lines that may wait to be sent: further ones wait in the pipe, or on the terminal.
const ENTERED_AHEAD: usize = 16;
/// Lines that arrow up brings back.
const HISTORY: usize = 200;

/// What came from the person or the script.
pub(super) enum Entered {
    Line(String),
    /// Ctrl-C on an empty line.
    Interrupted,
    End,
    /// A line that is no text, or too long to be a message.
    Unreadable(Failure),
}

/// Waits for lines. Dropped, it gives the terminal back as it was.
pub(super) struct Typing {
    entered: mpsc::Receiver<Entered>,
    printer: Option<Box<dyn ExternalPrinter>>,
    before: Option<Termios>,
}

/// How a chat looks: short where a person types on a terminal.
pub(super) fn style(output: Output) -> Style {
    if !output.json && io::stdin().is_terminal() && io::stdout().is_terminal() {
        Style::Short
    } else {
        Style::Full
    }
}

impl Typing {
    /// Begins to read.
    pub(super) fn begin(peer: &str, output: Output) -> Result<Self, Failure> {
        let (lines, entered) = mpsc::channel(ENTERED_AHEAD);
        if style(output) == Style::Full {
            thread::spawn(move || read_plain(&lines));
            return Ok(Self {
                entered,
                printer: None,
                before: None,
            });
        }
        Self::edited(peer, entered, lines)
    }

    fn edited(
        peer: &str,
        entered: mpsc::Receiver<Entered>,
        lines: mpsc::Sender<Entered>,
    ) -> Result<Self, Failure> {
        let before = tcgetattr(io::stdin()).context("look at the terminal")?;
        // Keys that are pressed while the editor takes in a line are keys as well, and not yet shown.
        let mut keys = before.clone();
        keys.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        keys.input_modes.remove(InputModes::ICRNL);
        let mut typing = Self {
            entered,
            printer: None,
            before: Some(before),
        };
        tcsetattr(io::stdin(), OptionalActions::Drain, &keys).context("set the terminal up")?;
        let config = Config::builder()
            .max_history_size(HISTORY)
            .context("begin the editor")?
            .build();
        let history = MemHistory::with_config(&config);
        let mut editor: Editor<(), _> = Editor::with_history(config, history).context("begin the editor")?;
        let interrupt = Interrupt::default();
        editor.bind_sequence(
            KeyEvent::ctrl('C'),
            EventHandler::Conditional(Box::new(interrupt.clone())),
        );
        let printer = editor.create_external_printer().context("begin the editor")?;
        typing.printer = Some(Box::new(printer));
        let prompt = format!("{peer}> ");
        thread::spawn(move || read_edited(editor, &prompt, &interrupt, &lines));
        Ok(typing)
    }

    /// What prints while a line is being typed; once.
    pub(super) fn printer(&mut self) -> Option<Box<dyn ExternalPrinter>> {
        self.printer.take()
    }

    /// The next line.
    ///
    /// # Cancellation safety
    /// Nothing is lost: a line is either returned or still waits.
    pub(super) async fn next(&mut self) -> Entered {
        self.entered.recv().await.unwrap_or(Entered::End)
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        // The editor's thread may wait for keys, in the mode that it reads them in.
        if let Some(before) = &self.before {
            let restored = tcsetattr(io::stdin(), OptionalActions::Drain, before).map_err(io::Error::from);
            let mut stdout = io::stdout().lock();
            // Pasting in brackets is the editor's alone; its prompt may still stand there.
            let restored = restored.and_then(|()| stdout.write_all(b"\x1b[?2004l\r\x1b[K"));
            if let Err(error) = restored.and_then(|()| stdout.flush()) {
                tracing::debug!(error = %error, "the terminal stays as it is");
            }
        }
    }
}

/// Ends a line by Ctrl-C as Enter would: the editor drops keys that it has read ahead when a line ends by an error.
#[derive(Clone, Default)]
struct Interrupt(Arc<AtomicBool>);

impl ConditionalEventHandler for Interrupt {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        self.0.store(true, Ordering::SeqCst);
        Some(Cmd::AcceptLine)
    }
}

fn read_edited(
    mut editor: Editor<(), MemHistory>,
    prompt: &str,
    Interrupt(interrupt): &Interrupt,
    lines: &mpsc::Sender<Entered>,
) {
    loop {
        let line = editor.readline(prompt);
        let is_interrupted = interrupt.swap(false, Ordering::SeqCst);
        if let Ok(line) = &line {
            remember(&mut editor, line);
        }
        let entered = match line {
            Ok(line) if is_interrupted && !line.is_empty() => continue,
            Ok(_) if is_interrupted => Entered::Interrupted,
            // The editor must not go on while the chat ends.
            Ok(line) if line.trim() == "/quit" => Entered::End,
            Ok(line) => Entered::Line(line),
            Err(ReadlineError::Interrupted) => Entered::Interrupted,
            Err(ReadlineError::Signal(_)) => continue,
            Err(ReadlineError::Eof) => Entered::End,
            Err(error) => Entered::Unreadable(anyhow::Error::from(error).context("read the terminal").into()),
        };
        let is_last = matches!(entered, Entered::End | Entered::Unreadable(_));
        if lines.blocking_send(entered).is_err() || is_last {
            return;
        }
    }
}

fn remember(editor: &mut Editor<(), MemHistory>, line: &str) {
    if let Err(error) = editor.history_mut().add(line) {
        tracing::debug!(error = %error, "a line is not in the history");
    }
}

fn read_plain(lines: &mpsc::Sender<Entered>) {
    let mut input = io::stdin().lock();
    loop {
        let entered = match read_line(&mut input) {
            Ok(Some(line)) if line.trim() == "/quit" => Entered::End,
            Ok(Some(line)) => Entered::Line(line),
            Ok(None) => Entered::End,
            Err(failure) => Entered::Unreadable(failure),
        };
        let is_last = matches!(entered, Entered::End | Entered::Unreadable(_));
        if lines.blocking_send(entered).is_err() || is_last {
            return;
        }
    }
}

/// One line without its end; `None` at the end of input. A line that is too long is not read further.
fn read_line(input: &mut impl io::BufRead) -> Result<Option<String>, Failure> {
    let mut line = Vec::new();
    let bound = u64::try_from(MAX_TEXT_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(2);
    let read = input
        .take(bound)
        .read_until(b'\n', &mut line)
        .context("read standard input")?;
    if read == 0 {
        return Ok(None);
    }
    let has_end = line.pop_if(|last| *last == b'\n').is_some();
    if !has_end && line.len() > MAX_TEXT_BYTES {
        return Err(unusable(format!(
            "a line is longer than {MAX_TEXT_BYTES} bytes: send it in parts"
        )));
    }
    String::from_utf8(line)
        .map(Some)
        .map_err(|_| unusable("a line is not UTF-8 text: convert it, for example with iconv".to_owned()))
}

fn unusable(text: String) -> Failure {
    Failure {
        exit: Exit::Input,
        error: anyhow::anyhow!(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_they_end_and_what_is_no_text_is_told() {
        let mut input: &[u8] = b"one\r\n\n\xff\n";
        assert_eq!(read_line(&mut input).unwrap().as_deref(), Some("one\r"));
        assert_eq!(read_line(&mut input).unwrap().as_deref(), Some(""));
        assert_eq!(read_line(&mut input).unwrap_err().exit, Exit::Input);
        assert_eq!(read_line(&mut input).unwrap(), None);
        let long = vec![b'x'; MAX_TEXT_BYTES + 3];
        assert_eq!(read_line(&mut long.as_slice()).unwrap_err().exit, Exit::Input);
    }
}
