//! What the store promises about accounts, devices and their keys, on a real database in a temporary folder.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod account;
mod device;
mod fixture;
mod prekey;
mod session;
