//! Bodies, path segments and queries as typed values, or a [`Failure`].

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
};
use http::{Uri, header, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};
use unhidra_identity::{Caller, IdempotencyKey, administration::MAX_PAGE};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{Object, ObjectBuilder, Schema, Type},
    },
};

use crate::failure::Failure;

/// The header that names a request which may be sent again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

/// The variable segments of the path.
pub(crate) struct Path<T>(pub(crate) T);

/// The query.
pub(crate) struct Query<T>(pub(crate) T);

/// How many items a page of a list has: 1 to 256, 256 unless the caller says otherwise.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct Limit(u32);

impl Limit {
    pub(crate) const fn items(self) -> u32 {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(MAX_PAGE)
    }
}

impl TryFrom<u32> for Limit {
    type Error = &'static str;

    fn try_from(items: u32) -> Result<Self, &'static str> {
        match items {
            1..=MAX_PAGE => Ok(Self(items)),
            _ => Err("a page has 1 to 256 items"),
        }
    }
}

impl PartialSchema for Limit {
    fn schema() -> RefOr<Schema> {
        let limit: Object = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(MAX_PAGE))
            .description(Some("Items on a page."))
            .build();
        limit.into()
    }
}

impl ToSchema for Limit {}

/// What the client calls this request, in `Idempotency-Key`, if it may send it again.
pub(crate) struct Key(pub(crate) Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(Self(None)),
            (Some(one), None) => {
                let key = one.to_str().ok().and_then(|text| text.parse().ok());
                key.map(|key| Self(Some(key))).ok_or_else(|| {
                    Failure::malformed("an Idempotency-Key has 1 to 128 visible ASCII characters")
                })
            }
            (Some(_), Some(_)) => Err(Failure::malformed("send one Idempotency-Key header")),
        }
    }
}

/// Who asks; put there by [`authorise`](crate::authorise).
pub(crate) struct By(pub(crate) Caller);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        // A form of a foreign web page can't send this type.
        if !content_type.is_some_and(|value| value.trim_start().starts_with("application/json")) {
            return Err(Failure::unsupported_media_type());
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| match rejection {
                BytesRejection::FailedToBufferBody(_)
                    if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE =>
                {
                    Failure::too_large()
                }
                _ => Failure::malformed("the body could not be read"),
            })?;
        let parsed = serde_json::from_slice(&bytes);
        parsed
            .map(Self)
            .map_err(|_| Failure::malformed("the body does not have the documented form"))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| Failure::not_found())
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Self::of(&parts.uri)
    }
}

impl<T: DeserializeOwned> Query<T> {
    /// The query of `uri`.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Failure> {
        let query = axum::extract::Query::<T>::try_from_uri(uri);
        query
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|_| Failure::malformed_query())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts
            .extensions
            .get::<Caller>()
            .copied()
            .map(Self)
            .ok_or_else(Failure::no_context)
    }
}
