//! Randomness that a vector names.

use rand_chacha::rand_core::{TryCryptoRng, TryRng};

/// Draws the bytes of a vector.
pub(crate) struct Given(Vec<u8>);

impl Given {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl TryRng for Given {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        panic!("a whole value is drawn at once")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        panic!("a whole value is drawn at once")
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Self::Error> {
        target.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Given {}
