//! The whole interface, driven through the real router and a real database; the tests play the devices.
#![expect(
    clippy::disallowed_types,
    reason = "the tests hold the keys of the devices that they play"
)]

mod access;
mod administration;
mod audit;
mod chain;
mod device;
mod idempotency;
mod link;
mod login;
mod openapi;
mod prekeys;
mod restored;
mod secrecy;
mod session;
mod talk;
mod world;
