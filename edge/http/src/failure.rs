//! The one way to say no: a problem document (RFC 9457) with a code for programs and a request id for people.
//!
//! A handler returns a [`Failure`]; [`observe`](crate::observe) knows the request id, logs the cause once and writes the
//! document. The cause never leaves the server.

use std::{error::Error, sync::Arc};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use unhidra_identity::{
    account::AccountError, administration::AdministrationError, audit::AuditError, deletion::DeleteError,
    deletion::ExistsError, device_chain::ExtendError, idempotency::RepeatError,
    identity_change::ReplaceError, invitation::InviteError, link::LinkError, login::LoginError,
    prekey::PrekeyError, session::SessionError,
};
use unhidra_messaging::{append::AppendError, conversation::OpenError};
use unhidra_policy::Denial;
use unhidra_runtime::{Overloaded, RequestId, rate::Exceeded};
use unhidra_store::StoreError;
use unhidra_wire::{
    frame::Refusal,
    rest::{ChainHead, Problem, ProblemCode},
};

use crate::rates::seconds;

/// Seconds after which an overloaded server may be asked again.
const RETRY_AFTER_SECONDS: u32 = 5;

/// Why a request was not done.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    code: ProblemCode,
    title: &'static str,
    head: Option<ChainHead>,
    /// Seconds, when it is not what the code says by itself.
    retry_after: Option<u64>,
    /// For the log only.
    pub(crate) cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    const fn new(code: ProblemCode, title: &'static str) -> Self {
        Self {
            code,
            title,
            head: None,
            retry_after: None,
            cause: None,
        }
    }

    pub(crate) const fn malformed(title: &'static str) -> Self {
        Self::new(ProblemCode::Malformed, title)
    }

    pub(crate) const fn malformed_query() -> Self {
        Self::malformed("the query does not have the documented form")
    }

    pub(crate) const fn too_large() -> Self {
        Self::new(ProblemCode::TooLarge, "the request body is too large")
    }

    pub(crate) const fn unsupported_media_type() -> Self {
        Self::new(
            ProblemCode::UnsupportedMediaType,
            "send a body of the type application/json",
        )
    }

    pub(crate) const fn head_too_large() -> Self {
        Self::new(ProblemCode::HeadTooLarge, "the head of the request is too large")
    }

    pub(crate) const fn not_found() -> Self {
        Self::new(ProblemCode::NotFound, "no such thing, or not for you")
    }

    const fn deleted() -> Self {
        Self::new(ProblemCode::AccountDeleted, "this account no longer exists")
    }

    pub(crate) const fn unavailable() -> Self {
        Self::new(
            ProblemCode::Unavailable,
            "the server can't do this now, try again later",
        )
    }

    /// A route was served outside of [`observe`](crate::observe): a mistake in this crate.
    pub(crate) const fn no_context() -> Self {
        Self::new(ProblemCode::Internal, INTERNAL)
    }

    const fn unauthenticated() -> Self {
        Self::new(ProblemCode::Unauthenticated, "valid credentials are needed")
    }

    /// The same refusal, told to a device that was revoked.
    pub(crate) fn of_a_revoked_device(self) -> Self {
        match self.code {
            ProblemCode::Unauthenticated => Self::device_revoked(),
            _ => self,
        }
    }

    const fn device_revoked() -> Self {
        Self::new(ProblemCode::DeviceRevoked, "this device was revoked, for good")
    }

    fn internal(cause: impl Error + Send + Sync + 'static) -> Self {
        Self {
            cause: Some(Arc::new(cause)),
            ..Self::no_context()
        }
    }

    fn overloaded(cause: impl Error + Send + Sync + 'static) -> Self {
        Self {
            cause: Some(Arc::new(cause)),
            ..Self::unavailable()
        }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        status(self.code)
    }

    /// Whether it passes by itself; a human looks at what does not.
    pub(crate) fn is_transient(&self) -> bool {
        let cause = self.cause.as_ref();
        let store = cause.and_then(|cause| cause.downcast_ref::<StoreError>());
        self.code == ProblemCode::Unavailable && store.is_none_or(StoreError::is_transient)
    }

    /// The document, with the headers that belong to it.
    pub(crate) fn answer(&self, request: RequestId) -> Response {
        let problem = Problem {
            head: self.head,
            ..Problem::new(self.status().as_u16(), self.code, self.title, request.to_string())
        };
        let mut response = (self.status(), axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(Problem::CONTENT_TYPE),
        );
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        } else if matches!(self.code, ProblemCode::Unavailable | ProblemCode::RateLimited) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }
}

