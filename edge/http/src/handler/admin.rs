//! Administration.

use axum::{Json, extract::State};
use http::StatusCode;
use unhidra_identity::Identity;
use unhidra_wire::rest::{Invitation, Invite};

use crate::{
    extract::{Body, By},
    failure::Failure,
};

pub(crate) async fn invite(
    State(identity): State<Identity>,
    By(caller): By,
    Body(body): Body<Invite>,
) -> Result<(StatusCode, Json<Invitation>), Failure> {
    let invitation = identity.invite(&caller, body).await?;
    Ok((StatusCode::CREATED, Json(invitation)))
}
