//! What is fuzzed: every decoder of the protocol, two devices that talk by a script, and the client's engine.
//!
//! Each target takes bytes and panics when a claim does not hold. `fuzz/` (a workspace of its own) hands them to libFuzzer;
//! the inputs in `fuzz/corpus` are replayed by this crate's tests, so that nothing that was found comes back.
//!
//! - [`decode`]: read what comes from outside; what is read is written again as it was
//! - [`session`]: a script of sealing, losing, repeating, turning bits and restoring
//! - [`engine`]: a client and a server that says anything
#![warn(missing_docs)]
#![expect(clippy::panic, reason = "a target says by a panic that a claim does not hold")]

pub mod decode;
pub mod engine;
pub mod session;

/// A target: its name, which is that of its folder in `fuzz/corpus`, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("frames", decode::frames),
    ("records", decode::records),
    ("bundle", decode::bundle),
    ("prefix", decode::prefix),
    ("header", decode::header),
    ("body", decode::body),
    ("padding", decode::padding),
    ("content", decode::content),
    ("stored", decode::stored),
    ("linking", decode::linking),
    ("session", session::script),
    ("engine", engine::hostile_server),
];