/// The HTTP status that goes with a code.
pub(crate) const fn status(code: ProblemCode) -> StatusCode {
    match code {
        ProblemCode::Malformed
        | ProblemCode::TlsRequired
        | ProblemCode::PasswordUnsuitable
        | ProblemCode::ChainRefused
        | ProblemCode::PrekeysRefused => StatusCode::BAD_REQUEST,
        ProblemCode::UnsupportedVersion => StatusCode::UPGRADE_REQUIRED,
        ProblemCode::Unauthenticated | ProblemCode::DeviceRevoked => StatusCode::UNAUTHORIZED,
        ProblemCode::Forbidden
        | ProblemCode::InvitationRefused
        | ProblemCode::PasswordWrong
        | ProblemCode::DeviceRefused => StatusCode::FORBIDDEN,
        ProblemCode::NotFound => StatusCode::NOT_FOUND,
        ProblemCode::AccountDeleted => StatusCode::GONE,
        ProblemCode::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        ProblemCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ProblemCode::UsernameTaken
        | ProblemCode::ChainConflict
        | ProblemCode::Conflict
        | ProblemCode::LastAdministrator
        | ProblemCode::TooMany => StatusCode::CONFLICT,
        ProblemCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ProblemCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ProblemCode::RateLimited | ProblemCode::TooSoon => StatusCode::TOO_MANY_REQUESTS,
        ProblemCode::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ProblemCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Carries the failure to [`observe`](crate::observe), which writes the answer.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

pub(crate) async fn no_such_path() -> Failure {
    Failure::not_found()
}

pub(crate) async fn no_such_method() -> Failure {
    Failure::new(
        ProblemCode::MethodNotAllowed,
        "this path does not have this method",
    )
}

const INTERNAL: &str = "the server failed; its log has the cause under the request id";

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            // Nothing was stored: it may go well the next time.
            StoreError::Overloaded | StoreError::Closed | StoreError::DiskFull | StoreError::CommitFailed => {
                Self::overloaded(error)
            }
            other => Self::internal(other),
        }
    }
}

impl From<Exceeded> for Failure {
    fn from(exceeded: Exceeded) -> Self {
        Self {
            retry_after: Some(seconds(exceeded.retry_after).max(1)),
            ..Self::new(
                ProblemCode::RateLimited,
                "too much in a short time, try again later",
            )
        }
    }
}

impl From<Overloaded> for Failure {
    fn from(error: Overloaded) -> Self {
        Self::overloaded(error)
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Unauthenticated => Self::unauthenticated(),
            Denial::Forbidden => Self::new(ProblemCode::Forbidden, "these credentials do not allow this"),
            Denial::NotFound => Self::not_found(),
        }
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::InvitationRefused => Self::new(
                ProblemCode::InvitationRefused,
                "the invitation is unknown, used or expired",
            ),
            AccountError::UsernameTaken => Self::new(ProblemCode::UsernameTaken, "the name is taken"),
            AccountError::PasswordUnsuitable => {
                Self::new(ProblemCode::PasswordUnsuitable, "a password has 10 to 1024 bytes")
            }
            AccountError::TooOften(exceeded) => exceeded.into(),
            AccountError::Repeat(error) => error.into(),
            AccountError::Overloaded(error) => error.into(),
            AccountError::Keys(error) => Self::internal(error),
            AccountError::Store(error) => error.into(),
        }
    }
}

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Refused => Self::unauthenticated(),
            LoginError::TooOften(exceeded) => exceeded.into(),
            LoginError::Overloaded(error) => error.into(),
            LoginError::Keys(error) => Self::internal(error),
            LoginError::Store(error) => error.into(),
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Refused => Self::unauthenticated(),
            SessionError::DeviceRefused => Self::new(
                ProblemCode::DeviceRefused,
                "an administrator refuses the sessions of this device",
            ),
            SessionError::Revoked => Self::device_revoked(),
            SessionError::Keys(error) => Self::internal(error),
            SessionError::Store(error) => error.into(),
        }
    }
}

impl From<ExtendError> for Failure {
    fn from(error: ExtendError) -> Self {
        match error {
            ExtendError::Conflict(head) => Self {
                head,
                ..Self::new(
                    ProblemCode::ChainConflict,
                    "the chain has other records than you think",
                )
            },
            ExtendError::Malformed => {
                Self::malformed("records, proofs or names do not have the documented form")
            }
            ExtendError::TooMany => Self::new(ProblemCode::TooMany, "too many devices or records"),
            ExtendError::Overloaded(error) => error.into(),
            ExtendError::Store(error) => error.into(),
            refused @ (ExtendError::Chain(_)
            | ExtendError::OtherUser
            | ExtendError::Unproved(_)
            | ExtendError::DeviceTaken(_)
            | ExtendError::Recovery) => Self {
                cause: Some(Arc::new(refused)),
                ..Self::new(
                    ProblemCode::ChainRefused,
                    "a record, proof or recovery wrap does not hold",
                )
            },
        }
    }
}

