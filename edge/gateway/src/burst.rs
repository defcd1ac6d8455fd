//! Entries of one log that were committed together, laid out together.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use unhidra_bus::Entry;
use unhidra_types::{ConversationId, DeviceId};

/// Entries of one burst at most: a connection that is a little behind takes what fits into its inbox.
const MAX_ENTRIES: usize = 64;
/// Bytes of a burst, unless its first entry alone has more.
const MAX_BYTES: usize = 64 * 1024;

/// Entries of one log that follow each other without a gap and are the same for every receiver. A connection that is
/// level with the first one, and has sent none of them, writes all of them as one piece.
#[derive(Debug)]
pub(crate) struct Burst {
    conversation: ConversationId,
    first: u64,
    last: u64,
    entries: Vec<Arc<Entry>>,
    /// The devices that sent them, each once.
    senders: Vec<DeviceId>,
    messages: Bytes,
}

impl Burst {
    /// As many entries from the front of `run` as make a burst; `None` if that is fewer than two.
    pub(crate) fn of_front(run: &[Arc<Entry>]) -> Option<Self> {
        let first = run.first()?.shared();
        let mut bytes = 0_usize;
        let of_burst = (first.seq..)
            .zip(run)
            .take(MAX_ENTRIES)
            .take_while(|(seq, entry)| {
                let shared = entry.shared();
                bytes = bytes.saturating_add(
                    entry
                        .message_for_members()
                        .map_or(MAX_BYTES, |message| message.len()),
                );
                shared.conversation == first.conversation && shared.seq == *seq && bytes <= MAX_BYTES
            });
        let entries: Vec<_> = of_burst.map(|(_, entry)| Arc::clone(entry)).collect();
        if entries.len() < 2 {
            return None;
        }
        let laid_out = entries.iter().filter_map(|entry| entry.message_for_members());
        let mut messages = BytesMut::with_capacity(laid_out.clone().map(|message| message.len()).sum());
        laid_out.for_each(|message| messages.put_slice(message));
        let mut senders: Vec<_> = entries.iter().map(|entry| entry.shared().sender_device).collect();
        senders.dedup();
        senders.sort_unstable();
        senders.dedup();
        Some(Self {
            conversation: first.conversation,
            first: first.seq,
            last: entries.last()?.shared().seq,
            senders,
            entries,
            messages: messages.freeze(),
        })
    }

    /// The log.
    pub(crate) const fn conversation(&self) -> ConversationId {
        self.conversation
    }

    /// The number of the first entry.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// The number of the last one.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// The entries in order, at least two.
    pub(crate) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// All of them as they go over a socket.
    pub(crate) const fn messages(&self) -> &Bytes {
        &self.messages
    }

    /// Bytes that it keeps in memory.
    pub(crate) const fn bytes(&self) -> usize {
        self.messages.len()
    }

    /// Whether one of them is from this device, which gets a skip for it.
    pub(crate) fn is_from(&self, device: DeviceId) -> bool {
        self.senders.contains(&device)
    }
}
