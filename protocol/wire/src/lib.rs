//! What is said over the network: WebSocket frames, message content and the bodies of the REST interface.
//!
//! It says how things are encoded and within which bounds, and nothing about who may say them. Every decoder takes
//! bytes from outside to a value whose fields are valid by construction.
//!
//! - [`frame`]: frames of the subprotocol `unhidra.v1`   - [`content`]: what a message says once it is opened
//! - [`rest`]: JSON bodies under `/v1`                   - [`close`]: WebSocket close codes
//! - [`audit`]: JSON bodies under `/v1/audit`          - [`base64`]: bytes inside JSON
//!
//! The feature `schema` describes the bodies as JSON schemas, which needs std.
#![cfg_attr(not(feature = "schema"), no_std)]
#![warn(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod audit;
pub mod base64;
pub mod close;
pub mod content;
pub mod frame;
pub mod rest;
#[cfg(feature = "schema")]
mod schema;

/// Generated from `proto/`. Nothing outside this crate sees these types: they carry no checks.
mod proto {
    #![expect(unreachable_pub, clippy::module_inception, reason = "generated code")]
    pub mod frame {
        include!(concat!(env!("OUT_DIR"), "/unhidra.v1.rs"));
    }
    pub mod content {
        include!(concat!(env!("OUT_DIR"), "/unhidra.content.v1.rs"));
    }
}
