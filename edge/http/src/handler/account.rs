//! Accounts.

use axum::{Json, extract::State};
use http::StatusCode;
use unhidra_identity::Identity;
use unhidra_wire::rest::{DeleteAccount, Enrolment, OpenAccount};

use crate::{
    extract::{Body, By, Key},
    failure::Failure,
};

pub(crate) async fn open(
    State(identity): State<Identity>,
    By(caller): By,
    Key(key): Key,
    Body(body): Body<OpenAccount>,
) -> Result<(StatusCode, Json<Enrolment>), Failure> {
    let enrolment = identity.open_account(&caller, body, key.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(enrolment)))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    By(caller): By,
    Body(body): Body<DeleteAccount>,
) -> Result<StatusCode, Failure> {
    identity.delete_account(&caller, body).await?;
    Ok(StatusCode::NO_CONTENT)
}
