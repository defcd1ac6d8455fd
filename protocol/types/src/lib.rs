//! The vocabulary that every other crate shares: identifiers, limits, time and secrets.
//!
//! It does no I/O, reads no clock and draws no randomness; all three enter as arguments.
//!
//! - [`id`]: newtypes for everything that has a name on the wire   - [`limits`]: every protocol bound
//! - [`time`]: milliseconds since the Unix epoch                   - [`secret`]: bytes that never print
//! - [`username`]: the one spelling of a user name               - [`role`]: what an account may do
//! - [`fingerprint`]: what a certificate is compared by           - [`text`]: what may stand in a name that people read
//!
//! The feature `schema` describes them as JSON schemas, which needs std.
#![cfg_attr(not(feature = "schema"), no_std)]
#![warn(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod fingerprint;
pub mod id;
pub mod limits;
pub mod role;
#[cfg(feature = "schema")]
mod schema;
pub mod secret;
pub mod text;
pub mod time;
pub mod username;

pub use fingerprint::{Fingerprint, FingerprintError};
pub use id::{
    ConnectionId, ConversationId, DeviceId, InvitationId, MsgId, OrgId, ParseIdError, SessionId, UserId,
};
pub use role::Role;
pub use secret::Secret;
pub use time::Timestamp;
pub use username::{Username, UsernameError};
