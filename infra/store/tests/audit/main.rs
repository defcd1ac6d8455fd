//! The audit log on a real database: what an attacker with the file can change is found and located.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod fixture;
mod tampering;
mod tree;
