//! One device of one user: everything that speaks the end-to-end protocol stands on this engine.
//!
//! It does no I/O, reads no clock and draws no randomness of its own: events and time come in, requests go out, and a
//! step has persisted its changes before it hands out a request. It opens no socket (see `unhidra-client-native`) and
//! does no cryptography of its own (see `unhidra-pair`).
//!
//! - [`device`]: the device and its use cases, one step each   - [`effects`]: what a step asks its driver to do
//! - [`store`]: where a device keeps its state                 - [`message`]: messages as they are kept and shown
//! - [`waiting`]: entries that can't be opened yet             - [`security`]: what should not have happened
//! - [`identity_change`]: identities that were replaced        - [`contact`]: requests of strangers, blocked users
//!
//! Inside: `send` and `accept` (out), `inbox` and `receive` (in), `directory` (whom to believe), `prekeys`, `receipts`, `batch`;
//! `control` (what devices say to each other), `repair`, `lists`, `setback` (when the server was restored);
//! `step` is what they all work on, `record` how it lies in the store.
//!
//! Invariants: nothing leaves before the store has it; a retry sends the stored bytes; a message is stored once and its
//! entry acknowledged after; a device without a place in a verified chain gets no ciphertext; an entry that fails
//! changes no session.
#![warn(missing_docs)]

mod accept;
mod batch;
pub mod contact;
mod control;
mod conversation;
mod dedupe;
pub mod device;
mod directory;
pub mod effects;
mod epochs;
pub mod failures;
pub mod identity;
pub mod identity_change;
mod inbox;
mod lists;
pub mod message;
mod new_ids;
mod outbox;
mod peer;
mod prekeys;
mod receipts;
mod receive;
mod record;
mod repair;
pub mod security;
mod send;
pub mod session_age;
mod setback;
mod step;
pub mod store;
pub mod waiting;

pub use contact::{Blocking, Contact};
pub use device::{Device, MessageKey, Opened, Progress, Submitted};
pub use effects::{Answer, Effects, Failure, Need, Notice, OutboxChange};
pub use identity::NewIdentity;
pub use identity_change::{ChangeKind, IdentityChange};
pub use message::{Message, MessageBody};
pub use outbox::EntryNumber;
pub use send::SubmitError;
pub use unhidra_chain::direct::direct_conversation;
