//! How often something may happen: a rate with a burst, for one thing or for each of many.
//!
//! The generic cell rate algorithm: of each thing one number is kept, the time at which its allowance is full again.
//! There is no timer and no queue. Time is an argument, counted from any fixed moment; when it steps back, a wait
//! never exceeds the one after a full burst.

use std::{
    borrow::Cow,
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::Recent;

/// So many within a time, and so many at once before that counts. Written `60/min burst 600`, `50/s`, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds in which one comes back; zero when there is no limit.
    interval: u64,
    burst: u32,
}

/// It may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How often it may happen at once.
    pub limit: u32,
    /// How often it may still happen now.
    pub remaining: u32,
    /// Until `remaining` is `limit` again.
    pub reset: Duration,
}

/// It may not happen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too often: try again in {} ms", retry_after.as_millis())]
pub struct Exceeded {
    /// How often it may happen at once.
    pub limit: u32,
    /// Until it may happen once.
    pub retry_after: Duration,
    /// Until it may happen `limit` times.
    pub reset: Duration,
}

/// Why a text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a rate such as `50/s`, `60/min burst 600`, `1000/h` or `off`")]
pub struct ParseRateError;

impl Rate {
    /// No limit.
    pub const OFF: Self = Self {
        interval: 0,
        burst: u32::MAX,
    };

    /// `count` within `period`, and `burst` at once; neither number is less than one.
    #[must_use]
    pub fn new(count: u32, period: Duration, burst: u32) -> Self {
        let interval = nanos(period) / u64::from(count.max(1));
        Self {
            interval,
            burst: burst.max(1),
        }
    }

    /// How often it may happen at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Nanoseconds until all of the burst are back.
    fn whole(&self) -> u64 {
        self.interval.saturating_mul(u64::from(self.burst))
    }

    /// How many are left when it takes `used` nanoseconds until all are back.
    fn left(&self, used: u64) -> u32 {
        let free = self.whole().saturating_sub(used);
        let left = free.checked_div(self.interval).unwrap_or(u64::MAX);
        u32::try_from(left).unwrap_or(u32::MAX)
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        if text.trim() == "off" {
            return Ok(Self::OFF);
        }
        let (rate, burst) = match text.split_once("burst") {
            Some((rate, burst)) => (rate, Some(burst)),
            None => (text, None),
        };
        let number = |text: &str| match text.trim().parse::<u32>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(ParseRateError),
        };
        let (count, unit) = rate.split_once('/').ok_or(ParseRateError)?;
        let count = number(count)?;
        let period = match unit.trim() {
            "s" => 1,
            "min" => 60,
            "h" => 3_600,
            _ => return Err(ParseRateError),
        };
        let burst = burst.map_or(Ok(count), number)?;
        Ok(Self::new(count, Duration::from_secs(period), burst))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// What is remembered of one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// When its allowance is full again, in nanoseconds.
    full_at: u64,
}

impl Cell {
    /// Takes one, at `now`.
    ///
    /// # Errors
    /// [`Exceeded`] when none is left; nothing is taken then.
    pub fn take(&mut self, rate: &Rate, now: Duration) -> Result<Grant, Exceeded> {
        let now = nanos(now);
        // More than everything is never owed: that is a clock that has stepped back.
        let used = self.full_at.saturating_sub(now).min(rate.whole());
        if rate.interval != 0 && rate.left(used) == 0 {
            self.full_at = now.saturating_add(used);
            let wait = used.saturating_add(rate.interval).saturating_sub(rate.whole());
            return Err(Exceeded {
                limit: rate.burst,
                retry_after: Duration::from_nanos(wait),
                reset: Duration::from_nanos(used),
            });
        }
        let used = used.saturating_add(rate.interval);
        self.full_at = now.saturating_add(used);
        Ok(Grant {
            limit: rate.burst,
            remaining: rate.left(used),
            reset: Duration::from_nanos(used),
        })
    }

    /// Gives one back that was taken.
    pub fn give_back(&mut self, rate: &Rate) {
        self.full_at = self.full_at.saturating_sub(rate.interval);
    }
}

/// A rate for each of many things, of which the latest `capacity` at least are remembered; the others begin with a full
/// burst ([`Recent`]).
#[derive(Debug)]
pub struct Limiter<K> {
    rate: Rate,
    cells: Mutex<Recent<K, Cell>>,
}

impl<K: Copy + Eq + Hash> Limiter<K> {
    /// A limiter that remembers at least the last `capacity` things.
    #[must_use]
    pub fn new(rate: Rate, capacity: usize) -> Self {
        Self {
            rate,
            cells: Mutex::new(Recent::new(capacity)),
        }
    }

