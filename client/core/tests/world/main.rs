//! Two users with two devices each, in a world without sockets: the claims of the engine as a whole.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "the world of a test stops where it is wrong"
)]

mod archive;
mod claims;
mod directory;
mod epochs;
mod hostile;
mod identities;
mod lists;
mod log;
mod needs;
mod repair;
mod scripts;
mod session_age;
mod setback;
mod strangers;
mod world;
