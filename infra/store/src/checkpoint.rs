//! Brings the write-ahead log into the database on a thread of its own, so that no commit waits for it.
//!
//! A writer that never pauses stays ahead of that thread, and the log can only begin anew when all of it has been brought
//! in. So when it has grown to [`MOST_PAGES`] the writer brings in what is left itself, after it has answered.
//! Before it answers it marks how far the log goes ([`crate::wal_mark`]).

use std::{
    cell::Cell,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;

use crate::wal_mark::Mark;

/// Pages of the log after which the thread is asked, each time: a hot page goes into the database once for many commits.
const PAGES: u32 = 4_096;
/// Pages of the log after which the writer waits; 64 MiB.
const MOST_PAGES: u32 = 16_384;

thread_local! {
    /// Pages of the log after the last commit of this thread's connection that wrote any.
    static LOGGED: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The writer's end.
pub(crate) struct Checkpoints {
    ask: SyncSender<()>,
    thread: JoinHandle<()>,
    mark: Option<Mark>,
    /// Pages of the log, and when it was last asked; 0 since the log began anew.
    logged: u32,
    asked_at: u32,
}

impl Checkpoints {
    /// `connection` is for the thread alone.
    pub(crate) fn start(connection: Connection, mark: Option<Mark>) -> std::io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || bring_in_when_asked(&connection, &asked))?;
        Ok(Self {
            ask,
            thread,
            mark,
            logged: 0,
            asked_at: 0,
        })
    }

    /// Counts what `connection` commits from now on, on this thread.
    pub(crate) fn watch(connection: &Connection) {
        connection.wal_hook(Some(|_, pages| {
            LOGGED.set(u32::try_from(pages).ok());
            Ok(())
        }));
    }

    /// After a commit, before anyone is told of it.
    pub(crate) fn committed(&mut self) {
        let Some(logged) = LOGGED.take() else {
            return;
        };
        if logged < self.asked_at {
            self.asked_at = 0;
        }
        self.logged = logged;
        // Without a mark a log that ends within a commit leaves a gap, as after a loss of power.
        let marked = self.mark.as_ref().map_or(Ok(()), |mark| mark.set(logged));
        if let Err(error) = marked {
            tracing::warn!(error = %error, "the mark beside the database's log can't be written");
            self.mark = None;
        }
    }

    /// After a commit has been answered.
    pub(crate) fn answered(&mut self, connection: &Connection) {
        if self.logged >= MOST_PAGES {
            bring_in(connection);
        } else if self.logged >= self.asked_at.saturating_add(PAGES) {
            self.asked_at = self.logged;
            // One that is asked already looks at everything that is there when it begins.
            self.ask.try_send(()).ok();
        }
    }

    /// Ends the thread.
    pub(crate) fn end(self) {
        drop(self.ask);
        if self.thread.join().is_err() {
            tracing::error!("the thread that brings in the database's log has panicked");
        }
    }
}

fn bring_in_when_asked(connection: &Connection, asked: &Receiver<()>) {
    while asked.recv().is_ok() {
        bring_in(connection);
    }
}

/// As far as no reader is in the way; what is left comes with the next time.
fn bring_in(connection: &Connection) {
    let result = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if let Err(error) = result {
        tracing::warn!(error = %error, "the database's log could not be brought in; it stays and is read from there");
    }
}
