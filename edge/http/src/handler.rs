//! What each route does: take the request apart, call one use case, answer.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod audit;
pub(crate) mod connection;
pub(crate) mod conversation;
pub(crate) mod device;
pub(crate) mod identity;
pub(crate) mod link;
pub(crate) mod public;
pub(crate) mod session;
pub(crate) mod user;

use axum::Json;

use crate::failure::Failure;

/// An answer in JSON, or why there is none.
pub(crate) type Answer<T> = Result<Json<T>, Failure>;

/// Answers with what was found.
pub(crate) fn found<T>(value: Option<T>) -> Answer<T> {
    value.map(Json).ok_or_else(Failure::not_found)
}
