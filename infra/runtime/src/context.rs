//! Time, randomness and a name for one request: made once at the edge, then passed down as an argument.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use getrandom::SysRng;
use rand_core::{CryptoRng, Rng as _, UnwrapErr};
use unhidra_types::Timestamp;

/// Where wall time comes from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still until it is moved.
    Manual(ManualClock),
}

/// Milliseconds since the epoch, shared by all clones.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

/// What one request or job knows about the world around it.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// When the request began. It does not move while the request is served.
    pub now: Timestamp,
    /// Finds everything that was logged about it.
    pub request_id: RequestId,
}

/// Names a request in answers and in the log: 16 random bytes, printed `req_` and 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 16]);

impl Clock {
    /// A clock that stands still at `now`.
    #[must_use]
    pub fn manual(now: Timestamp) -> (Self, ManualClock) {
        let clock = ManualClock(Arc::new(AtomicU64::new(now.as_millis())));
        (Self::Manual(clock.clone()), clock)
    }

    /// Begins a request or job.
    #[must_use]
    pub fn context(&self) -> Context {
        Context {
            now: self.now(),
            request_id: RequestId(random()),
        }
    }

    fn now(&self) -> Timestamp {
        match self {
            Self::System => system_time(),
            Self::Manual(ManualClock(millis)) => Timestamp::from_millis(millis.load(Ordering::Relaxed)),
        }
    }
}

impl ManualClock {
    /// Moves every clone forward.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(by, Ordering::Relaxed);
    }
}

impl Context {
    /// `N` bytes that nobody can guess.
    ///
    /// A machine whose kernel gives no randomness can't run a server: the process ends then.
    #[must_use]
    pub fn random<const N: usize>(&self) -> [u8; N] {
        random()
    }

    /// The operating system's generator, for functions that take one.
    #[must_use]
    pub fn rng(&self) -> impl CryptoRng + use<> {
        UnwrapErr(SysRng)
    }
}

impl RequestId {
    /// The bytes, for the audit record.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "req_{}", uuid::Uuid::from_bytes(self.0).simple())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    UnwrapErr(SysRng).fill_bytes(&mut bytes);
    bytes
}

fn system_time() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place where wall time enters"
    )]
    let now = SystemTime::now();
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_it_is_moved() {
        let (clock, hand) = Clock::manual(Timestamp::from_millis(5));
        assert_eq!(clock.context().now, Timestamp::from_millis(5));
        hand.advance(Duration::from_millis(2));
        assert_eq!(clock.context().now, Timestamp::from_millis(7));
    }

    #[test]
    fn two_requests_have_two_names() {
        let clock = Clock::System;
        assert_ne!(clock.context().request_id, clock.context().request_id);
    }
}
