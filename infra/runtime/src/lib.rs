//! What every part of the server stands on: configuration, tasks, time, randomness and telemetry.
//!
//! It has no product rules and owns no data. Nothing else in the server reads the environment, the wall clock or
//! the operating system's randomness.
//!
//! - [`config`]: one typed configuration out of defaults, file, environment and flags   - [`mod@unit`]: sizes and durations
//! - [`context`]: time, randomness and the id of one request                            - [`signal`]: when to stop
//! - [`tasks`]: every task has a name, an owner and a shutdown                          - [`telemetry`]: the log
//! - [`workers`]: a bounded pool for computations that would stall the executor         - [`ClientAddress`]: who asks
//! - [`workers`]: a bounded pool for computations that would stall the executor       - [`rate`]: how often something may happen
#![warn(missing_docs)]

mod client_address;
pub mod config;
pub mod context;
pub mod rate;
pub mod recent;
pub mod signal;
pub mod tasks;
pub mod telemetry;
pub mod unit;
pub mod workers;

pub use client_address::ClientAddress;
pub use context::{Clock, Context, RequestId};
pub use rate::{Limiter, Rate, Subscriber};
pub use recent::Recent;
pub use tasks::{Stage, Stop, Tasks, Weight};
pub use unit::ByteSize;
pub use workers::{Overloaded, Workers};
