//! The Merkle tree of RFC 9162 over an append-only log: what its server computes and everyone else checks.
//!
//! SHA-256; a leaf is hashed behind 0x00, an inner node behind 0x01. It stores nothing and knows no records: whoever
//! stores the tree hands out single [`Node`]s, and proofs are built from O(log n) of them.
//!
//! - [`node`]: subtrees, and what an append completes   - [`proof`]: inclusion and consistency, built and checked
//! - [`head`]: what the server signs
//!
//! Invariant: a proof that verifies was built from trees with exactly these roots, or SHA-256 has a collision.
#![no_std]
#![warn(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod head;
pub mod node;
pub mod proof;

pub use head::{Head, HeadError, SignedHead};
pub use node::{Node, complete, parent, root};
pub use proof::{ProofError, consistency, inclusion, verify_consistency, verify_inclusion};

/// A SHA-256 hash: of a leaf, a node or a whole tree.
pub type Hash = [u8; 32];
