//! Administration.

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Deserialize;
use unhidra_identity::Identity;
use unhidra_types::{DeviceId, InvitationId, SessionId, UserId};
use unhidra_wire::rest::{
    Account, Accounts, AllDevices, EndedSessions, Invitation, Invitations, Invite, Sessions,
};
use utoipa::ToSchema;

use super::{Answer, found};
use crate::{
    extract::{Body, By, Key, Limit, Path, Query},
    failure::Failure,
};

/// A page of accounts.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountPage {
    /// The last one of the page before.
    after: Option<UserId>,
    #[serde(default)]
    limit: Limit,
}

/// A page of sessions.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionPage {
    /// Only this user's.
    user: Option<UserId>,
    /// The last one of the page before.
    after: Option<SessionId>,
    #[serde(default)]
    limit: Limit,
}

/// A page of devices.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DevicePage {
    /// Only this user's.
    user: Option<UserId>,
    /// The last one of the page before.
    after: Option<DeviceId>,
    #[serde(default)]
    limit: Limit,
}

/// A page of invitations.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvitationPage {
    /// The last one of the page before.
    after: Option<InvitationId>,
    #[serde(default)]
    limit: Limit,
}

pub(crate) async fn invite(
    State(identity): State<Identity>,
    By(caller): By,
    Key(key): Key,
    Body(body): Body<Invite>,
) -> Result<(StatusCode, Json<Invitation>), Failure> {
    let invitation = identity.invite(&caller, body, key.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(invitation)))
}

pub(crate) async fn invitations(
    State(identity): State<Identity>,
    By(caller): By,
    Query(page): Query<InvitationPage>,
) -> Answer<Invitations> {
    let limit = page.limit.items();
    Ok(Json(identity.invitations(&caller, page.after, limit).await?))
}

pub(crate) async fn revoke_invitation(
    State(identity): State<Identity>,
    By(caller): By,
    Path(invitation): Path<InvitationId>,
) -> Result<StatusCode, Failure> {
    identity.revoke_invitation(&caller, invitation).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn users(
    State(identity): State<Identity>,
    By(caller): By,
    Query(page): Query<AccountPage>,
) -> Answer<Accounts> {
    let limit = page.limit.items();
    Ok(Json(identity.accounts(&caller, page.after, limit).await?))
}

pub(crate) async fn user(State(identity): State<Identity>, Path(user): Path<UserId>) -> Answer<Account> {
    found(identity.account(user).await?)
}

pub(crate) async fn disable(
    State(identity): State<Identity>,
    By(caller): By,
    Path(user): Path<UserId>,
) -> Result<StatusCode, Failure> {
    identity.disable_account(&caller, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn enable(
    State(identity): State<Identity>,
    By(caller): By,
    Path(user): Path<UserId>,
) -> Result<StatusCode, Failure> {
    identity.enable_account(&caller, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn sessions(
    State(identity): State<Identity>,
    By(caller): By,
    Query(page): Query<SessionPage>,
) -> Answer<Sessions> {
    let limit = page.limit.items();
    Ok(Json(
        identity.sessions(&caller, page.user, page.after, limit).await?,
    ))
}

pub(crate) async fn devices(
    State(identity): State<Identity>,
    By(caller): By,
    Query(page): Query<DevicePage>,
) -> Answer<AllDevices> {
    let limit = page.limit.items();
    Ok(Json(
        identity
            .all_devices(&caller, page.user, page.after, limit)
            .await?,
    ))
}

pub(crate) async fn refuse_device(
    State(identity): State<Identity>,
    By(caller): By,
    Path(device): Path<DeviceId>,
) -> Answer<EndedSessions> {
    Ok(Json(identity.refuse_device(&caller, device).await?))
}

pub(crate) async fn allow_device(
    State(identity): State<Identity>,
    By(caller): By,
    Path(device): Path<DeviceId>,
) -> Result<StatusCode, Failure> {
    identity.allow_device(&caller, device).await?;
    Ok(StatusCode::NO_CONTENT)
}
