//! WebSocket connections: authenticated at the handshake, fed from the log, never buffered without a bound.
//!
//! - [`upgrade`]: the handshake and who may connect     - [`registry`]: who is connected, and notices for them
//! - [`connection`]: one task for each connection       - [`inbox`]: what waits for a connection
//!
//! A live entry is an optimisation. Each connection knows the last entry that it has sent of each log; an entry that is
//! not the next one, or a full inbox, makes it read the log. So nothing is lost, nothing is sent out of order, and a
//! reader that stops costs its inbox and nothing more.
#![warn(missing_docs)]

pub mod connection;
pub mod inbox;
pub mod registry;
pub mod upgrade;

mod burst;
mod follow;
mod in_flight;
mod opening;
mod socket;
mod websocket;
