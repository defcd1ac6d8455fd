//! How fast one connection may append and fetch.

use std::time::Duration;

use tokio::time::Instant;
use unhidra_runtime::{Rate, rate::Cell};

/// The least that a refused client is asked to wait: what a client waits in any case.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// Refusals without a pause before the connection is closed: four times what a client has on its way at once.
const MAX_REFUSALS: u32 = 1_024;
/// Silence that shows that a client has heard: less than it is asked for, because its last envelopes were on their way.
const PAUSE: Duration = Duration::from_millis(500);

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on.
    Take,
    /// Say no, and when to try again.
    Refuse {
        /// The pause asked for.
        retry_after: Duration,
        /// Whether the one before was taken.
        is_first: bool,
    },
    /// It has not heard: close.
    Close,
}

/// The pace of one connection.
pub(super) struct Pace {
    rate: Rate,
    began: Instant,
    appends: Cell,
    fetches: Cell,
    /// Since the last pause; what the rate lets through in between does not count as one.
    refusals: u32,
    is_refusing: bool,
    last: Duration,
}

impl Pace {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            began: Instant::now(),
            appends: Cell::default(),
            fetches: Cell::default(),
            refusals: 0,
            is_refusing: false,
            last: Duration::ZERO,
        }
    }

    pub(super) fn append(&mut self) -> Verdict {
        let now = self.began.elapsed();
        if now.saturating_sub(self.last) >= PAUSE {
            self.refusals = 0;
        }
        self.last = now;
        match self.appends.take(&self.rate, now) {
            Ok(_grant) => {
                self.is_refusing = false;
                Verdict::Take
            }
            Err(_exceeded) if self.refusals >= MAX_REFUSALS => Verdict::Close,
            Err(exceeded) => {
                self.refusals += 1;
                Verdict::Refuse {
                    retry_after: exceeded.retry_after.max(LEAST_PAUSE),
                    is_first: !std::mem::replace(&mut self.is_refusing, true),
                }
            }
        }
    }

    /// A range is asked for again only after something went wrong: there is no answer that could say "later".
    pub(super) fn fetch(&mut self) -> Verdict {
        match self.fetches.take(&self.rate, self.began.elapsed()) {
            Ok(_grant) => Verdict::Take,
            Err(_exceeded) => Verdict::Close,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn pace() -> Pace {
        Pace::new(Rate::new(2, Duration::from_secs(1), 3))
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_makes_room_for_what_the_rate_says() {
        let mut pace = pace();
        assert!((0..3).all(|_| pace.append() == Verdict::Take));
        let refused = Verdict::Refuse {
            retry_after: LEAST_PAUSE,
            is_first: true,
        };
        assert_eq!(pace.append(), refused);
        advance(LEAST_PAUSE).await;
        assert!((0..2).all(|_| pace.append() == Verdict::Take));
        assert_eq!(pace.append(), refused);
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_pauses_is_closed() {
        let mut pace = pace();
        let verdicts = (0..2_000)
            .map(|_| pace.append())
            .take_while(|verdict| *verdict != Verdict::Close);
        assert_eq!(verdicts.count(), 3 + usize::try_from(MAX_REFUSALS).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_rate_lets_through_is_no_pause() {
        let mut pace = pace();
        let mut verdicts = Vec::new();
        while verdicts.last() != Some(&Verdict::Close) {
            assert!(verdicts.len() < 3_000, "never closed");
            verdicts.push(pace.append());
            advance(PAUSE / 10).await;
        }
        assert!(verdicts.iter().skip(3).any(|verdict| *verdict == Verdict::Take));
    }

    #[tokio::test(start_paused = true)]
    async fn who_pauses_as_told_is_never_closed() {
        let mut pace = pace();
        for _ in 0..20 {
            // What a client has on its way at once.
            assert!((0..256).all(|_| pace.append() != Verdict::Close));
            advance(LEAST_PAUSE).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ranges_are_asked_for_at_the_same_rate() {
        let mut pace = pace();
        assert!((0..3).all(|_| pace.fetch() == Verdict::Take));
        assert_eq!(pace.fetch(), Verdict::Close);
    }
}
