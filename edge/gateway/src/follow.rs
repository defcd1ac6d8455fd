//! The logs that one connection follows, and how far each has been sent.

use std::collections::{HashMap, VecDeque};

use unhidra_messaging::delivery::{Log, MAX_LOGS};
use unhidra_store::cursor::Position;
use unhidra_types::ConversationId;

/// A log and the last entry of it that was sent.
#[derive(Clone, Copy, Debug)]
struct Followed {
    log: Log,
    sent: u64,
    /// The last entry that is known to exist.
    known: u64,
}

/// What a live entry means for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Live {
    /// It is the next one: send it.
    Send,
    /// It was sent already, or will be read from the log.
    Drop,
    /// Its log is not followed.
    Unknown,
}

/// At most `messaging::delivery::MAX_LOGS` logs.
#[derive(Debug, Default)]
pub(crate) struct Following {
    logs: HashMap<ConversationId, Followed>,
    /// Logs with entries that are known and not sent, each once.
    behind: VecDeque<ConversationId>,
}

impl Following {
    pub(crate) fn contains(&self, conversation: ConversationId) -> bool {
        self.logs.contains_key(&conversation)
    }

    /// Whether one more log may be followed. The entries of others are read over REST.
    pub(crate) fn has_room(&self) -> bool {
        u32::try_from(self.logs.len()).is_ok_and(|logs| logs < MAX_LOGS)
    }

    pub(crate) fn conversations(&self) -> impl Iterator<Item = ConversationId> {
        self.logs.keys().copied()
    }

    /// Takes over a position, of a new log or of a known one.
    pub(crate) fn update(&mut self, position: &Position) {
        let start = position.acknowledged.min(position.head);
        let followed = self.logs.entry(position.conversation).or_insert(Followed {
            log: position.into(),
            sent: start,
            known: start,
        });
        if position.head > followed.known {
            if followed.sent == followed.known {
                self.behind.push_back(position.conversation);
            }
            followed.known = position.head;
        }
    }

    /// Decides on a live entry, and remembers it.
    pub(crate) fn live(&mut self, conversation: ConversationId, seq: u64) -> Live {
        let Some(followed) = self.logs.get_mut(&conversation) else {
            return Live::Unknown;
        };
        if seq <= followed.known {
            return Live::Drop;
        }
        let level = followed.sent == followed.known;
        followed.known = seq;
        if level && seq == followed.sent + 1 {
            followed.sent = seq;
            return Live::Send;
        }
        if level {
            self.behind.push_back(conversation);
        }
        Live::Drop
    }

    /// [`Following::live`] for `first..=last` together: whether all of them are next. Otherwise nothing is remembered.
    pub(crate) fn all_live(&mut self, conversation: ConversationId, first: u64, last: u64) -> bool {
        let next = |followed: &&mut Followed| followed.sent == followed.known && first == followed.sent + 1;
        match self.logs.get_mut(&conversation).filter(next) {
            Some(followed) => {
                (followed.sent, followed.known) = (last, last);
                true
            }
            None => false,
        }
    }

    /// The next range that is known and not sent.
    pub(crate) fn next_behind(&self) -> Option<(Log, u64, u64)> {
        let followed = self.logs.get(self.behind.front()?)?;
        Some((followed.log, followed.sent + 1, followed.known))
    }

    /// Everything through `seq` of the log at the front has been sent; logs take turns.
    pub(crate) fn sent(&mut self, conversation: ConversationId, seq: u64) {
        let Some(followed) = self.logs.get_mut(&conversation) else {
            return;
        };
        followed.sent = followed.sent.max(seq);
        if self.behind.front() == Some(&conversation) {
            self.behind.pop_front();
            if followed.sent < followed.known {
                self.behind.push_back(conversation);
            }
        }
    }

    /// The last entry of a log that was sent.
    pub(crate) fn sent_through(&self, conversation: ConversationId) -> Option<u64> {
        self.logs.get(&conversation).map(|followed| followed.sent)
    }

    /// The log, and `seq` cut to what was sent of it.
    pub(crate) fn sent_part(&self, conversation: ConversationId, seq: u64) -> Option<(Log, u64)> {
        let followed = self.logs.get(&conversation)?;
        Some((followed.log, seq.min(followed.sent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unhidra_store::conversation::Kind;

    const LOG: ConversationId = ConversationId::from_bytes([1; 16]);

    fn position(acknowledged: u64, head: u64) -> Position {
        Position {
            log: Default::default(),
            conversation: LOG,
            kind: Kind::Group,
            acknowledged,
            head,
        }
    }

    fn level_at(seq: u64) -> Following {
        let mut following = Following::default();
        following.update(&position(seq, seq));
        following
    }

    #[test]
    fn the_next_entry_is_sent_live_and_a_repeated_one_is_not() {
        let mut following = level_at(5);
        assert_eq!(following.live(LOG, 6), Live::Send);
        assert_eq!(following.live(LOG, 6), Live::Drop);
        assert_eq!(following.next_behind().map(|(_, from, to)| (from, to)), None);
    }

    #[test]
    fn a_gap_is_read_from_the_log_before_anything_later_is_sent() {
        let mut following = level_at(5);
        assert_eq!(following.live(LOG, 8), Live::Drop);
        assert_eq!(following.live(LOG, 9), Live::Drop);
        assert_eq!(
            following.next_behind().map(|(_, from, to)| (from, to)),
            Some((6, 9))
        );
        following.sent(LOG, 7);
        assert_eq!(
            following.next_behind().map(|(_, from, to)| (from, to)),
            Some((8, 9))
        );
        following.sent(LOG, 9);
        assert_eq!(following.next_behind().map(|(_, from, to)| (from, to)), None);
        assert_eq!(following.live(LOG, 10), Live::Send);
    }

    #[test]
    fn entries_are_sent_together_only_if_the_first_is_next() {
        let mut following = level_at(5);
        assert!(!following.all_live(LOG, 7, 9), "after a gap");
        assert!(!following.all_live(LOG, 5, 7), "sent in part");
        assert!(following.all_live(LOG, 6, 8));
        assert_eq!(following.live(LOG, 8), Live::Drop);
        assert_eq!(following.live(LOG, 9), Live::Send);
        assert_eq!(following.live(LOG, 11), Live::Drop);
        assert!(!following.all_live(LOG, 12, 13), "behind");
    }

    #[test]
    fn no_more_logs_are_followed_than_the_bound() {
        let mut following = Following::default();
        for number in 0..MAX_LOGS {
            assert!(following.has_room());
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            following.update(&Position {
                conversation: ConversationId::from_bytes(id),
                ..position(0, 0)
            });
        }
        assert!(!following.has_room());
    }

    #[test]
    fn an_acknowledgement_reaches_no_further_than_what_was_sent() {
        let following = level_at(5);
        assert_eq!(following.sent_part(LOG, 900).map(|(_, seq)| seq), Some(5));
    }
}
