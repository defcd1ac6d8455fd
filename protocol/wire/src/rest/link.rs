//! The linking channel of a new device.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::base64::Base64;

/// `POST /v1/links/{device}/{direction}`: relays one message of the linking channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LinkMessage {
    /// At most 1 KiB, opaque to the server.
    pub message: Base64,
}

/// `GET /v1/links/{device}/{direction}?after=N`: messages after the first `N`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LinkMessages {
    /// In order.
    pub messages: Vec<Base64>,
}
