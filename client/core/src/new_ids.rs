//! Ids of new messages.
//!
//! The first of a step is random, and each other one follows the one before. Rows that are kept by message then lie together
//! in every index, on this device, on the server and with whoever receives them; each of many random ids would change a page
//! of its own there. What it tells is that the messages were written together.

use unhidra_crypto::CryptoRng;
use unhidra_types::MsgId;

/// The ids of one step.
#[derive(Default)]
pub(crate) struct NewIds {
    last: Option<u128>,
}

impl NewIds {
    /// An id that no message has.
    pub(crate) fn draw(&mut self, rng: &mut (impl CryptoRng + ?Sized)) -> MsgId {
        let id = match self.last {
            Some(last) => last.wrapping_add(1),
            None => {
                let mut first = [0; 16];
                rng.fill_bytes(&mut first);
                u128::from_be_bytes(first)
            }
        };
        self.last = Some(id);
        MsgId::from_bytes(id.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

    use super::*;

    #[test]
    fn ids_of_a_step_follow_each_other_and_those_of_two_steps_do_not() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut step = || {
            let mut ids = NewIds::default();
            [(); 3].map(|()| u128::from_be_bytes(*ids.draw(&mut rng).as_bytes()))
        };
        let (first, second) = (step(), step());
        for ids in [first, second] {
            assert_eq!(ids.map(|id| id.wrapping_sub(ids[0])), [0, 1, 2]);
        }
        assert!(first[0].abs_diff(second[0]) > 1 << 64);
    }
}
