//! One device of one user: everything that speaks the end-to-end protocol stands on this engine.
//!
//! It does no I/O, reads no clock and draws no randomness of its own: events and time come in, requests go out, and a
//! step has persisted its changes before it hands out a request. It opens no socket (see `unhidra-client-native`).
//!
//! - [`store`]: where a device keeps its state, and the contract of every implementation
#![warn(missing_docs)]

pub mod store;
