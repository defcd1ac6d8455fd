//! What anyone may know: the server's public keys, its health and this interface.

use axum::{Extension, Json, body::Bytes, extract::State, response::IntoResponse};
use http::{StatusCode, header};
use serde_json::Value;
use unhidra_identity::Identity;
use unhidra_store::{Health, Store, StoreError};
use utoipa::ToSchema;

use crate::{extract::By, failure::Failure};

/// How long others may keep the keys: less than a replaced key stays in force.
const JWKS_CACHING: &str = "public, max-age=300";

/// A JSON Web Key Set.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents what infra/keys writes")]
pub(crate) struct JwkSet {
    /// Public keys, RFC 7517 section 4.
    keys: Vec<Value>,
}

/// An OpenAPI document.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents a document")]
pub(crate) struct OpenApi {
    /// Version of the format.
    openapi: String,
}

/// The OpenAPI document as JSON, made once.
#[derive(Clone)]
pub(crate) struct Document(pub(crate) Bytes);

pub(crate) async fn openapi(Extension(Document(json)): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], json)
}

pub(crate) async fn alive() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Able to serve: the writer takes acts, the disk has room for them, and a reader answers.
pub(crate) async fn ready(State(store): State<Store>) -> Result<StatusCode, Failure> {
    if store.health() != Health::Good {
        return Err(StoreError::DiskFull.into());
    }
    store.write::<_, StoreError, _>(|_| Ok(())).await?;
    store.read(|snapshot| snapshot.has_accounts()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn jwks(State(identity): State<Identity>, By(caller): By) -> impl IntoResponse {
    (
        [(header::CACHE_CONTROL, JWKS_CACHING)],
        Json(identity.keys().jwks(caller.context.now)),
    )
}
