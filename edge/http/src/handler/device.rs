//! The caller's devices, their prekeys, and what they could not open.

use axum::{Json, extract::State};
use http::StatusCode;
use unhidra_identity::Identity;
use unhidra_types::DeviceId;
use unhidra_wire::rest::{Devices, OpeningFailures, Stock, UploadPrekeys};

use super::Answer;
use crate::{
    extract::{Body, By, Path},
    failure::Failure,
};

pub(crate) async fn list(State(identity): State<Identity>, By(caller): By) -> Answer<Devices> {
    let user = caller.user().ok_or_else(Failure::not_found)?;
    Ok(Json(identity.devices(user).await?))
}

pub(crate) async fn upload_prekeys(
    State(identity): State<Identity>,
    By(caller): By,
    Path(device): Path<DeviceId>,
    Body(body): Body<UploadPrekeys>,
) -> Answer<Stock> {
    Ok(Json(identity.upload_prekeys(&caller, device, body).await?))
}

pub(crate) async fn stock(
    State(identity): State<Identity>,
    By(caller): By,
    Path(device): Path<DeviceId>,
) -> Answer<Stock> {
    Ok(Json(identity.prekey_stock(device, caller.context.now).await?))
}

pub(crate) async fn report_failures(
    State(identity): State<Identity>,
    By(caller): By,
    Path(device): Path<DeviceId>,
    Body(body): Body<OpeningFailures>,
) -> Result<StatusCode, Failure> {
    identity.report_failures(device, body, caller.context.now).await?;
    Ok(StatusCode::NO_CONTENT)
}
