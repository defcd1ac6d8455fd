//! What this device could not open, told to its server: counts by reason, so that who runs it sees a client in trouble.
//!
//! The server may be what alters messages, and must not learn from an answer which of them opened. So a report says
//! nothing of one message and goes at a connection, at most once in [`EVERY`], when there is something new
//! (docs/adr/0017).

use std::time::Duration;

use unhidra_wire::rest::OpeningFailures;

use crate::{security::Suspicion, step::Step, store::StoreError};

/// From one report to the next.
pub const EVERY: Duration = Duration::from_secs(86_400);
/// When the last one was made.
const REPORTED_AT: &str = "failures reported at";
/// How many failures it counted in all.
const REPORTED: &str = "failures reported";

impl Step<'_> {
    /// Whether there are failures that no report has told, and the last one is old. A clock that was wrong silences the
    /// device no longer than it stands behind.
    pub(crate) fn failures_are_due(&mut self) -> Result<bool, StoreError> {
        let last = self.number(REPORTED_AT)?;
        let is_old = self.now.as_millis().abs_diff(last) >= millis(EVERY);
        Ok(is_old && total(&self.opening_failures()?) > self.number(REPORTED)?)
    }

    pub(crate) fn opening_failures(&mut self) -> Result<OpeningFailures, StoreError> {
        let mut failures = OpeningFailures::default();
        for reason in Suspicion::ALL {
            let (Some(name), count) = (reason.opening_failure(), self.number(reason.text())?) else {
                continue;
            };
            if count > 0 {
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                failures.counts.insert(name, count);
            }
        }
        Ok(failures)
    }

    pub(crate) fn failures_reported(&mut self, report: &OpeningFailures) {
        self.set_number(REPORTED_AT, self.now.as_millis());
        self.set_number(REPORTED, total(report));
    }
}

fn total(failures: &OpeningFailures) -> u64 {
    failures.counts.values().map(|count| u64::from(*count)).sum()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
