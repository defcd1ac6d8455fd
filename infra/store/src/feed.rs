//! The way from the writer to whoever tells the rest of the server: commits in order, bounded in number and in bytes.
//!
//! The writer is a thread, its reader a task; a full feed slows the writer down, and with it everyone who writes.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::Event;

/// Commits whose events wait.
const CAPACITY: usize = 256;
/// Bytes of the entries in them. An empty feed takes any commit.
const CAPACITY_BYTES: usize = 32 * 1024 * 1024;

/// Events of every commit, in commit order. It ends when the writer has ended.
#[derive(Debug)]
pub struct CommitFeed {
    commits: mpsc::Receiver<Vec<Event>>,
    room: Arc<Room>,
}

/// The writer's end.
pub(crate) struct Publisher {
    commits: mpsc::Sender<Vec<Event>>,
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct Room {
    held: Mutex<Held>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    /// Nobody reads any more.
    closed: bool,
}

/// Nobody reads the feed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

pub(crate) fn feed() -> (Publisher, CommitFeed) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let room = Arc::new(Room::default());
    let publisher = Publisher {
        commits: sender,
        room: Arc::clone(&room),
    };
    let feed = CommitFeed {
        commits: receiver,
        room,
    };
    (publisher, feed)
}

impl Publisher {
    /// Waits while the feed is full.
    pub(crate) fn send(&self, events: Vec<Event>) -> Result<(), Closed> {
        self.room.enter(bytes(&events))?;
        self.commits.blocking_send(events).map_err(|_| Closed)
    }
}

impl CommitFeed {
    /// The events of the next commit; `None` when the writer has ended.
    ///
    /// # Cancellation safety
    /// No commit is lost when the call is dropped.
    pub async fn recv(&mut self) -> Option<Vec<Event>> {
        let events = self.commits.recv().await?;
        self.room.leave(bytes(&events));
        Some(events)
    }

    /// The events of the next commit, if there is one already.
    ///
    /// # Errors
    /// As those of a channel.
    pub fn try_recv(&mut self) -> Result<Vec<Event>, mpsc::error::TryRecvError> {
        let events = self.commits.try_recv()?;
        self.room.leave(bytes(&events));
        Ok(events)
    }
}

impl Drop for CommitFeed {
    fn drop(&mut self) {
        self.room.lock().closed = true;
        self.room.freed.notify_all();
    }
}

impl Room {
    fn enter(&self, bytes: usize) -> Result<(), Closed> {
        let fits = |held: &Held| held.bytes == 0 || held.bytes.saturating_add(bytes) <= CAPACITY_BYTES;
        let mut held = self.lock();
        while !held.closed && !fits(&held) {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        if held.closed {
            return Err(Closed);
        }
        held.bytes = held.bytes.saturating_add(bytes);
        Ok(())
    }

    fn leave(&self, bytes: usize) {
        let mut held = self.lock();
        held.bytes = held.bytes.saturating_sub(bytes);
        self.freed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(events: &[Event]) -> usize {
    events.iter().map(Event::bytes).sum()
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use unhidra_types::{ConversationId, UserId};

    use super::*;

    /// An event of about so many bytes.
    fn event(bytes: usize) -> Vec<Event> {
        vec![Event::Opened {
            conversation: ConversationId::from_bytes([1; 16]),
            members: vec![UserId::from_bytes([2; 16]); bytes / 16],
        }]
    }

    #[test]
    fn large_commits_fill_the_feed_before_their_number_does() {
        let (publisher, mut feed) = feed();
        publisher.send(event(2 * CAPACITY_BYTES)).unwrap();
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(publisher.send(event(16)), Ok(()));
                order.lock().unwrap().push("entered");
            });
            thread::sleep(Duration::from_millis(20));
            order.lock().unwrap().push("made room");
            assert!(feed.try_recv().is_ok());
        });
        assert_eq!(*order.lock().unwrap(), ["made room", "entered"]);
    }

    #[test]
    fn a_writer_that_waits_for_room_learns_that_nobody_reads() {
        let (publisher, feed) = feed();
        publisher.send(event(CAPACITY_BYTES)).unwrap();
        let writer = thread::spawn(move || publisher.send(event(16)));
        drop(feed);
        assert_eq!(writer.join().unwrap(), Err(Closed));
    }
}
