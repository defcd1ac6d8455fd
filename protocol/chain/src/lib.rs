//! Who a user is and which devices speak for that user: the signed, numbered chain and the prekeys that hang on it.
//!
//! Client and server verify the same bytes with this crate. It holds no session and no message, and it opens nothing:
//! the server links it without linking anything that could read a message. Time is an argument, and so is randomness.
//!
//! - [`record`]: genesis, device certificate, revocation   - [`chain`]: the records of one user, verified in order
//! - [`device`]: kinds, capabilities, dates, liveness      - [`identity`]: all that names one device, 128 bytes
//! - [`prekey`]: signed, KEM and one-time prekeys          - [`bundle`]: what a first message is built on
//! - [`suite`]: which handshake two devices use            - [`auth`]: login challenges and proofs of possession
//! - [`direct`]: the conversation of two users             - [`safety_number`]: what two people compare
//! - [`mod@label`]: domain separation of every signed or derived input   - [`codec`]: fixed-layout reading and writing
//!
//! Invariants: a [`Chain`] holds only records that its user identity key signed, in order and without a gap;
//! a [`VerifiedBundle`] exists only for a live device and under keys that this device signed.
#![no_std]
#![warn(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod auth;
pub mod bundle;
pub mod chain;
pub mod codec;
pub mod device;
pub mod direct;
pub mod identity;
pub mod label;
pub mod prekey;
pub mod record;
pub mod safety_number;
pub mod suite;

pub use bundle::{BadBundle, Bundle, Expected, VerifiedBundle};
pub use chain::{Chain, ChainError, ListHead, ListVersion};
pub use device::{Capabilities, Device, DeviceKind, Liveness, Validity};
pub use identity::DeviceIdentity;
pub use record::{DeviceCertificate, Genesis, Record, Revocation};
pub use suite::{PqRatchet, Suite};
