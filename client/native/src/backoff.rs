//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// Exponential back-off with jitter, so that clients of a restarted server do not return all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffPolicy {
    /// The first wait.
    pub first: Duration,
    /// The longest wait, before jitter.
    pub longest: Duration,
    /// How far a wait may lie from its nominal length, in percent of it.
    pub jitter_percent: u32,
}

impl Default for BackoffPolicy {
    /// 1 s, doubling up to 60 s, +-30 %.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            jitter_percent: 30,
        }
    }
}

/// Consecutive failures so far.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    policy: BackoffPolicy,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(policy: BackoffPolicy) -> Self {
        Self { policy, failures: 0 }
    }

    /// The wait after one more failure. `random` decides the jitter.
    pub(crate) fn next(&mut self, random: u32) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures.min(31));
        self.failures = self.failures.saturating_add(1);
        let nominal = self.policy.first.saturating_mul(factor).min(self.policy.longest);
        let spread = 2 * self.policy.jitter_percent + 1;
        let percent = 100 + random % spread - self.policy.jitter_percent.min(100);
        nominal.saturating_mul(percent) / 100
    }

    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_over() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        let middle = 30;
        let waits: Vec<u64> = (0..9).map(|_| backoff.next(middle).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next(middle), Duration::from_secs(1));
    }

    #[test]
    fn jitter_stays_within_thirty_percent() {
        for random in 0..1_000 {
            let wait = Backoff::new(BackoffPolicy::default()).next(random);
            assert!((700..=1_300).contains(&wait.as_millis()), "{wait:?}");
        }
    }
}