    /// Takes one of `key`'s, at `now`.
    ///
    /// # Errors
    /// [`Exceeded`] when none is left; nothing is taken then.
    pub fn take(&self, key: K, now: Duration) -> Result<Grant, Exceeded> {
        if self.rate == Rate::OFF {
            return Cell::default().take(&self.rate, now);
        }
        self.lock().entry(key).take(&self.rate, now)
    }

    /// Gives one of `key`'s back that was taken.
    pub fn give_back(&self, key: K) {
        if self.rate != Rate::OFF {
            self.lock().entry(key).give_back(&self.rate);
        }
    }

    /// Things that are remembered, at most twice the capacity.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Recent<K, Cell>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom an address counts for: the address itself, or in IPv6 the /64 that one subscriber gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subscriber {
    /// An IPv4 address, however it is written.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    V6([u8; 8]),
}

impl From<IpAddr> for Subscriber {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interval {
            0 => f.write_str("off"),
            interval => write!(
                f,
                "one in {:?} burst {}",
                Duration::from_nanos(interval),
                self.burst
            ),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let (rate, mut cell) = (rate("2/s burst 3"), Cell::default());
        let left: Vec<_> = (0..3)
            .map(|_| cell.take(&rate, SECOND).unwrap().remaining)
            .collect();
        assert_eq!(left, [2, 1, 0]);
        let refused = cell.take(&rate, SECOND).unwrap_err();
        assert_eq!(refused.retry_after, SECOND / 2);
        assert_eq!(refused.reset, SECOND * 3 / 2);
        let later = SECOND + refused.retry_after;
        assert!(cell.take(&rate, later).is_ok() && cell.take(&rate, later).is_err());
        assert_eq!(cell.take(&rate, SECOND * 60).unwrap().remaining, 2);
    }

    #[test]
    fn a_clock_that_steps_back_costs_a_full_burst_and_no_more() {
        let (rate, mut cell) = (rate("1/s burst 2"), Cell::default());
        cell.take(&rate, SECOND * 1_000_000).unwrap();
        let refused = cell.take(&rate, SECOND).unwrap_err();
        assert_eq!(refused.retry_after, SECOND);
        assert!(cell.take(&rate, SECOND * 2).is_ok());
    }

    #[test]
    fn what_was_given_back_can_be_taken_again() {
        let (rate, mut cell) = (rate("1/h"), Cell::default());
        cell.take(&rate, SECOND).unwrap();
        assert!(cell.take(&rate, SECOND).is_err());
        cell.give_back(&rate);
        assert!(cell.take(&rate, SECOND).is_ok());
    }

    #[test]
    fn each_thing_has_an_allowance_of_its_own() {
        let limiter = Limiter::new(rate("1/min"), 8);
        assert!(limiter.take("a", SECOND).is_ok());
        assert!(limiter.take("a", SECOND).is_err());
        assert!(limiter.take("b", SECOND).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_who_keeps_coming_is_not_forgotten() {
        let limiter = Limiter::new(rate("1/h"), 100);
        assert!(limiter.take(u32::MAX, SECOND).is_ok());
        for other in 0..100_000 {
            assert!(limiter.take(other, SECOND).is_ok());
            if other % 50 == 0 {
                assert!(limiter.take(u32::MAX, SECOND).is_err(), "forgotten after {other}");
            }
        }
        assert!(limiter.remembered() <= 200);
        assert!(limiter.take(7, SECOND).is_ok(), "the oldest were forgotten");
    }

    #[test]
    fn a_limit_that_is_off_is_none() {
        let limiter = Limiter::new(rate("off"), 1);
        assert!((0..10_000).all(|_| limiter.take(1, SECOND).is_ok()));
        assert_eq!(limiter.remembered(), 0);
    }

    #[test]
    fn rates_are_read_and_nonsense_is_refused() {
        assert_eq!(rate("60/min burst 600"), Rate::new(60, SECOND * 60, 600));
        assert_eq!(rate("50/s"), Rate::new(50, SECOND, 50));
        assert_eq!(rate(" 1000 / h burst 5 "), Rate::new(1_000, SECOND * 3_600, 5));
        for bad in ["", "5", "0/s", "5/d", "5/s burst 0", "5/s burst", "-1/s", "fast"] {
            assert_eq!(bad.parse::<Rate>(), Err(ParseRateError), "{bad}");
        }
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_network_and_mapped_addresses_are_ipv4() {
        let network = |text: &str| Subscriber::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
