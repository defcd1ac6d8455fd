//! Which messages are new to whoever reads on this device.
//!
//! Two kinds of marks, both numbers of the journal: one for everything that `read` and `listen` have printed, and one
//! for each conversation that `chat` and `read --from` have shown.

use std::collections::BTreeMap;

use unhidra_client::Message;
use unhidra_client_native::{Client, ClientError};
use unhidra_types::{ConversationId, UserId};

/// The mark that says how far this profile's messages were printed.
const MARK: &str = "printed";
/// Messages looked up at once.
const PAGE: usize = 256;
/// Places that are put in order at once: 3 MiB. What is beyond comes after it.
const WINDOW: usize = 65_536;

/// Where a new message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) conversation: ConversationId,
    pub(crate) seq: u64,
    server_time: u64,
}

/// What is new, and how far everything was looked at.
pub(crate) struct News {
    only: Option<UserId>,
    after: u64,
    shown: BTreeMap<ConversationId, u64>,
}

impl News {
    /// Begins behind what was printed last.
    pub(crate) fn begin(client: &mut Client, only: Option<UserId>) -> Result<Self, ClientError> {
        Ok(Self {
            only,
            after: client.mark(MARK)?.unwrap_or(0),
            shown: BTreeMap::new(),
        })
    }

    /// The number of the journal that was looked at last.
    pub(crate) const fn after(&self) -> u64 {
        self.after
    }

    /// At most `limit` new places in order of time, the ones that arrived first; none when nothing is left.
    pub(crate) fn next(&mut self, client: &mut Client, limit: usize) -> Result<Vec<Place>, ClientError> {
        let mut places = Vec::new();
        let limit = limit.min(WINDOW);
        while places.len() < limit {
            let page = client.device().journal(self.after, PAGE)?;
            if page.is_empty() {
                break;
            }
            for (number, message) in page {
                if places.len() == limit {
                    break;
                }
                if self.is_wanted(client, number, &message)? {
                    places.push(Place {
                        conversation: message.conversation,
                        seq: message.seq,
                        server_time: message.server_time.as_millis(),
                    });
                }
                self.after = number;
            }
        }
        Ok(by_time(places))
    }

    /// Whether a message of the journal is news here.
    pub(crate) fn is_wanted(
        &mut self,
        client: &mut Client,
        number: u64,
        message: &Message,
    ) -> Result<bool, ClientError> {
        // What was typed on this device is not news here.
        if message.sender_device == client.device_id() {
            return Ok(false);
        }
        if let Some(peer) = self.only
            && client.peer_of(message.conversation)? != peer
        {
            return Ok(false);
        }
        let shown = match self.shown.get(&message.conversation) {
            Some(shown) => *shown,
            None => {
                let shown = shown_through(client, message.conversation)?;
                self.shown.insert(message.conversation, shown);
                shown
            }
        };
        Ok(number > shown)
    }

    /// Remembers that everything up to here was printed.
    pub(crate) fn remember(&self, client: &mut Client) -> Result<(), ClientError> {
        match self.only {
            None => client.set_mark(MARK, self.after),
            Some(peer) => {
                let conversation = client.conversation_with(peer);
                remember_shown(client, conversation, self.after)
            }
        }
    }

    /// Goes on behind number `number`, which was printed.
    pub(crate) fn printed(&mut self, client: &mut Client, number: u64) -> Result<(), ClientError> {
        self.after = number;
        self.remember(client)
    }
}

/// Up to which number of the journal a conversation was shown, by whichever command.
pub(crate) fn shown_through(client: &mut Client, conversation: ConversationId) -> Result<u64, ClientError> {
    let own = client.mark(&conversation_mark(conversation))?.unwrap_or(0);
    Ok(own.max(client.mark(MARK)?.unwrap_or(0)))
}

/// Remembers that a conversation was shown up to number `number`.
pub(crate) fn remember_shown(
    client: &mut Client,
    conversation: ConversationId,
    number: u64,
) -> Result<(), ClientError> {
    client.set_mark(&conversation_mark(conversation), number)
}

fn conversation_mark(conversation: ConversationId) -> String {
    format!("{MARK} {conversation}")
}

/// By time between conversations, by the log within one, whatever the server's clock did.
fn by_time(mut places: Vec<Place>) -> Vec<Place> {
    places.sort_unstable();
    let mut before: Option<Place> = None;
    for place in &mut places {
        if let Some(before) = before
            && before.conversation == place.conversation
        {
            place.server_time = place.server_time.max(before.server_time);
        }
        before = Some(*place);
    }
    places.sort_by_key(|place| place.server_time);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(conversation: u8, seq: u64, server_time: u64) -> Place {
        let conversation = ConversationId::from_bytes([conversation; 16]);
        Place {
            conversation,
            seq,
            server_time,
        }
    }

    #[test]
    fn times_decide_between_conversations_and_the_log_within_one() {
        // The server's clock went back between 7 and 8 of the first conversation.
        let arrived = vec![place(1, 8, 20), place(2, 1, 25), place(1, 7, 30), place(2, 2, 40)];
        let order: Vec<_> = by_time(arrived)
            .iter()
            .map(|place| (place.conversation.as_bytes()[0], place.seq))
            .collect();
        assert_eq!(order, [(2, 1), (1, 7), (1, 8), (2, 2)]);
    }
}
