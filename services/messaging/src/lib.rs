//! Conversations and their logs: who may append, in which order entries stand, and what each device still has to read.
//!
//! It never sees plaintext, does not authenticate (see `identity`) and does not open sockets (see `gateway`).
//!
//! - [`append`]: idempotent intake of envelopes         - [`conversation`]: opening and listing logs
//! - [`order`]: what one connection sends stays in order
//! - [`delivery`]: positions, pages                     - [`relay`]: from commits to the bus
//! - [`cursors`]: what devices have acknowledged, on its way to the store
//! - [`retention`]: bodies that nobody collects           - [`access`]: who asks, and the facts that policy decides on
//! - [`control`]: what devices say to one device itself
//!
//! Invariant: an entry that was acknowledged to its sender is in the log for good, at one number, once.
#![warn(missing_docs)]

pub mod access;
pub mod append;
pub mod control;
pub mod conversation;
pub mod cursors;
pub mod delivery;
pub mod order;
pub mod relay;
pub mod retention;

use std::sync::Arc;

use unhidra_store::Store;

use crate::cursors::Cursors;

/// The messaging service.
#[derive(Clone)]
pub struct Messaging {
    store: Store,
    cursors: Arc<Cursors>,
}

impl Messaging {
    /// Serves the logs in `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            cursors: Arc::default(),
        }
    }

    /// [`Store::commits`].
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.store.commits()
    }
}
