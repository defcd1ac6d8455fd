//! What anyone may know: the server's public keys and its health.

use axum::{Json, extract::State, response::IntoResponse};
use http::{StatusCode, header};
use unhidra_identity::Identity;
use unhidra_store::{Store, StoreError};

use crate::{extract::By, failure::Failure};

/// How long others may keep the keys: less than a replaced key stays in force.
const JWKS_CACHING: &str = "public, max-age=300";

pub(crate) async fn alive() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Able to serve: the writer takes acts and a reader answers.
pub(crate) async fn ready(State(store): State<Store>) -> Result<StatusCode, Failure> {
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
