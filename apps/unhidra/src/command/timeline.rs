//! Messages of several conversations in order of time, read page by page.
//!
//! Within a conversation the log's order holds, whatever the server's clock did; between conversations the server's
//! time decides.

use std::collections::{BinaryHeap, VecDeque};

use unhidra_client::{Message, store::Order};
use unhidra_client_native::{Client, ClientError};
use unhidra_types::{ConversationId, UserId};

/// Messages of one conversation that are held at once.
const PAGE: usize = 32;

/// All messages of this device, or those with one user, from one end. It holds one page for each conversation.
pub(crate) struct Timeline {
    order: Order,
    logs: Vec<Log>,
    /// Which log goes on next: the largest first.
    heads: BinaryHeap<(u64, usize)>,
}

struct Log {
    conversation: ConversationId,
    /// The last place that was read.
    at: u64,
    page: VecDeque<Message>,
}

impl Timeline {
    /// Begins at the oldest or the newest message.
    pub(crate) fn begin(
        client: &mut Client,
        only: Option<UserId>,
        order: Order,
    ) -> Result<Self, ClientError> {
        let mut timeline = Self {
            order,
            logs: Vec::new(),
            heads: BinaryHeap::new(),
        };
        for conversation in client.device().conversations()? {
            if only.is_some_and(|peer| peer != conversation.peer) {
                continue;
            }
            timeline.logs.push(Log {
                conversation: conversation.id,
                at: match order {
                    Order::Ascending => 0,
                    Order::Descending => u64::MAX,
                },
                page: VecDeque::new(),
            });
            timeline.refill(client, timeline.logs.len() - 1)?;
        }
        Ok(timeline)
    }

    /// The next message; `None` at the other end.
    pub(crate) fn next(&mut self, client: &mut Client) -> Result<Option<Message>, ClientError> {
        let Some((_, index)) = self.heads.pop() else {
            return Ok(None);
        };
        let message = self.logs.get_mut(index).and_then(|log| log.page.pop_front());
        self.refill(client, index)?;
        Ok(message)
    }

    /// Reads the next page of a log if it is due, and puts the log in its place.
    fn refill(&mut self, client: &mut Client, index: usize) -> Result<(), ClientError> {
        let Some(log) = self.logs.get_mut(index) else {
            return Ok(());
        };
        if log.page.is_empty() {
            let device = client.device();
            log.page = VecDeque::from(match self.order {
                Order::Ascending => device.messages_after(log.conversation, log.at, PAGE)?,
                Order::Descending => device.messages_before(log.conversation, log.at, PAGE)?,
            });
            log.at = log.page.back().map_or(log.at, |last| last.seq);
        }
        if let Some(head) = log.page.front() {
            let time = head.server_time.as_millis();
            let key = match self.order {
                Order::Ascending => !time,
                Order::Descending => time,
            };
            self.heads.push((key, index));
        }
        Ok(())
    }
}
