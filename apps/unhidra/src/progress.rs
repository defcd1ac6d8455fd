//! One line on standard error that says how far long work has come: on a terminal, and nowhere else.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

/// Work that is shorter than this shows nothing.
const SHOW_AFTER: Duration = Duration::from_millis(400);
/// How often the line changes.
const SHOW_EVERY: Duration = Duration::from_millis(100);
const CLEAR: &str = "\r\u{1b}[2K";

/// A line that is drawn over again, and gone when this is dropped.
pub(crate) struct Progress {
    is_terminal: bool,
    is_drawn: bool,
    draw_at: Instant,
}

impl Progress {
    /// Nothing is shown yet.
    pub(crate) fn begin() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            is_drawn: false,
            draw_at: Instant::now() + SHOW_AFTER,
        }
    }

    /// Shows `text`, which holds nothing that others wrote, if it is time for it.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if !self.is_terminal || Instant::now() < self.draw_at {
            return;
        }
        self.draw_at = Instant::now() + SHOW_EVERY;
        self.is_drawn = true;
        self.draw(&format!("{CLEAR}{}", text()));
    }

    /// Takes the line away, so that something else can be printed.
    pub(crate) fn clear(&mut self) {
        if self.is_drawn {
            self.is_drawn = false;
            self.draw(CLEAR);
        }
    }

    fn draw(&mut self, text: &str) {
        let mut stderr = io::stderr().lock();
        // A terminal that is gone needs no progress; the work goes on.
        self.is_terminal = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush())
            .is_ok();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
