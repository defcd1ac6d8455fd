//! What is fuzzed: every decoder of the protocol, two devices that talk by a script, and the client's engine.
//!
//! Each target takes bytes and panics when a claim does not hold. `fuzz/` (a workspace of its own) hands them to libFuzzer;
//! the inputs in `fuzz/corpus` are replayed by this crate's tests, so that nothing that was found comes back.
//!
//! - [`decode`], [`rest`], [`text`]: read what comes from outside; what is read is written again as it was
//! - [`linking`]: codes, wraps, and a run of linking whose messages are altered
//! - [`session`]: a script of sealing, losing, repeating, turning bits and restoring
//! - [`engine`]: a client and a server that says anything
//! - [`clients`]: two clients, a network that does anything, and a store that is damaged
#![warn(missing_docs)]
#![expect(clippy::panic, reason = "a target says by a panic that a claim does not hold")]

pub mod clients;
pub mod decode;
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "the directory of the client's own tests"
)]
#[path = "../../../client/core/tests/world/directory.rs"]
mod directory;
pub mod engine;
pub mod linking;
#[expect(clippy::unwrap_used, reason = "the logs of the client's own tests")]
#[path = "../../../client/core/tests/world/log.rs"]
mod log;
#[expect(clippy::unwrap_used, reason = "the answers of the client's own tests")]
#[path = "../../../client/core/tests/world/needs.rs"]
mod needs;
pub mod rest;
pub mod session;
pub mod text;
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "the world of the client's own tests"
)]
#[path = "../../../client/core/tests/world/world.rs"]
mod world;

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
    ("proofs", decode::proofs),
    ("rest", rest::bodies),
    ("text", text::text),
    ("linking", linking::codes),
    ("ceremony", linking::ceremony),
    ("session", session::script),
    ("engine", engine::hostile_server),
    ("clients", clients::script),
    ("damage", clients::damaged_store),
];
