//! WebSocket connections as an administrator sees them.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use unhidra_types::{ConnectionId, DeviceId, SessionId, Timestamp, UserId};

/// `GET /v1/admin/connections?after=ID&limit=N`: the connections of the caller's organisation, at most 256 a page.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Connections {
    /// In order of their ids, the oldest first.
    pub connections: Vec<Connection>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ConnectionId>,
}

/// One connection, and what has gone over it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Connection {
    /// The connection.
    pub connection_id: ConnectionId,
    /// Whose it is.
    pub user_id: UserId,
    /// The device that connected.
    pub device_id: DeviceId,
    /// The session that it connected with.
    pub session_id: SessionId,
    /// The client's address, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What the client says it is, cut to 128 printable characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// When it connected.
    pub since: Timestamp,
    /// When the server last heard of it.
    pub last_active_at: Timestamp,
    /// Frames from the client.
    pub frames_in: u64,
    /// Frames to the client.
    pub frames_out: u64,
    /// Bytes of the frames from the client.
    pub bytes_in: u64,
    /// Bytes of the frames to the client.
    pub bytes_out: u64,
    /// How often it read too slowly and was sent to the log instead.
    pub lagged: u64,
}
