//! How a commit reaches the connections that wait for it.
//!
//! The bus is an optimisation: the log is the truth, and a notice that is lost is a gap that its reader closes from the
//! log. With one node it is a bounded channel inside the process.
//!
//! - [`Notice`]: what is said    - [`Entry`]: an entry, encoded at most once for everyone who gets the same bytes
#![warn(missing_docs)]

mod entry;

use std::sync::Arc;

use tokio::sync::mpsc;
use unhidra_types::{ConversationId, DeviceId, SessionId, UserId};
use unhidra_wire::frame::ListVersion;

pub use entry::Entry;

/// Batches that wait for the router. A full bus makes the publisher wait, and with it the writer of the log.
const CAPACITY: usize = 256;

/// Something that connections must learn of.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An entry was added to a log.
    Entry(Arc<Entry>),
    /// A conversation was opened.
    Opened {
        /// The log.
        conversation: ConversationId,
        /// Everyone in it.
        members: Vec<UserId>,
    },
    /// A user's device chain has grown; for that user's own devices.
    ListChanged(ListVersion),
    /// A session is over: its connections end.
    SessionEnded(SessionId),
    /// A device is revoked: its connections end.
    DeviceRevoked(DeviceId),
}

/// The publishing end.
#[derive(Clone, Debug)]
pub struct Bus(mpsc::Sender<Vec<Notice>>);

/// The receiving end: batches in the order of their publication.
pub type Notices = mpsc::Receiver<Vec<Notice>>;

/// Nobody listens any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bus is closed")]
pub struct Closed;

/// A bus inside this process.
#[must_use]
pub fn local() -> (Bus, Notices) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (Bus(sender), receiver)
}

impl Bus {
    /// Publishes a batch, waiting while the bus is full.
    ///
    /// # Errors
    /// [`Closed`] when the receiving end is gone.
    ///
    /// # Cancellation safety
    /// A call that is dropped has published nothing.
    pub async fn publish(&self, batch: Vec<Notice>) -> Result<(), Closed> {
        self.0.send(batch).await.map_err(|_| Closed)
    }
}
