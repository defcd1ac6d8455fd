//! Where time and randomness enter: the engine takes both as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

use getrandom::{
    SysRng,
    rand_core::{TryCryptoRng, TryRng, UnwrapErr},
};
use unhidra_types::Timestamp;
use zeroize::{Zeroize as _, Zeroizing};

/// Bytes that are drawn at first, and at most, at once.
const FIRST_DRAW: usize = 64;
const LARGEST_DRAW: usize = 2_048;

/// The operating system's generator, for one step of the engine. A system that can't give random bytes can't go on:
/// drawing then panics.
pub(crate) fn rng() -> UnwrapErr<Drawn> {
    UnwrapErr(Drawn::new())
}

/// Random bytes of the operating system, drawn several at a time: asking costs more than the bytes do. To be dropped at the
/// end of a step, so that a copy of this process, or of its machine, does not hold the same.
pub(crate) struct Drawn {
    bytes: Zeroizing<Vec<u8>>,
    next_draw: usize,
}

impl Drawn {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Zeroizing::new(Vec::new()),
            next_draw: FIRST_DRAW,
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], getrandom::Error> {
        let mut array = [0; N];
        self.try_fill_bytes(&mut array)?;
        Ok(array)
    }
}

impl TryRng for Drawn {
    type Error = getrandom::Error;

    fn try_next_u32(&mut self) -> Result<u32, getrandom::Error> {
        self.array().map(u32::from_le_bytes)
    }

    fn try_next_u64(&mut self) -> Result<u64, getrandom::Error> {
        self.array().map(u64::from_le_bytes)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), getrandom::Error> {
        if out.len() > self.bytes.len() {
            if out.len() >= self.next_draw {
                return SysRng.try_fill_bytes(out);
            }
            let mut drawn = Zeroizing::new(vec![0; self.next_draw]);
            SysRng.try_fill_bytes(&mut drawn)?;
            self.bytes = drawn;
            self.next_draw = LARGEST_DRAW.min(self.next_draw * 4);
        }
        let left = self.bytes.len().saturating_sub(out.len());
        if let Some(given) = self.bytes.get_mut(left..) {
            out.copy_from_slice(given);
            // What was given is a secret of whoever asked, and stands here no longer.
            given.zeroize();
        }
        self.bytes.truncate(left);
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_bytes_are_given_twice_whatever_their_number() {
        let mut drawn = Drawn::new();
        let mut given: HashSet<[u8; 8]> = HashSet::new();
        for round in 0..200 {
            let mut bytes = vec![0; 8 * (round % 50 + 1)];
            drawn.try_fill_bytes(&mut bytes).unwrap();
            for chunk in bytes.as_chunks().0 {
                assert!(given.insert(*chunk));
            }
            assert!(drawn.bytes.len() < LARGEST_DRAW);
        }
        // A request for more than a draw, and one for nothing.
        let mut large = vec![0; 3 * LARGEST_DRAW];
        drawn.try_fill_bytes(&mut large).unwrap();
        assert!(large.as_chunks().0.iter().all(|chunk| given.insert(*chunk)));
        drawn.try_fill_bytes(&mut []).unwrap();
    }
}
