//! Where time and randomness enter: the engine takes both as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

use getrandom::{SysRng, rand_core::UnwrapErr};
use unhidra_types::Timestamp;

/// The operating system's generator. A system that can't give random bytes can't go on: drawing then panics.
pub(crate) const fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "the driver is where wall time enters the client"
    )]
    let now = SystemTime::now();
    // A clock before 1970 shows as its start; certificates then say that it is wrong.
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
