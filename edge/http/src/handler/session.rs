//! Logging in, sessions and their tokens.

use axum::{Extension, Json, extract::State};
use http::StatusCode;
use unhidra_identity::Identity;
use unhidra_types::{DeviceId, SessionId};
use unhidra_wire::rest::{BeginSession, Enrolment, LogIn, Refresh, Tokens};

use super::Answer;
use crate::{
    authorise::BearerToken,
    extract::{Body, By, Path},
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

pub(crate) async fn end(
    State(identity): State<Identity>,
    By(caller): By,
    Path(session): Path<SessionId>,
) -> Result<StatusCode, Failure> {
    identity.end_session(&caller, session).await?;
    Ok(StatusCode::NO_CONTENT)
}
