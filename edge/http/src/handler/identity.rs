//! Replacing an identity key, or its recovery wrap.

use axum::{Json, extract::State};
use http::StatusCode;
use unhidra_identity::Identity;
use unhidra_wire::rest::{ChainHead, ReplaceIdentity, ReplaceRecovery};

use super::Answer;
use crate::{
    extract::{Body, By},
    failure::Failure,
};

pub(crate) async fn rotate(
    State(identity): State<Identity>,
    By(caller): By,
    Body(body): Body<ReplaceIdentity>,
) -> Answer<ChainHead> {
    Ok(Json(identity.rotate_identity(&caller, body).await?))
}

pub(crate) async fn reset(
    State(identity): State<Identity>,
    By(caller): By,
    Body(body): Body<ReplaceIdentity>,
) -> Answer<ChainHead> {
    Ok(Json(identity.reset_identity(&caller, body).await?))
}

pub(crate) async fn replace_recovery(
    State(identity): State<Identity>,
    By(caller): By,
    Body(body): Body<ReplaceRecovery>,
) -> Result<StatusCode, Failure> {
    identity.replace_recovery(&caller, body).await?;
    Ok(StatusCode::NO_CONTENT)
}
