//! The linking channel of a new device, either way.

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Deserialize;
use unhidra_identity::{Caller, Identity, link::Direction};
use unhidra_types::DeviceId;
use unhidra_wire::rest::{LinkMessage, LinkMessages};
use utoipa::ToSchema;

use super::Answer;
use crate::{
    extract::{Body, By, Path, Query},
    failure::Failure,
};

/// How many messages the reader has.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct After {
    /// How many messages of this direction the reader has.
    #[serde(default)]
    after: u32,
}

pub(crate) async fn send_to_certifier(
    State(identity): State<Identity>,
    By(caller): By,
    Path(device): Path<DeviceId>,
    Body(body): Body<LinkMessage>,
) -> Result<StatusCode, Failure> {
    send(&identity, &caller, device, Direction::ToCertifier, body).await
}

pub(crate) async fn send_to_new_device(
    State(identity): State<Identity>,
    By(caller): By,
    Path(device): Path<DeviceId>,
    Body(body): Body<LinkMessage>,
) -> Result<StatusCode, Failure> {
    send(&identity, &caller, device, Direction::ToNewDevice, body).await
}

pub(crate) async fn read_to_certifier(
    State(identity): State<Identity>,
    By(caller): By,
    Path(device): Path<DeviceId>,
    Query(page): Query<After>,
) -> Answer<LinkMessages> {
    Ok(Json(
        identity
            .link_messages(&caller, device, Direction::ToCertifier, page.after)
            .await?,
    ))
}

pub(crate) async fn read_to_new_device(
    State(identity): State<Identity>,
    By(caller): By,
    Path(device): Path<DeviceId>,
    Query(page): Query<After>,
) -> Answer<LinkMessages> {
    Ok(Json(
        identity
            .link_messages(&caller, device, Direction::ToNewDevice, page.after)
            .await?,
    ))
}

async fn send(
    identity: &Identity,
    caller: &Caller,
    device: DeviceId,
    direction: Direction,
    body: LinkMessage,
) -> Result<StatusCode, Failure> {
    identity
        .send_link_message(caller, device, direction, body)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
