//! The gateway as a client meets it: real sockets, the whole router, real identities, a real database.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test that can't go on fails, and tests hold the keys of devices"
)]

mod back_pressure;
mod client;
mod crowd;
mod delivery;
mod ending;
mod handshake;
mod person;
mod server;
