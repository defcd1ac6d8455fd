//! How often passwords and invitations may be tried, and by whom.
//!
//! Three bounds, all looked at before a password is computed: how much one network tries, how much is tried on one
//! account, and a delay that grows with the failures of one network on one account. Only the last one is long, and
//! only whoever failed waits for it. A network from which the account has logged in is not counted for the account, so
//! that nobody is locked out by the guesses of others.
//!
//! A name counts whether or not an account has it.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use unhidra_runtime::{Limiter, Rate, Recent, Subscriber, rate::Exceeded};
use unhidra_types::Timestamp;

use crate::refusal::RefusalKey;

/// Networks, names, and pairs of both that are remembered, each at least so many.
const REMEMBERED: usize = 16_384;
/// Failures of one network on one account that cost nothing.
const FREE_FAILURES: u32 = 5;
/// The delay after one more; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// The rates; whatever succeeds does not count.
#[derive(Clone, Copy, Debug)]
pub struct Tries {
    /// Logins from one network.
    pub logins_per_network: Rate,
    /// Logins to one account, from networks that it has not been used from.
    pub logins_per_account: Rate,
    /// Accounts opened from one network.
    pub openings_per_network: Rate,
}

impl Default for Tries {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            logins_per_network: Rate::new(30, minute, 60),
            logins_per_account: Rate::new(20, minute, 60),
            openings_per_network: Rate::new(30, minute, 60),
        }
    }
}

/// What was tried lately.
pub(crate) struct Throttle {
    networks: Limiter<Subscriber>,
    accounts: Limiter<RefusalKey>,
    openings: Limiter<Subscriber>,
    pairs: Mutex<Recent<(RefusalKey, Subscriber), Pair>>,
}

/// One network on one account.
#[derive(Clone, Copy, Default)]
struct Pair {
    failures: u32,
    not_before: Timestamp,
    has_succeeded: bool,
}

/// A login that was let through and counts as failed until it has succeeded.
#[must_use]
pub(crate) struct Attempt {
    account: RefusalKey,
    network: Option<Subscriber>,
    counts_for_account: bool,
}

impl Throttle {
    pub(crate) fn new(tries: &Tries) -> Self {
        Self {
            networks: Limiter::new(tries.logins_per_network, REMEMBERED),
            accounts: Limiter::new(tries.logins_per_account, REMEMBERED),
            openings: Limiter::new(tries.openings_per_network, REMEMBERED),
            pairs: Mutex::new(Recent::new(REMEMBERED)),
        }
    }

    /// Lets a login through, or says when.
    pub(crate) fn log_in(
        &self,
        account: RefusalKey,
        network: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Attempt, Exceeded> {
        let network = network.map(Subscriber::from);
        let known = match network {
            Some(network) => self.let_pair_through(account, network, now)?,
            None => false,
        };
        let mut attempt = Attempt {
            account,
            network,
            counts_for_account: false,
        };
        if let Some(network) = network
            && let Err(exceeded) = self.networks.take(network, since_epoch(now))
        {
            self.forgive_pair(account, Some(network));
            return Err(exceeded);
        }
        if !known {
            if let Err(exceeded) = self.accounts.take(account, since_epoch(now)) {
                self.forgive(&attempt);
                return Err(exceeded);
            }
            attempt.counts_for_account = true;
        }
        Ok(attempt)
    }

    /// It succeeded: none of it counts.
    pub(crate) fn succeeded(&self, attempt: &Attempt) {
        self.give_back(attempt);
        if let Some(network) = attempt.network {
            *self.pairs().entry((attempt.account, network)) = Pair {
                has_succeeded: true,
                ..Pair::default()
            };
        }
    }

    /// It was not decided: it does not count.
    pub(crate) fn forgive(&self, attempt: &Attempt) {
        self.give_back(attempt);
        self.forgive_pair(attempt.account, attempt.network);
    }

    /// Lets the opening of an account through, or says when.
    pub(crate) fn open_account(&self, network: Option<IpAddr>, now: Timestamp) -> Result<(), Exceeded> {
        match network {
            Some(network) => self.openings.take(network.into(), since_epoch(now)).map(drop),
            None => Ok(()),
        }
    }

    /// The invitation was good.
    pub(crate) fn opened_account(&self, network: Option<IpAddr>) {
        if let Some(network) = network {
            self.openings.give_back(network.into());
        }
    }

    /// Counts one more failure of the pair, and answers whether it has succeeded before.
    fn let_pair_through(
        &self,
        account: RefusalKey,
        network: Subscriber,
        now: Timestamp,
    ) -> Result<bool, Exceeded> {
        let mut pairs = self.pairs();
        let pair = pairs.entry((account, network));
        // A clock that stepped back does not make a delay longer.
        let wait = pair.not_before.since(now).min(LONGEST_DELAY);
        if !wait.is_zero() {
            return Err(Exceeded {
                limit: 1,
                retry_after: wait,
                reset: wait,
            });
        }
        pair.failures = pair.failures.saturating_add(1);
        if let Some(beyond) = pair.failures.checked_sub(FREE_FAILURES) {
            let delay = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(beyond));
            pair.not_before = now.saturating_add(delay.min(LONGEST_DELAY));
        }
        Ok(pair.has_succeeded)
    }

