//! The audit log: heads for everyone, records for administrators.

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Deserialize;
use unhidra_identity::Identity;
use unhidra_wire::audit::{
    AuditKey, AuditQuery, AuditRecords, ConsistencyProof, InclusionProof, TreeHead, TreeHeads,
};

use super::Answer;
use crate::{
    extract::{By, Path, Query},
    failure::Failure,
};

/// Which page of heads.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// Only heads after this number.
    #[serde(default)]
    after: u64,
    /// At most so many, and at most 500.
    limit: Option<u32>,
}

/// Which signed tree.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Size {
    /// How many records it has; a new head is signed when this is absent.
    size: Option<u64>,
}

/// Which two trees.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sizes {
    /// Records of the earlier one.
    from: u64,
    /// Records of the later one.
    to: u64,
}

pub(crate) async fn key(State(identity): State<Identity>) -> Json<AuditKey> {
    Json(identity.audit_key())
}

pub(crate) async fn head(State(identity): State<Identity>, By(caller): By) -> Answer<TreeHead> {
    Ok(Json(identity.tree_head(&caller).await?))
}

pub(crate) async fn heads(State(identity): State<Identity>, Query(page): Query<Page>) -> Answer<TreeHeads> {
    Ok(Json(identity.tree_heads(page.after, page.limit).await?))
}

pub(crate) async fn consistency(
    State(identity): State<Identity>,
    Query(sizes): Query<Sizes>,
) -> Answer<ConsistencyProof> {
    Ok(Json(identity.consistency_proof(sizes.from, sizes.to).await?))
}

pub(crate) async fn records(
    State(identity): State<Identity>,
    By(caller): By,
    Query(query): Query<AuditQuery>,
) -> Answer<AuditRecords> {
    Ok(Json(identity.audit_records(&caller, query).await?))
}

pub(crate) async fn proof(
    State(identity): State<Identity>,
    By(caller): By,
    Path(number): Path<u64>,
    Query(tree): Query<Size>,
) -> Answer<InclusionProof> {
    Ok(Json(identity.inclusion_proof(&caller, number, tree.size).await?))
}

pub(crate) async fn erase_payload(
    State(identity): State<Identity>,
    By(caller): By,
    Path(number): Path<u64>,
) -> Result<StatusCode, Failure> {
    identity.erase_payload(&caller, number).await?;
    Ok(StatusCode::NO_CONTENT)
}
