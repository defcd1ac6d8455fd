//! Loads a server and says what that cost.
//!
//! It talks to a server that runs, by its address and nothing else, so that an operator may use it on a deployment;
//! who starts servers beside each other and compares them is `unhidra-testkit`.
//!
//! - [`measure`]: CPU, memory and run queue of a process   - [`latency`]: a histogram   - [`report`]: the table

pub mod latency;
pub mod measure;
pub mod report;
