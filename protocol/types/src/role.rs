//! What an account may do on its server.

use serde::{Deserialize, Serialize};

/// What an account may do on its server. It says nothing about conversations, where membership decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything that administration offers.
    SuperAdmin,
    /// Talks to others.
    Member,
}
