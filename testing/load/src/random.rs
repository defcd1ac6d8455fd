//! Where randomness enters: names of runs, passwords and ids.

use getrandom::{
    SysRng,
    rand_core::{Rng as _, UnwrapErr},
};

/// Random bits of the operating system.
pub(crate) fn random<T: FromRandom>() -> T {
    T::from_random(&mut UnwrapErr(SysRng))
}

/// What [`random`] can make.
pub(crate) trait FromRandom {
    fn from_random(rng: &mut UnwrapErr<SysRng>) -> Self;
}

impl FromRandom for u32 {
    fn from_random(rng: &mut UnwrapErr<SysRng>) -> Self {
        rng.next_u32()
    }
}

impl FromRandom for u128 {
    fn from_random(rng: &mut UnwrapErr<SysRng>) -> Self {
        Self::from(rng.next_u64()) << 64 | Self::from(rng.next_u64())
    }
}

impl FromRandom for [u8; 10] {
    fn from_random(rng: &mut UnwrapErr<SysRng>) -> Self {
        let mut bytes = [0; 10];
        rng.fill_bytes(&mut bytes);
        bytes
    }
}
