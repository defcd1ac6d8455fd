//! Loads a server and says what that cost.
//!
//! It talks to a server that runs, by its address and nothing else, so that an operator may use it on a deployment;
//! who starts servers beside each other and compares them is `unhidra-testkit`.
//!
//! - [`target`]: where load goes                           - [`http`]: REST from a chosen source address
//! - [`account`], [`population`]: accounts made for load   - [`seat`]: a place in a conversation
//! - [`flow`]: messages through conversations              - [`mod@reference`]: servers to compare with
//! - [`storm`]: devices that return all at once            - [`history`]: pages of a long log
//! - [`sealed`]: a real device that encrypts             - [`day`]: everything at once, for long
//! - [`measure`]: CPU, memory and run queue of a process   - [`latency`]: a histogram
//! - [`check`]: how much a deployment carries
//! - [`report`]: the table                                 - [`progress`]: what goes on

pub mod account;
pub mod check;
pub mod day;
pub mod dialect;
pub mod flow;
pub mod history;
pub mod http;
pub mod latency;
pub mod measure;
pub mod population;
pub mod progress;
mod random;
pub mod reference;
pub mod report;
mod say;
pub mod sealed;
pub mod seat;
mod socket;
mod stamp;
pub mod storm;
pub mod target;
mod websocket;

pub use self::{population::Population, progress::Progress, target::Target};
