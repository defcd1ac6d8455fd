//! Why a WebSocket connection ended. Codes are stable; 4000 to 4999 are the application's (RFC 6455 section 7.4.2).

/// A close code with its meaning for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The server is shutting down: reconnect with back-off.
    GoingAway,
    /// A frame broke the protocol: do not send it again.
    Malformed,
    /// The session was revoked, logged out or expired: log in again.
    SessionEnded,
    /// The device was revoked: it never comes back.
    DeviceRevoked,
    /// No answer to pings within the heartbeat's bound: reconnect.
    HeartbeatTimeout,
    /// A newer connection of the device took the place of this one, which did not answer: nobody hears it.
    Replaced,
    /// An administrator closed the connection: reconnect with back-off.
    ByAdministrator,
    /// The reader stopped reading for too long: reconnect and catch up.
    SlowReader,
    /// More frames than the limit, and no pause when one was asked for: reconnect with back-off.
    TooFast,
    /// The server can't serve this connection now: reconnect with back-off.
    Unavailable,
}

impl Close {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Malformed => 4400,
            Self::SessionEnded => 4401,
            Self::DeviceRevoked => 4403,
            Self::HeartbeatTimeout => 4408,
            Self::Replaced => 4409,
            Self::ByAdministrator => 4410,
            Self::SlowReader => 4413,
            Self::TooFast => 4429,
            Self::Unavailable => 4503,
        }
    }

    /// The meaning of a code on the wire, if it is one of ours.
    #[must_use]
    pub const fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            1001 => Self::GoingAway,
            4400 => Self::Malformed,
            4401 => Self::SessionEnded,
            4403 => Self::DeviceRevoked,
            4408 => Self::HeartbeatTimeout,
            4409 => Self::Replaced,
            4410 => Self::ByAdministrator,
            4413 => Self::SlowReader,
            4429 => Self::TooFast,
            4503 => Self::Unavailable,
            _ => return None,
        })
    }

    /// The reason sent beside the code.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::GoingAway => "server is shutting down",
            Self::Malformed => "frame broke the protocol",
            Self::SessionEnded => "session ended",
            Self::DeviceRevoked => "device revoked",
            Self::HeartbeatTimeout => "no heartbeat",
            Self::Replaced => "replaced by a newer connection",
            Self::ByAdministrator => "closed by an administrator",
            Self::SlowReader => "reader too slow",
            Self::TooFast => "too many frames",
            Self::Unavailable => "unavailable, try again later",
        }
    }
}
