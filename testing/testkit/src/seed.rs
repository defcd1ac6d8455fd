//! Randomness of a test, printed and replayable.

use std::fmt;

use anyhow::Context as _;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// The variable that replays a run.
pub const VARIABLE: &str = "UNHIDRA_SEED";

/// Where a run's random choices begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

/// Random choices that follow from a seed.
#[derive(Debug)]
pub struct Dice(ChaCha8Rng);

impl Seed {
    /// The seed in `UNHIDRA_SEED`, or a new one.
    ///
    /// # Errors
    /// When the variable is not a number, or the operating system gives no random bytes.
    pub fn from_environment() -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "tests are configured here")]
        if let Some(text) = std::env::var_os(VARIABLE) {
            let text = text.to_string_lossy().into_owned();
            return text
                .parse()
                .map(Self)
                .with_context(|| format!("{VARIABLE} is `{text}`"));
        }
        Self::random()
    }

    /// A new seed.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn random() -> anyhow::Result<Self> {
        getrandom::u64().map(Self).context("draw a seed")
    }

    /// The choices that follow from it.
    #[must_use]
    pub fn dice(self) -> Dice {
        Dice(ChaCha8Rng::seed_from_u64(self.0))
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VARIABLE}={}", self.0)
    }
}

impl Dice {
    /// A number from 0 up to `end`, excluded; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias of a remainder is nothing to a test.
        self.0.next_u64().checked_rem(end).unwrap_or(0)
    }

    /// `length` random characters out of a-z and 2-7.
    pub fn word(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut bytes = vec![0; length];
        self.0.fill_bytes(&mut bytes);
        bytes
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte & 31)))
            .map(|&letter| char::from(letter))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_choices() {
        let (mut one, mut other) = (Seed(7).dice(), Seed(7).dice());
        let draw = |dice: &mut Dice| (dice.below(1_000), dice.word(20));
        assert_eq!(draw(&mut one), draw(&mut other));
        assert_ne!(Seed(7).dice().word(20), Seed(8).dice().word(20));
    }
}
