//! Subtrees of the log and the hash of any stretch of it (RFC 9162 section 2.1.1).

use alloc::{vec, vec::Vec};

use unhidra_crypto::hash::sha256;

use crate::Hash;

/// A complete subtree: the `2^level` leaves that end with leaf number `end`, counted from 1. `end` is a multiple of
/// `2^level`; level 0 is the leaf itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Its height.
    pub level: u32,
    /// The number of its last leaf.
    pub end: u64,
}

impl Node {
    /// The number of its first leaf.
    #[must_use]
    pub const fn first(self) -> u64 {
        self.end - (1 << self.level) + 1
    }
}

/// The hash of a node above two others.
#[must_use]
pub fn parent(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[0x01], left, right])
}

/// The root of the tree without leaves.
#[must_use]
pub fn empty() -> Hash {
    sha256(&[])
}

/// The hashes of the nodes that leaf `number` completes, from the leaf up: as many as `number` has trailing zero bits,
/// and the leaf. `node` gives nodes that were completed before.
///
/// # Errors
/// What `node` returns.
pub fn complete<E>(
    number: u64,
    leaf: Hash,
    mut node: impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut hashes = vec![leaf];
    let mut hash = leaf;
    for level in 0..levels_above(number) {
        let left = node(Node {
            level,
            end: number - (1 << level),
        })?;
        hash = parent(&left, &hash);
        hashes.push(hash);
    }
    Ok(hashes)
}

/// How many nodes above itself leaf `number` completes.
#[must_use]
pub const fn levels_above(number: u64) -> u32 {
    if number == 0 { 0 } else { number.trailing_zeros() }
}

/// The root of the tree over the first `size` leaves.
///
/// # Errors
/// What `node` returns.
pub fn root<E>(size: u64, mut node: impl FnMut(Node) -> Result<Hash, E>) -> Result<Hash, E> {
    stretch(0, size, &mut node)
}

/// The complete subtrees that the tree over `size` leaves consists of, the largest first.
pub fn peaks(size: u64) -> impl Iterator<Item = Node> {
    (0..u64::BITS)
        .rev()
        .filter(move |level| size >> level & 1 == 1)
        .map(move |level| Node {
            level,
            end: size >> level << level,
        })
}

/// The hash over the leaves after number `start` up to `end`; `start` is where a subtree of that extent begins.
pub(crate) fn stretch<E>(
    start: u64,
    end: u64,
    node: &mut impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let mut hash = None;
    // From the small peaks on the right to the large ones on the left.
    let mut peaks: Vec<Node> = peaks(end - start).collect();
    while let Some(Node { level, end }) = peaks.pop() {
        let left = node(Node {
            level,
            end: start + end,
        })?;
        hash = Some(hash.map_or(left, |right| parent(&left, &right)));
    }
    Ok(hash.unwrap_or_else(empty))
}

/// The largest power of two below `length`, which is at least 2: where RFC 9162 splits a tree.
pub(crate) const fn split(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}
