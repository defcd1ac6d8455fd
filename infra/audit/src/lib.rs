//! What the server writes down about privileged acts, and the bytes that commit to it.
//!
//! Pure: it neither stores nor signs. The record is appended by the store in the transaction of the act itself.
//!
//! - [`record`]: who did what to whom, when   - [`header`]: its canonical bytes
//! - [`leaf`]: the commitment that a Merkle tree is built on
//!
//! Invariant: personal details are in the payload alone; deleting a payload leaves every leaf as it was.
#![warn(missing_docs)]

pub mod header;
pub mod leaf;
pub mod record;

pub use header::HEADER_BYTES;
pub use leaf::{Leaf, SALT_BYTES, Sealed};
pub use record::{Act, Actor, Details, Record, Subject};
