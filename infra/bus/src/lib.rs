//! How a commit reaches the connections that wait for it.
//!
//! The bus is an optimisation: the log is the truth, and a notice that is lost is a gap that its reader closes from the
//! log. With one node it is a bounded channel inside the process.
//!
//! - [`Notice`]: what is said        - [`Entry`]: an entry, encoded at most once for everyone who gets the same bytes
//! - [`presence`]: who is connected
#![warn(missing_docs)]

mod entry;
pub mod presence;

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use unhidra_types::{ConnectionId, ConversationId, DeviceId, SessionId, UserId};
use unhidra_wire::frame::ListVersion;

pub use entry::Entry;
pub use presence::Presence;

/// Batches that wait for the router. A full bus makes the publisher wait, and with it the writer of the log.
const CAPACITY: usize = 256;
/// Bytes of entries in those batches; an empty bus takes any batch. Beyond it the publisher waits as well.
const CAPACITY_BYTES: usize = 32 * 1024 * 1024;
/// What the bytes are counted in, so that any bound fits a semaphore.
const UNIT: usize = 1024;

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
    /// An administrator closed one connection.
    ConnectionClosed(ConnectionId),
}

/// The publishing end.
#[derive(Clone, Debug)]
pub struct Bus {
    queue: mpsc::Sender<Batch>,
    room: Arc<Semaphore>,
}

/// The receiving end: batches in the order of their publication.
#[derive(Debug)]
pub struct Notices {
    queue: mpsc::Receiver<Batch>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Batch {
    notices: Vec<Notice>,
    /// Room that it takes until it is received.
    units: u32,
}

/// Nobody listens any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bus is closed")]
pub struct Closed;

/// A bus inside this process.
#[must_use]
pub fn local() -> (Bus, Notices) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let room = Arc::new(Semaphore::new(CAPACITY_BYTES / UNIT));
    let bus = Bus {
        queue: sender,
        room: Arc::clone(&room),
    };
    let notices = Notices {
        queue: receiver,
        room,
    };
    (bus, notices)
}

impl Bus {
    /// Publishes a batch, waiting while the bus is full.
    ///
    /// # Errors
    /// [`Closed`] when the receiving end is gone.
    ///
    /// # Cancellation safety
    /// A call that is dropped has published nothing.
    pub async fn publish(&self, notices: Vec<Notice>) -> Result<(), Closed> {
        let bytes: usize = notices.iter().map(Notice::bytes).sum();
        // One that is larger than everything waits until the bus is empty.
        let units = u32::try_from(bytes.min(CAPACITY_BYTES).div_ceil(UNIT)).unwrap_or(u32::MAX);
        let room = self.room.acquire_many(units).await.map_err(|_closed| Closed)?;
        let batch = Batch { notices, units };
        self.queue.send(batch).await.map_err(|_| Closed)?;
        // Given back when the batch is received.
        room.forget();
        Ok(())
    }
}

impl Notices {
    /// The next batch; `None` when every publisher is gone.
    ///
    /// # Cancellation safety
    /// No batch is lost when the call is dropped.
    pub async fn recv(&mut self) -> Option<Vec<Notice>> {
        let Batch { notices, units } = self.queue.recv().await?;
        self.room.add_permits(usize::try_from(units).unwrap_or_default());
        Some(notices)
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.room.close();
    }
}

impl Notice {
    /// Bytes that it keeps in memory beyond its own size.
    fn bytes(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.bytes(),
            Self::Opened { members, .. } => size_of_val(members.as_slice()),
            Self::ListChanged(_)
            | Self::SessionEnded(_)
            | Self::DeviceRevoked(_)
            | Self::ConnectionClosed(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future as _, pin::pin, task::Context, task::Waker};

    use unhidra_types::{MsgId, Timestamp};
    use unhidra_wire::frame::Deliver;

    use super::*;

    fn entry(bytes: usize) -> Vec<Notice> {
        let deliver = Deliver {
            conversation: ConversationId::from_bytes([1; 16]),
            seq: 1,
            msg_id: MsgId::from_bytes([2; 16]),
            sender: UserId::from_bytes([3; 16]),
            sender_device: DeviceId::from_bytes([4; 16]),
            server_time: Timestamp::EPOCH,
            attempt: 0,
            version: 1,
            flags: 0,
            capsule: None,
            body: vec![0; bytes].into(),
        };
        vec![Notice::Entry(Arc::new(Entry::for_members(deliver)))]
    }

    #[tokio::test]
    async fn large_batches_fill_the_bus_before_their_number_does() {
        let (bus, mut notices) = local();
        bus.publish(entry(2 * CAPACITY_BYTES)).await.unwrap();
        let mut waiting = pin!(bus.publish(entry(1)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(
            waiting.as_mut().poll(&mut context).is_pending(),
            "there is no room"
        );
        assert!(notices.recv().await.is_some());
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_for_room_learns_that_nobody_listens() {
        let (bus, notices) = local();
        bus.publish(entry(CAPACITY_BYTES)).await.unwrap();
        let waiting = bus.publish(entry(1));
        drop(notices);
        assert_eq!(waiting.await, Err(Closed));
    }
}
