//! How often the server is asked for the same thing: at once while that helps, ever more rarely when it does not.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use unhidra_client::Need;

/// How often a need is met at once when it comes back.
const AT_ONCE: u32 = 3;
/// The first pause after that; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Needs that were met lately. What has not come back for a while is forgotten, so it holds no more than a few
/// minutes' questions.
#[derive(Default)]
pub(super) struct Asked(BTreeMap<Need, Tally>);

struct Tally {
    times: u32,
    pause: Duration,
    again_at: Instant,
}

impl Asked {
    /// Whether a need is to be met now; counts it if so.
    pub(super) fn may_ask(&mut self, need: &Need, now: Instant) -> bool {
        let tally = self.0.entry(need.clone()).or_insert(Tally {
            times: 0,
            pause: FIRST_PAUSE,
            again_at: now,
        });
        if now < tally.again_at {
            return false;
        }
        tally.times += 1;
        tally.again_at = now;
        if tally.times >= AT_ONCE {
            tally.again_at += tally.pause;
            tally.pause = (tally.pause * 2).min(MAX_PAUSE);
        }
        true
    }

    /// Forgets what has not come back for two pauses since it could have been met again.
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.0.retain(|_, tally| now < tally.again_at + tally.pause * 2);
    }

    /// Forgets everything: the server may be another one than before.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use unhidra_types::UserId;

    use super::*;

    fn need(from: u32) -> Need {
        let user = UserId::from_bytes([1; 16]);
        Need::Chain { user, from }
    }

    #[test]
    fn a_need_that_always_comes_back_is_met_ever_more_rarely() {
        let mut asked = Asked::default();
        let begin = Instant::now();
        let mut times = 0;
        for tick in 0..1_800 {
            let now = begin + Duration::from_secs(2 * tick);
            asked.forget_old(now);
            times += u32::from(asked.may_ask(&need(7), now));
        }
        // In an hour: first every 2 s, then once a minute.
        assert!((60..=70).contains(&times), "{times}");
    }

    #[test]
    fn another_need_and_one_that_was_quiet_are_met_at_once() {
        let mut asked = Asked::default();
        let begin = Instant::now();
        while asked.may_ask(&need(7), begin) {}
        assert!(asked.may_ask(&need(8), begin));
        let later = begin + FIRST_PAUSE * 6;
        asked.forget_old(later);
        assert!((0..AT_ONCE).all(|_| asked.may_ask(&need(7), later)));
        assert!(!asked.may_ask(&need(7), later));
    }
}