    fn forgive_pair(&self, account: RefusalKey, network: Option<Subscriber>) {
        if let Some(network) = network {
            let mut pairs = self.pairs();
            let pair = pairs.entry((account, network));
            pair.failures = pair.failures.saturating_sub(1);
            pair.not_before = Timestamp::EPOCH;
        }
    }

    fn give_back(&self, attempt: &Attempt) {
        if let Some(network) = attempt.network {
            self.networks.give_back(network);
        }
        if attempt.counts_for_account {
            self.accounts.give_back(attempt.account);
        }
    }

    fn pairs(&self) -> MutexGuard<'_, Recent<(RefusalKey, Subscriber), Pair>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn since_epoch(now: Timestamp) -> Duration {
    now.since(Timestamp::EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const ALICE: RefusalKey = RefusalKey::of([1; 16]);

    fn throttle() -> Throttle {
        Throttle::new(&Tries::default())
    }

    fn network(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    fn after(seconds: u64) -> Timestamp {
        NOW.saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn the_delay_of_one_guesser_grows_up_to_its_bound_and_ends_with_a_success() {
        let throttle = throttle();
        for _ in 0..FREE_FAILURES {
            assert!(throttle.log_in(ALICE, network(1), NOW).is_ok());
        }
        let mut at = 0;
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let Err(wait) = throttle.log_in(ALICE, network(1), after(at)) else {
                panic!("let through after {at} s")
            };
            assert_eq!(wait.retry_after.as_secs(), expected);
            at += expected;
            // The account's own bound refills meanwhile.
            let Ok(attempt) = throttle.log_in(ALICE, network(1), after(at)) else {
                panic!("refused after {at} s")
            };
            if expected == 300 {
                throttle.succeeded(&attempt);
                break;
            }
        }
        for _ in 0..FREE_FAILURES {
            assert!(throttle.log_in(ALICE, network(1), after(at)).is_ok());
        }
    }

    #[test]
    fn whoever_has_logged_in_from_here_is_not_locked_out_by_guesses_from_elsewhere() {
        let throttle = throttle();
        let Ok(first) = throttle.log_in(ALICE, network(1), NOW) else {
            panic!("refused")
        };
        throttle.succeeded(&first);
        let refused = (2..=250).filter(|from| throttle.log_in(ALICE, network(*from), NOW).is_err());
        assert!(refused.count() > 100, "guesses from everywhere are bounded");
        assert!(throttle.log_in(ALICE, network(1), NOW).is_ok());
        // And whoever has not waits no longer than it takes to make room for one.
        let Err(wait) = throttle.log_in(ALICE, network(251), NOW) else {
            panic!("let through")
        };
        assert!(wait.retry_after <= Duration::from_secs(3), "{wait:?}");
    }

    #[test]
    fn one_network_tries_many_names_no_faster_than_its_rate() {
        let throttle = throttle();
        let tried = (0..200).filter(|name| {
            throttle
                .log_in(RefusalKey::of([*name; 16]), network(9), NOW)
                .is_ok()
        });
        assert_eq!(tried.count(), 60);
    }

    #[test]
    fn what_succeeds_is_not_counted() {
        let throttle = throttle();
        for _ in 0..500 {
            let Ok(attempt) = throttle.log_in(ALICE, network(1), NOW) else {
                panic!("refused")
            };
            throttle.succeeded(&attempt);
            assert!(throttle.open_account(network(1), NOW).is_ok());
            throttle.opened_account(network(1));
        }
    }
}
