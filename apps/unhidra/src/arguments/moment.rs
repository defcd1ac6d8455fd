//! Points in time as people type them.

use std::{str::FromStr, time::Duration};

use time::{
    Date, OffsetDateTime,
    format_description::well_known::{Iso8601, Rfc3339},
};
use unhidra_runtime::unit::parse_duration;
use unhidra_types::Timestamp;

/// A date, a time, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Ago(Duration),
}

/// Why a text is no point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a date (2026-11-21, which begins at midnight UTC), a time (2026-11-21T10:30:00Z) or how long ago (12h, 30d)"
)]
pub(crate) struct MomentError;

impl Moment {
    /// The point in time, by what `now` is.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(duration) => now.saturating_sub(duration),
        }
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        if let Ok(duration) = parse_duration(text) {
            return Ok(Self::Ago(duration));
        }
        // A parser of dates may take the date of a time and leave the rest.
        let time = if text.contains('T') {
            OffsetDateTime::parse(text, &Rfc3339)
        } else {
            Date::parse(text, &Iso8601::DATE).map(|date| date.midnight().assume_utc())
        };
        let time = time.map_err(|_no_time| MomentError)?;
        let millis = time.unix_timestamp_nanos() / 1_000_000;
        u64::try_from(millis)
            .map(|millis| Self::At(Timestamp::from_millis(millis)))
            .map_err(|_before_1970| MomentError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_durations_are_read_and_nothing_else() {
        let at = |millis| Ok(Moment::At(Timestamp::from_millis(millis)));
        assert_eq!("1970-01-02".parse(), at(86_400_000));
        assert_eq!("1970-01-01T01:00:00+01:00".parse(), at(0));
        assert_eq!("1970-01-01T00:00:01.5Z".parse(), at(1_500));
        let now = Timestamp::from_millis(7_200_000);
        let ago: Moment = "1h".parse().unwrap();
        assert_eq!(ago.before(now).as_millis(), 3_600_000);
        for bad in ["", "yesterday", "2026-13-01", "1969-12-31", "10:30"] {
            assert_eq!(bad.parse::<Moment>(), Err(MomentError), "{bad}");
        }
    }
}
