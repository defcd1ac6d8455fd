//! JSON bodies of the REST interface under `/v1`.
//!
//! Requests refuse unknown fields; answers may grow. Errors are [`Problem`] (RFC 9457). Bytes are base64url.
//! What an act does and who may do it: `docs/api.md`.

mod account;
mod admin;
mod connection;
mod conversation;
mod device;
mod identity;
mod link;
mod problem;
mod session;
mod user;

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};
pub use unhidra_types::Role;

pub use self::{
    account::*, admin::*, connection::*, conversation::*, device::*, identity::*, link::*, problem::*,
    session::*, user::*,
};

/// A text that must not be printed or logged: a password or a token.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    /// Takes over a secret text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one computation or request that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}
