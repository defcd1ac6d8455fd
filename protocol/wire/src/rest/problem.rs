//! Why a request was refused (RFC 9457).

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::ChainHead;

/// An error answer, `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:unhidra:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One sentence for people.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// For programs.
    pub code: ProblemCode,
    /// Finds the refusal in the server's log.
    pub request_id: String,
    /// The chain's current head, when a compare-and-swap on it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<ChainHead>,
}

impl Problem {
    /// The media type of a problem.
    pub const CONTENT_TYPE: &str = "application/problem+json";

    /// A problem without a chain head.
    #[must_use]
    pub fn new(status: u16, code: ProblemCode, title: &str, request_id: String) -> Self {
        Self {
            kind: alloc::format!("urn:unhidra:problem:{code}"),
            title: title.into(),
            status,
            code,
            request_id,
            head: None,
        }
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Why a request was refused. The set only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProblemCode {
    /// The request does not have the documented form.
    Malformed,
    /// The other side speaks no version that this one knows.
    UnsupportedVersion,
    /// The server speaks TLS and was spoken to without.
    TlsRequired,
    /// No valid credentials, whatever is wrong with them.
    Unauthenticated,
    /// The device was revoked, for good.
    DeviceRevoked,
    /// The credentials do not allow this.
    Forbidden,
    /// No such thing, or not for the caller.
    NotFound,
    /// The method does not exist on this path.
    MethodNotAllowed,
    /// The invitation is unknown, used or expired.
    InvitationRefused,
    /// The name is taken.
    UsernameTaken,
    /// The password is shorter or longer than allowed.
    PasswordUnsuitable,
    /// The chain has other records than the caller thinks.
    ChainConflict,
    /// A record or signature does not hold.
    ChainRefused,
    /// A prekey or its signature does not hold, or the generation is lower.
    PrekeysRefused,
    /// The thing exists already with another content.
    Conflict,
    /// A bound is reached.
    TooMany,
    /// The request body is too large.
    TooLarge,
    /// The request body is no `application/json`.
    UnsupportedMediaType,
    /// The head of the request is too large.
    HeadTooLarge,
    /// Too many requests; see `Retry-After`.
    RateLimited,
    /// It was done too lately; see `Retry-After`, which may be a day.
    TooSoon,
    /// The server can't do this now; see `Retry-After`.
    Unavailable,
    /// The server failed; the log has the cause under the request id.
    Internal,
    /// The password is not that of the account.
    PasswordWrong,
    /// An administrator refuses the sessions of this device.
    DeviceRefused,
    /// The account no longer exists.
    AccountDeleted,
    /// The only account that administers the server must stay.
    LastAdministrator,
    /// The idempotency key stands for another request.
    IdempotencyKeyReused,
    /// A code of a later version.
    #[serde(other)]
    Unknown,
}

impl ProblemCode {
    /// Every code that a server of this version sends.
    pub const ALL: &[Self] = &[
        Self::Malformed,
        Self::UnsupportedVersion,
        Self::TlsRequired,
        Self::Unauthenticated,
        Self::DeviceRevoked,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::InvitationRefused,
        Self::UsernameTaken,
        Self::PasswordUnsuitable,
        Self::ChainConflict,
        Self::ChainRefused,
        Self::PrekeysRefused,
        Self::Conflict,
        Self::TooMany,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::TooSoon,
        Self::Unavailable,
        Self::Internal,
        Self::PasswordWrong,
        Self::DeviceRefused,
        Self::AccountDeleted,
        Self::LastAdministrator,
        Self::IdempotencyKeyReused,
    ];
}
