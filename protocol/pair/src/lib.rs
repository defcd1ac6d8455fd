//! Sessions between two devices: PQXDH, the Double Ratchet with header encryption, and bodies sealed once for many.
//!
//! It does no I/O, reads no clock and draws no randomness: time and a generator are arguments, and every step takes the
//! state by reference and returns the next one, so that what fails changes nothing. It does not decide whom to trust
//! ([`unhidra_chain`] does), refuse duplicates, store anything or know what a message says.
//!
//! - [`handshake`]: PQXDH and its transcript            - [`introduction`]: who may begin a session
//! - [`prekeys`]: own private prekeys                   - [`prekey_message`]: what a first message starts with
//! - [`sessions`]: all sessions with one device         - [`body`]: the message itself, and the capsule for its key
//! - [`envelope`]: what a message is bound to           - [`error`]: why something is refused
//!
//! Invariants: no key encrypts two plaintexts, as long as every returned state is durable before its bytes are sent;
//! no state exists that an unauthenticated message had a part in; every key that a message needed is gone once the
//! returned state has replaced the one before.
//!
//! Specified in `docs/protocol/`.
#![no_std]
#![warn(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod body;
mod chain_key;
mod derived;
pub mod envelope;
pub mod error;
pub mod handshake;
mod header;
pub mod introduction;
pub mod linking;
mod padding;
mod pq_part;
pub mod prekey_message;
pub mod prekeys;
mod ratchet;
pub mod recovery;
mod root_key;
mod session;
pub mod sessions;
mod skipped_keys;
mod sparse_kem;

pub use body::{Capsule, SealedBody};
pub use envelope::{Address, Envelope, Kind};
pub use error::{InitiateError, OpenError, SealError, StoredError};
pub use handshake::LocalDevice;
#[doc(hidden)]
pub use header::fuzz_header;
pub use introduction::{Introduction, IntroductionError, SeenEk};
#[doc(hidden)]
pub use padding::fuzz_padding;
#[doc(hidden)]
pub use pq_part::fuzz_part;
pub use prekey_message::{EkHash, PrekeyPrefix};
pub use prekeys::{PrekeyStore, Publisher};
pub use sessions::{Content, Opened, Outgoing, Received, Sealed, SessionSet};
