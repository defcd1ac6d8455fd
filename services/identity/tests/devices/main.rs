//! Device chains, prekeys, linking channels and the directory, as devices use them, on a real database.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "a test that can't go on fails, and tests hold the keys of devices"
)]

mod chains;
mod directory;
mod fixture;
mod identities;
mod links;
mod prekeys;
