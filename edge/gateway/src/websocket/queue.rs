//! What waits to be written to one peer.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf as _, Bytes};

/// Pieces that go to the system in one call.
const PIECES: usize = 64;
/// Room for pieces that is kept while nothing waits.
const KEPT: usize = 4;

/// Bytes in the order in which they go out. Pieces are shared with the other receivers: nothing is copied.
///
/// Whoever fills it bounds it: see [`Queue::bytes`].
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Queue {
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push_back(piece);
    }

    /// Bytes that wait.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Hands the pieces at the front to `write`.
    pub(crate) fn with_front<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut used = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            used += 1;
        }
        write(&slices[..used])
    }

    /// So many bytes of the front have been written.
    pub(crate) fn advance(&mut self, mut written: usize) {
        self.bytes = self.bytes.saturating_sub(written);
        while let Some(front) = self.pieces.front_mut() {
            if front.len() > written {
                front.advance(written);
                break;
            }
            written -= front.len();
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            self.pieces.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_out_is_what_was_pushed(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..100),
            step in 1_usize..120,
        ) {
            let mut queue = Queue::default();
            pieces.iter().for_each(|piece| queue.push(piece.clone().into()));
            let mut out = Vec::new();
            while !queue.is_empty() {
                let written = queue.with_front(|slices| {
                    let front: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                    let written = front.len().min(step);
                    out.extend_from_slice(&front[..written]);
                    written
                });
                prop_assert!(written > 0);
                queue.advance(written);
            }
            prop_assert_eq!(out, pieces.concat());
            prop_assert!(queue.pieces.is_empty());
        }
    }
}