impl From<ReplaceError> for Failure {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::Chain(error) => error.into(),
            ReplaceError::NoChain => Self::not_found(),
            ReplaceError::TooSoon(again) => Self {
                retry_after: Some(again.as_secs().max(1)),
                ..Self::new(ProblemCode::TooSoon, "the identity was changed too lately")
            },
            refused @ (ReplaceError::Unvouched | ReplaceError::UsedBefore | ReplaceError::NotACertifier) => {
                Self {
                    cause: Some(Arc::new(refused)),
                    ..Self::new(
                        ProblemCode::ChainRefused,
                        "the genesis does not follow the current identity, or the device does not certify",
                    )
                }
            }
        }
    }
}

impl From<PrekeyError> for Failure {
    fn from(error: PrekeyError) -> Self {
        match error {
            PrekeyError::Refused => Self::new(
                ProblemCode::PrekeysRefused,
                "a prekey, its signature or its date does not hold, or the generation is lower",
            ),
            PrekeyError::TooMany => Self::new(ProblemCode::TooMany, "too many keys or devices"),
            PrekeyError::Overloaded(error) => error.into(),
            PrekeyError::Store(error) => error.into(),
        }
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::NotFound => Self::not_found(),
            LinkError::Malformed => Self::malformed("a message of the linking channel has 1 to 1024 bytes"),
            LinkError::TooMany => Self::new(ProblemCode::TooMany, "too many messages or linking channels"),
            LinkError::Store(error) => error.into(),
        }
    }
}

impl From<InviteError> for Failure {
    fn from(error: InviteError) -> Self {
        match error {
            InviteError::Lifetime => {
                Self::malformed("an invitation lives between one second and thirty days")
            }
            InviteError::Repeat(error) => error.into(),
            InviteError::Keys(error) => Self::internal(error),
            InviteError::Store(error) => error.into(),
        }
    }
}

impl From<RepeatError> for Failure {
    fn from(error: RepeatError) -> Self {
        match error {
            RepeatError::Reused => Self::new(
                ProblemCode::IdempotencyKeyReused,
                "this idempotency key stands for another request",
            ),
            RepeatError::Full => Self::new(ProblemCode::TooMany, "too many idempotency keys within a day"),
        }
    }
}

impl From<AdministrationError> for Failure {
    fn from(error: AdministrationError) -> Self {
        match error {
            AdministrationError::NotFound => Self::not_found(),
            AdministrationError::Deleted => Self::deleted(),
            AdministrationError::LastAdministrator => Self::new(
                ProblemCode::LastAdministrator,
                "nobody else administers this server",
            ),
            AdministrationError::Store(error) => error.into(),
        }
    }
}

impl From<DeleteError> for Failure {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::PasswordWrong => Self::new(ProblemCode::PasswordWrong, "the password is wrong"),
            DeleteError::TooOften(exceeded) => exceeded.into(),
            DeleteError::Administration(error) => error.into(),
            DeleteError::Overloaded(error) => error.into(),
        }
    }
}

impl From<ExistsError> for Failure {
    fn from(error: ExistsError) -> Self {
        match error {
            ExistsError::Deleted => Self::deleted(),
            ExistsError::Store(error) => error.into(),
        }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Malformed => Self::malformed("the query names no act, id or tree of this log"),
            AuditError::NotFound => Self::not_found(),
            AuditError::Store(error) => error.into(),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::UnknownUser => Self::not_found(),
            OpenError::Repeat(error) => error.into(),
            OpenError::DeletedUser => Self::deleted(),
            OpenError::TooManyMembers => Self::new(ProblemCode::TooMany, "too many members"),
            OpenError::WithSelf => Self::malformed("a direct conversation has two users"),
            OpenError::Store(error) => error.into(),
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Refused {
                reason: Refusal::NotFound,
                ..
            } => Self::not_found(),
            AppendError::Refused {
                reason: Refusal::RateLimited,
                ..
            } => Self::new(ProblemCode::RateLimited, "too many messages, try again later"),
            AppendError::Refused {
                reason: Refusal::Unavailable,
                ..
            } => Self::unavailable(),
            AppendError::Refused { .. } => Self::malformed("the entry breaks a rule of its conversation"),
            // Its order has nothing before it.
            AppendError::OutOfTurn => StoreError::Overloaded.into(),
            AppendError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests;
