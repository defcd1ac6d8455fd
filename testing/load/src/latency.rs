//! How long things took: a histogram of fixed size with three significant digits, from a microsecond to two minutes.

use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;

/// Anything longer counts as this.
const LONGEST_US: u64 = 120_000_000;
const DIGITS: u8 = 3;

/// Latencies that were recorded.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// Latencies as a table shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// The median.
    pub p50: Duration,
    /// One in a hundred is longer.
    pub p99: Duration,
    /// One in a thousand is longer.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
}

impl Latencies {
    /// None yet.
    ///
    /// # Errors
    /// Never, for the bounds above.
    pub fn new() -> anyhow::Result<Self> {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, DIGITS).context("make a histogram")?;
        Ok(Self(histogram))
    }

    /// Takes one over.
    pub fn record(&mut self, latency: Duration) {
        let microseconds = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(microseconds.max(1));
    }

    /// Takes over those of another.
    ///
    /// # Errors
    /// Never, for histograms of this module.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.0.add(&other.0).context("add histograms")
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that this share of them does not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(share))
    }

    /// Those that a table shows.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        Quantiles {
            p50: self.quantile(0.5),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: Duration::from_micros(self.0.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_three_digits_and_what_is_too_long_counts_as_the_longest() {
        let mut latencies = Latencies::new().unwrap();
        (1..=1_000).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        let Quantiles { p50, p99, .. } = latencies.quantiles();
        assert!(p50.abs_diff(Duration::from_millis(500)) < Duration::from_millis(1));
        assert!(p99.abs_diff(Duration::from_millis(990)) < Duration::from_millis(1));
        let mut other = Latencies::new().unwrap();
        other.record(Duration::from_secs(3_600));
        latencies.add(&other).unwrap();
        assert_eq!(latencies.count(), 1_001);
        assert!(latencies.quantiles().max.abs_diff(Duration::from_secs(120)) < Duration::from_secs(1));
    }
}
