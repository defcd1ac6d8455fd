//! Cutting the output of one derivation into keys.

use unhidra_types::Secret;
use zeroize::Zeroize as _;

/// The `M` bytes from `AT` on.
pub(crate) fn part<const AT: usize, const M: usize, const N: usize>(okm: &Secret<N>) -> Secret<M> {
    const { assert!(AT + M <= N, "the part lies inside") }
    let mut bytes = [0; M];
    for (to, from) in bytes.iter_mut().zip(okm.expose().iter().skip(AT)) {
        *to = *from;
    }
    let part = Secret::new(bytes);
    bytes.zeroize();
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_consecutive() {
        let okm = Secret::new(*b"keynonce");
        assert_eq!(part::<0, 3, 8>(&okm).expose(), b"key");
        assert_eq!(part::<3, 5, 8>(&okm).expose(), b"nonce");
    }
}
