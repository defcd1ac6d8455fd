//! What a message says, so that its receivers can tell that none is lost and none comes twice.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Bytes of a stamp; the rest of a body is filler.
pub(crate) const STAMP_BYTES: usize = 24;

/// Who sent a message, which one it is, and when it was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The run: what an earlier one has left is not counted.
    pub(crate) run: u32,
    /// The sender, a number.
    pub(crate) sender: u32,
    /// From 0, without gaps.
    pub(crate) counter: u64,
    /// Since the beginning of the run.
    pub(crate) sent: Duration,
}

impl Stamp {
    pub(crate) fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        let sent = u64::try_from(self.sent.as_micros()).unwrap_or(u64::MAX);
        let parts = [
            u64::from(self.run) << 32 | u64::from(self.sender),
            self.counter,
            sent,
        ];
        for (place, part) in bytes.chunks_exact_mut(8).zip(parts) {
            place.copy_from_slice(&part.to_be_bytes());
        }
        bytes
    }

    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let (run, rest) = body.split_first_chunk()?;
        let (sender, rest) = rest.split_first_chunk()?;
        let (counter, rest) = rest.split_first_chunk()?;
        Some(Self {
            run: u32::from_be_bytes(*run),
            sender: u32::from_be_bytes(*sender),
            counter: u64::from_be_bytes(*counter),
            sent: Duration::from_micros(u64::from_be_bytes(*rest.first_chunk()?)),
        })
    }
}

/// A run: its number, and when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) number: u32,
    pub(crate) began: Instant,
}

/// What one receiver has got.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    logs: Vec<([u8; 16], u64)>,
    last_log: usize,
    senders: Vec<Seen>,
    last_sender: usize,
    /// Different messages.
    pub(crate) received: u64,
    /// Messages that stand twice in a log.
    pub(crate) duplicated: u64,
    /// Entries that came again after a reconnection, as they may: nobody has acknowledged them.
    pub(crate) repeated: u64,
}

#[derive(Debug)]
struct Seen {
    sender: u32,
    /// All before this one have come.
    next: u64,
    ahead: BTreeSet<u64>,
}

impl Ledger {
    /// Takes over an entry; whether it is a new one.
    pub(crate) fn take(&mut self, log: [u8; 16], seq: u64, stamp: &Stamp) -> bool {
        if !self.is_further(log, seq) {
            self.repeated += 1;
            return false;
        }
        let is_new = self.seen(stamp.sender).take(stamp.counter);
        if is_new {
            self.received += 1;
        } else {
            self.duplicated += 1;
        }
        is_new
    }

    /// How many of each sender's messages are missing, given how many there are.
    pub(crate) fn missing(&self, sent: &[(u32, u64)]) -> u64 {
        let of = |sender: u32| self.senders.iter().find(|seen| seen.sender == sender);
        sent.iter()
            .map(|(sender, count)| {
                let got = of(*sender).map_or(0, |seen| seen.next + seen.ahead.len() as u64);
                count.saturating_sub(got)
            })
            .sum()
    }

    fn is_further(&mut self, log: [u8; 16], seq: u64) -> bool {
        if self
            .logs
            .get(self.last_log)
            .is_none_or(|(known, _)| *known != log)
        {
            let place = self.logs.iter().position(|(known, _)| *known == log);
            self.last_log = place.unwrap_or_else(|| {
                self.logs.push((log, 0));
                self.logs.len() - 1
            });
        }
        match self.logs.get_mut(self.last_log) {
            Some((_, last)) if seq > *last => {
                *last = seq;
                true
            }
            _ => false,
        }
    }

    fn seen(&mut self, sender: u32) -> &mut Seen {
        let is_last = self
            .senders
            .get(self.last_sender)
            .is_some_and(|seen| seen.sender == sender);
        if !is_last {
            let place = self.senders.iter().position(|seen| seen.sender == sender);
            self.last_sender = place.unwrap_or(self.senders.len());
        }
        if self.last_sender == self.senders.len() {
            self.senders.push(Seen {
                sender,
                next: 0,
                ahead: BTreeSet::new(),
            });
        }
        &mut self.senders[self.last_sender]
    }
}

impl Seen {
    fn take(&mut self, counter: u64) -> bool {
        if counter < self.next {
            return false;
        }
        if counter > self.next {
            return self.ahead.insert(counter);
        }
        self.next += 1;
        while self.ahead.remove(&self.next) {
            self.next += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn stamp(sender: u32, counter: u64) -> Stamp {
        Stamp {
            run: 1,
            sender,
            counter,
            sent: Duration::from_micros(counter),
        }
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = stamp(7, 1 << 40);
        let body = [stamp.to_bytes().as_slice(), &[0; 10]].concat();
        assert_eq!(Stamp::read(&body), Some(stamp));
        assert_eq!(Stamp::read(&body[..STAMP_BYTES - 1]), None);
    }

    #[test]
    fn an_entry_that_comes_again_is_told_from_a_message_that_is_in_the_log_twice() {
        let mut ledger = Ledger::default();
        assert!(ledger.take([1; 16], 1, &stamp(1, 0)));
        assert!(!ledger.take([1; 16], 1, &stamp(1, 0)));
        assert_eq!((ledger.repeated, ledger.duplicated), (1, 0));
        assert!(!ledger.take([1; 16], 2, &stamp(1, 0)));
        assert_eq!((ledger.repeated, ledger.duplicated), (1, 1));
    }

    proptest! {
        #[test]
        fn a_ledger_counts_as_a_set_does(entries in prop::collection::vec((0_u32..3, 0_u64..20), 0..80)) {
            let (mut ledger, mut model) = (Ledger::default(), HashSet::new());
            let mut seq = 0;
            for (sender, counter) in entries {
                seq += 1;
                prop_assert_eq!(ledger.take([9; 16], seq, &stamp(sender, counter)), model.insert((sender, counter)));
            }
            let missing = 3 * 20 - model.len() as u64;
            prop_assert_eq!(ledger.missing(&[(0, 20), (1, 20), (2, 20)]), missing);
            prop_assert_eq!(ledger.received, model.len() as u64);
        }
    }
}
