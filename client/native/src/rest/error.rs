//! Why a request was not answered, and what a person can do about it.

use std::time::Duration;

use unhidra_wire::rest::{ChainHead, Problem, ProblemCode};

use crate::authority::Untrusted;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestError {
    /// The server refused it.
    #[error(transparent)]
    Refused(#[from] Box<Refusal>),
    /// The server can't be reached, or did not answer in time. Whether it did what was asked is unknown.
    #[error("the server can't be reached")]
    Unreachable(#[source] reqwest::Error),
    /// Nobody who is trusted vouches for the server, or it speaks no TLS.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The answer is JSON, but not what the route promises.
    #[error("the server speaks another version of the interface")]
    Unreadable(#[source] serde_json::Error),
    /// The answer is longer than any that a route gives.
    #[error("the server's answer is too long")]
    TooLong,
    /// Whatever answered with this HTTP status does not speak this interface.
    #[error("this is not an Unhidra server: it answered with status {0}")]
    NotOurServer(u16),
}

/// What the server says about a refusal.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{title}{}", named(.request_id))]
pub struct Refusal {
    /// Why, for programs.
    pub code: ProblemCode,
    /// Why, for people.
    pub title: String,
    /// Finds the refusal in the server's log.
    pub request_id: String,
    /// When to try again, if that helps.
    pub retry_after: Option<Duration>,
    /// The chain's head, when a compare-and-swap on it failed.
    pub head: Option<ChainHead>,
}

/// The request in brackets. Who speaks no TLS is refused before a request has an id.
fn named(request_id: &str) -> String {
    match request_id {
        "-" => String::new(),
        id => format!(" ({id})"),
    }
}

impl RestError {
    /// The code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::Unreachable(_)
            | Self::Untrusted(_)
            | Self::Unreadable(_)
            | Self::TooLong
            | Self::NotOurServer(_) => None,
        }
    }

    /// Whether the same request can succeed later without anyone doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(refusal) => matches!(
                refusal.code,
                ProblemCode::RateLimited | ProblemCode::Unavailable | ProblemCode::Internal
            ),
            Self::Unreachable(_) => true,
            // A proxy says so while the server behind it starts.
            Self::NotOurServer(status) => (500..600).contains(status),
            Self::Untrusted(_) | Self::Unreadable(_) | Self::TooLong => false,
        }
    }

    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.remedy(),
            Self::Untrusted(untrusted) => untrusted.remedy(),
            Self::Unreachable(_) => "check the server's address and that the server runs",
            Self::Unreadable(_) => "use a client that is as new as the server",
            Self::TooLong | Self::NotOurServer(_) => "check the server's address, and any proxy in between",
        }
    }
}

impl From<reqwest::Error> for RestError {
    fn from(error: reqwest::Error) -> Self {
        match Untrusted::find(&error) {
            Some(untrusted) => Self::Untrusted(untrusted),
            None => Self::Unreachable(error),
        }
    }
}

impl Refusal {
    pub(super) fn new(problem: Problem, retry_after: Option<Duration>) -> Box<Self> {
        Box::new(Self {
            code: problem.code,
            title: problem.title,
            request_id: problem.request_id,
            retry_after,
            head: problem.head,
        })
    }

    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self.code {
            ProblemCode::TlsRequired => "give the server's address with https://",
            ProblemCode::Unauthenticated => "log in again",
            ProblemCode::DeviceRevoked => "log in with a new profile",
            ProblemCode::TooSoon => "wait: an identity is reset once a day at most, and rotated eight times",
            ProblemCode::Forbidden => "ask an administrator for the permission",
            ProblemCode::NotFound => "check the name or the id",
            ProblemCode::InvitationRefused => "ask an administrator for a new invitation",
            ProblemCode::UsernameTaken => "choose another name",
            ProblemCode::PasswordUnsuitable => "choose a password of 10 to 1,024 bytes",
            ProblemCode::ChainConflict => {
                "try again: another device changed the device list at the same time"
            }
            ProblemCode::ChainRefused | ProblemCode::PrekeysRefused => {
                "check this machine's clock; if it is right, link the device again"
            }
            ProblemCode::Conflict => "use another name or id: this one holds something else",
            ProblemCode::TooMany => "remove something first: a limit is reached",
            ProblemCode::TooLarge | ProblemCode::HeadTooLarge => "send less at once",
            ProblemCode::RateLimited | ProblemCode::Unavailable => "try again later",
            ProblemCode::PasswordWrong => "check the password",
            ProblemCode::DeviceRefused => "ask an administrator to allow this device again",
            ProblemCode::AccountDeleted => "nobody can be reached under it again",
            ProblemCode::LastAdministrator => {
                "invite another one first: `unhidra admin invite --role super-admin`"
            }
            ProblemCode::IdempotencyKeyReused => "use a new key for a new request",
            ProblemCode::Malformed => {
                "check what was entered; if it is right, use a client as new as the server"
            }
            ProblemCode::Internal => "give the request id to the server's administrator",
            _ => "use a client that is as new as the server",
        }
    }
}
