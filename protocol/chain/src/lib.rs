//! Who a user is and which devices speak for that user: the signed, numbered chain and the prekeys that hang on it.
//!
//! Client and server verify the same bytes with this crate. It holds no session and no message, and it opens nothing:
//! the server links it without linking anything that could read a message.
//!
//! - [`label`]: domain separation of every signed or derived input   - [`codec`]: fixed-layout reading and writing
#![no_std]
#![warn(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

pub mod codec;
pub mod label;
