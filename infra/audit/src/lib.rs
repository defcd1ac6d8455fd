//! What the server writes down about privileged acts, and the bytes that commit to it.
//!
//! Pure: it neither stores nor signs. The record is appended by the store in the transaction of the act itself.
//!
//! - [`record`]: who did what to whom, when   - [`header`]: its canonical bytes
//! - [`leaf`]: the commitment that the Merkle tree is built on   - [`check`]: finds what does not fit the tree
//! - [`export`]: the same for a file or a single proof, by the public key alone
//!
//! Invariant: personal details are in the payload alone; deleting a payload leaves every leaf as it was.
#![warn(missing_docs)]

pub mod check;
pub mod export;
pub mod header;
pub mod leaf;
pub mod record;

pub use check::{Checker, Finding, Report, Stored};
pub use header::{HEADER_BYTES, Header};
pub use leaf::{Leaf, SALT_BYTES, Sealed};
pub use record::{Act, Actor, Details, Record, Subject};
