//! What a person or a script sees. Text from others never reaches the terminal as control sequences.

use std::io::{self, Write as _};

use serde::Serialize;

/// Whoever read standard output has seen enough: the program ends quietly.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
pub(crate) struct ReaderGone;

/// Where results go: text for people, or one JSON object a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints a result: `value` for scripts, `text` for people.
    pub(crate) fn result(self, value: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        let line = if self.json { json_line(value)? } else { text() };
        document(format!("{line}\n").as_bytes())
    }

    /// Tells a person how it goes, on standard error.
    pub(crate) fn progress(self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }
}

/// Prints a document of this program's own, such as a manual page, as it is.
pub(crate) fn document(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(reader_gone)
}

/// A value on one line of JSON, without control characters.
pub(crate) fn json_line(value: &impl Serialize) -> io::Result<String> {
    Ok(ascii_controls(&serde_json::to_string(value)?))
}

/// Marks a failure to write to standard output as what it is when its reader has gone, as `head` does.
pub(crate) fn reader_gone(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, ReaderGone),
        _ => error,
    }
}

/// `text` with control characters and invisible direction marks shown instead of sent; newline and tab stay.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            _ if character.is_control() || reorders(character) => {
                shown.extend(character.escape_unicode());
            }
            _ => shown.push(character),
        }
    }
    shown
}

/// JSON whose strings hold no character that a terminal acts on: those that JSON allows unescaped are escaped as well.
fn ascii_controls(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_control() || reorders(character) {
            safe.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Characters that make a terminal show another order than the one that was sent.
const fn reorders(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_the_text_and_holds_no_control_character() {
        let text = "a\u{1b}[2Jb\u{7f}\u{9b}c\u{202e}d\n";
        let json = ascii_controls(&serde_json::to_string(text).unwrap());
        assert!(json.chars().all(|c| !c.is_control() && !reorders(c)), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn control_sequences_are_shown_and_not_sent() {
        assert_eq!(
            printable("a\u{1b}[2Jb\r\u{9b}c\u{202e}d"),
            "a\\u{1b}[2Jb\\u{d}\\u{9b}c\\u{202e}d"
        );
        assert_eq!(printable("tab\tline\nümlaut"), "tab\tline\nümlaut");
    }
}
