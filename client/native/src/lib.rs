//! The device engine on a desktop or server: SQLite, WebSocket and REST around `unhidra-client`.
//!
//! It holds no protocol state of its own: whatever must survive lies in the sealed store, and a process that dies is
//! made up for by the next one.
//!
//! - [`client`]: a logged-in device: send, catch up, listen, link   - [`profile`]: one account's folder
//! - [`store`]: the device's records, sealed, in one SQLite file    - [`account`]: account, tokens and names in it
//! - [`rest`]: the server's REST interface                          - [`connection`]: one WebSocket connection
//! - [`keyring`]: where a store's key can lie
//! - [`server_url`]: where the server is                            - [`backoff`]: waits between attempts
//! - [`witness`]: what was seen of the server's audit tree
//! - [`route`], [`authority`]: how to reach it, who vouches for it   - [`invitation`]: all of that in one text
#![warn(missing_docs)]

pub mod account;
pub mod authority;
pub mod backoff;
pub mod client;
pub mod connection;
mod edge;
pub mod invitation;
pub mod keyring;
pub mod profile;
pub mod rest;
pub mod route;
pub mod server_url;
pub mod store;
pub mod witness;

pub use client::{Client, ClientError, Event, Settings};
