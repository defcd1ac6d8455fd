//! Logging in, sessions and their tokens.

use axum::{Extension, Json, extract::State};
use http::StatusCode;
use serde::Deserialize;
use unhidra_identity::Identity;
use unhidra_types::{DeviceId, SessionId};
use unhidra_wire::rest::{BeginSession, Enrolment, LogIn, Refresh, Sessions, Tokens};
use utoipa::ToSchema;

use super::Answer;
use crate::{
    authorise::BearerToken,
    extract::{Body, By, Limit, Path, Query},
    failure::Failure,
};

pub(crate) async fn log_in(
    State(identity): State<Identity>,
    By(caller): By,
    Body(body): Body<LogIn>,
) -> Answer<Enrolment> {
    Ok(Json(identity.log_in(&caller, body).await?))
}

pub(crate) async fn begin(
    State(identity): State<Identity>,
    By(caller): By,
    Extension(BearerToken(token)): Extension<BearerToken>,
    Path(device): Path<DeviceId>,
    Body(body): Body<BeginSession>,
) -> Result<(StatusCode, Json<Tokens>), Failure> {
    let tokens = identity
        .begin_session(&caller, device, token.expose(), &body)
        .await?;
    Ok((StatusCode::CREATED, Json(tokens)))
}

pub(crate) async fn refresh(
    State(identity): State<Identity>,
    By(caller): By,
    Body(body): Body<Refresh>,
) -> Answer<Tokens> {
    Ok(Json(identity.refresh(&caller, &body).await?))
}

/// Where a page of the own sessions begins.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionPage {
    /// The last one of the page before.
    after: Option<SessionId>,
    #[serde(default)]
    limit: Limit,
}

pub(crate) async fn list(
    State(identity): State<Identity>,
    By(caller): By,
    Query(page): Query<SessionPage>,
) -> Answer<Sessions> {
    let user = caller.user().ok_or_else(Failure::not_found)?;
    let sessions = identity
        .sessions(&caller, Some(user), page.after, page.limit.items())
        .await?;
    Ok(Json(sessions))
}

pub(crate) async fn end(
    State(identity): State<Identity>,
    By(caller): By,
    Path(session): Path<SessionId>,
) -> Result<StatusCode, Failure> {
    identity.end_session(&caller, session).await?;
    Ok(StatusCode::NO_CONTENT)
}
