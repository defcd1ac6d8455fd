//! The device engine on a desktop or server: SQLite, WebSocket and REST around `unhidra-client`.
//!
//! - [`store`]: the device's records, sealed, in one SQLite file
#![warn(missing_docs)]

pub mod store;
