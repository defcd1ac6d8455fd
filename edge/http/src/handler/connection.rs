//! Connections, for administrators.

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Deserialize;
use unhidra_bus::{Presence, presence::Connected};
use unhidra_identity::Identity;
use unhidra_types::ConnectionId;
use unhidra_wire::rest::{Connection, Connections};
use utoipa::ToSchema;

use super::Answer;
use crate::{
    extract::{By, Limit, Path, Query},
    failure::Failure,
};

/// Which page.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// The last connection of the page before.
    after: Option<ConnectionId>,
    #[serde(default)]
    limit: Limit,
}

pub(crate) async fn list(
    State(presence): State<Presence>,
    By(caller): By,
    Query(page): Query<Page>,
) -> Answer<Connections> {
    let org = caller.principal.org().ok_or_else(Failure::not_found)?;
    let limit = usize::try_from(page.limit.items()).unwrap_or(usize::MAX);
    let mut found = presence.page(org, page.after, limit + 1);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| last.id);
    let connections = found.iter().map(|one| described(one)).collect();
    Ok(Json(Connections { connections, next }))
}

pub(crate) async fn close(
    State(identity): State<Identity>,
    State(presence): State<Presence>,
    By(caller): By,
    Path(connection): Path<ConnectionId>,
) -> Result<StatusCode, Failure> {
    let found = presence.find(connection).ok_or_else(Failure::not_found)?;
    identity
        .close_connection(&caller, connection, found.session)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn described(one: &Connected) -> Connection {
    let counts = one.activity.counts();
    Connection {
        connection_id: one.id,
        user_id: one.user,
        device_id: one.device,
        session_id: one.session,
        address: one.address.map(|address| address.to_string()),
        agent: one.agent.clone(),
        since: one.since,
        last_active_at: one.last_active_at(),
        frames_in: counts.frames_in,
        frames_out: counts.frames_out,
        bytes_in: counts.bytes_in,
        bytes_out: counts.bytes_out,
        lagged: counts.lagged,
    }
}
