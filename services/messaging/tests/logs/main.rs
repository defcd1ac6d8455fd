//! The intake, the logs and their readers, on a real database.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod control;
mod fixture;
mod intake;
mod model;
mod opening;
mod reading;
