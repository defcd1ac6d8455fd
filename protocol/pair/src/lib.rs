//! The pair protocol.
#![no_std]
#![warn(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

extern crate alloc;

pub mod recovery;
