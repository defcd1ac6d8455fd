//! Users, their device chains and their devices' prekeys.

use axum::{Json, extract::State};
use serde::Deserialize;
use unhidra_identity::Identity;
use unhidra_types::{UserId, Username};
use unhidra_wire::rest::{Bundles, ChainHead, ChainRecords, ExtendChain, Me, Recovery, TakeBundles, User};
use utoipa::ToSchema;

use super::{Answer, found};
use crate::{
    extract::{Body, By, Path, Query},
    failure::Failure,
};

/// Where a page of a chain begins.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct From {
    /// Number of the first record, from 0.
    #[serde(default)]
    from: u32,
}

pub(crate) async fn me(State(identity): State<Identity>, By(caller): By) -> Answer<Me> {
    found(identity.me(&caller).await?)
}

pub(crate) async fn by_name(
    State(identity): State<Identity>,
    By(caller): By,
    Path(username): Path<Username>,
) -> Answer<User> {
    let user = identity.user_by_name(&caller, username.clone()).await?;
    if user.is_none() {
        identity.check_name_exists(&caller, &username).await?;
    }
    found(user)
}

pub(crate) async fn read(State(identity): State<Identity>, Path(user): Path<UserId>) -> Answer<User> {
    identity.check_exists(user).await?;
    found(identity.user(user).await?)
}

pub(crate) async fn chain(
    State(identity): State<Identity>,
    Path(user): Path<UserId>,
    Query(page): Query<From>,
) -> Answer<ChainRecords> {
    identity.check_exists(user).await?;
    found(identity.chain(user, page.from).await?)
}

pub(crate) async fn extend_chain(
    State(identity): State<Identity>,
    By(caller): By,
    Body(body): Body<ExtendChain>,
) -> Answer<ChainHead> {
    Ok(Json(identity.extend_chain(&caller, body).await?))
}

pub(crate) async fn recovery(State(identity): State<Identity>, By(caller): By) -> Answer<Recovery> {
    let user = caller.user().ok_or_else(Failure::not_found)?;
    found(identity.recovery(user).await?)
}

pub(crate) async fn take_bundles(
    State(identity): State<Identity>,
    By(caller): By,
    Path(user): Path<UserId>,
    Body(body): Body<TakeBundles>,
) -> Answer<Bundles> {
    Ok(Json(identity.take_bundles(&caller, user, body).await?))
}
