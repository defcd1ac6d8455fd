//! Inclusion and consistency proofs (RFC 9162 sections 2.1.3 and 2.1.4).

use alloc::vec::Vec;

use crate::{
    Hash, Node,
    node::{split, stretch},
    parent,
};

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The numbers are not those of a leaf in a tree, or of an earlier and a later tree.
    #[error("the proof is about no such trees")]
    OutOfRange,
    /// It has more or fewer hashes than a proof between these sizes has.
    #[error("the proof has the wrong length")]
    Length,
    /// It leads to another root.
    #[error("the proof leads to another root")]
    OtherRoot,
}

/// The hashes that lead from leaf `number` to the root of the tree over `size` leaves, from the leaf up.
///
/// # Errors
/// What `node` returns. An impossible number has an empty proof.
pub fn inclusion<E>(
    number: u64,
    size: u64,
    mut node: impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut path = Vec::new();
    if number == 0 || number > size {
        return Ok(path);
    }
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if number <= middle {
            path.push(stretch(middle, end, &mut node)?);
            end = middle;
        } else {
            path.push(stretch(start, middle, &mut node)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The hashes that show that the tree over `size` leaves begins with the tree over the first `earlier` of them.
///
/// # Errors
/// What `node` returns. Impossible sizes have an empty proof.
pub fn consistency<E>(
    earlier: u64,
    size: u64,
    mut node: impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut path = Vec::new();
    if earlier == 0 || earlier >= size {
        return Ok(path);
    }
    let (mut start, mut end) = (0, size);
    // Whether the stretch that is left is the whole earlier tree, whose root the verifier has.
    let mut known = true;
    while earlier != end {
        let middle = start + split(end - start);
        if earlier <= middle {
            path.push(stretch(middle, end, &mut node)?);
            end = middle;
        } else {
            path.push(stretch(start, middle, &mut node)?);
            start = middle;
            known = false;
        }
    }
    if !known {
        path.push(stretch(start, end, &mut node)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks that the tree over `size` leaves with `root` has `leaf` as its leaf `number`, counted from 1.
///
/// # Errors
/// [`ProofError`].
pub fn verify_inclusion(
    number: u64,
    leaf: &Hash,
    size: u64,
    root: &Hash,
    path: &[Hash],
) -> Result<(), ProofError> {
    if number == 0 || number > size {
        return Err(ProofError::OutOfRange);
    }
    let (mut position, mut last) = (number - 1, size - 1);
    let mut hash = *leaf;
    for step in path {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if is_odd(position) || position == last {
            hash = parent(step, &hash);
            climb_while_even(&mut position, &mut last);
        } else {
            hash = parent(&hash, step);
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *root {
        Ok(())
    } else {
        Err(ProofError::OtherRoot)
    }
}

/// Checks that the tree over `size` leaves with `root` begins with the tree over `earlier` leaves with `earlier_root`.
///
/// Every tree begins with the empty one, and with itself: both have an empty proof.
///
/// # Errors
/// [`ProofError`].
pub fn verify_consistency(
    earlier: u64,
    earlier_root: &Hash,
    size: u64,
    root: &Hash,
    path: &[Hash],
) -> Result<(), ProofError> {
    if earlier > size {
        return Err(ProofError::OutOfRange);
    }
    if earlier == 0 || earlier == size {
        let same = earlier == 0 || earlier_root == root;
        return match (path, same) {
            ([], true) => Ok(()),
            ([], false) => Err(ProofError::OtherRoot),
            _ => Err(ProofError::Length),
        };
    }
    let mut path = path.iter();
    let begin = if earlier.is_power_of_two() {
        earlier_root
    } else {
        path.next().ok_or(ProofError::Length)?
    };
    let (mut position, mut last) = (earlier - 1, size - 1);
    while is_odd(position) {
        position >>= 1;
        last >>= 1;
    }
    let (mut before, mut after) = (*begin, *begin);
    for step in path {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if is_odd(position) || position == last {
            before = parent(step, &before);
            after = parent(step, &after);
            climb_while_even(&mut position, &mut last);
        } else {
            after = parent(&after, step);
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if before == *earlier_root && after == *root {
        Ok(())
    } else {
        Err(ProofError::OtherRoot)
    }
}

const fn is_odd(number: u64) -> bool {
    number & 1 == 1
}

fn climb_while_even(position: &mut u64, last: &mut u64) {
    while !is_odd(*position) && *position != 0 {
        *position >>= 1;
        *last >>= 1;
    }
}
