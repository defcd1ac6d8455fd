//! Around every request: its time and id, its bounds, and one line in the log without anything secret in it.

use std::time::{Duration, Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderName, HeaderValue, Uri, header};
use tracing::Instrument as _;
use unhidra_runtime::{Clock, Context};

use crate::{failure::Failure, rates::Allowance};

/// How long a request may take; whatever it holds is given back then.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that the head of a request may have. The listener reads no more into its buffer than it needs for this, but
/// takes a head that arrives in one piece.
pub(crate) const MAX_HEAD_BYTES: usize = 32 * 1024;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Names of query parameters that others carry tokens in.
const TOKEN_PARAMETERS: [&str; 7] = [
    "access_token",
    "refresh_token",
    "token",
    "bearer",
    "jwt",
    "authorization",
    "invitation",
];
/// How the JSON object that a JWT starts with begins in base64url.
const JWT_PREFIX: &str = "eyJ";

/// Gives the request its [`Context`], bounds its time, answers failures and logs the outcome.
pub(crate) async fn observe(State(clock): State<Clock>, mut request: Request, next: Next) -> Response {
    let context = clock.context();
    request.extensions_mut().insert(context);
    // The pattern, not the path: names and whatever else was put there stay out of the log.
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("-", MatchedPath::as_str)
        .to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!("request", method = %method, path, request.id = %context.request_id);
    let began = Instant::now();
    async {
        let mut response = serve(request, next).await;
        let allowance = response.extensions_mut().remove::<Allowance>();
        if let Some(failure) = response.extensions_mut().remove::<Failure>() {
            log_failure(&failure);
            // The router knows which methods a path has (RFC 9110 section 15.5.6).
            let allow = response.headers_mut().remove(header::ALLOW);
            response = failure.answer(context.request_id);
            if let Some(allow) = allow {
                response.headers_mut().insert(header::ALLOW, allow);
            }
        }
        seal(&mut response, &context);
        if let Some(allowance) = allowance {
            allowance.tell(response.headers_mut());
        }
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(
            status = response.status().as_u16(),
            duration_ms,
            "request answered"
        );
        response
    }
    .instrument(span)
    .await
}

async fn serve(request: Request, next: Next) -> Response {
    use axum::response::IntoResponse as _;
    if head_bytes(&request) > MAX_HEAD_BYTES {
        return Failure::head_too_large().into_response();
    }
    if carries_token(request.uri()) {
        return Failure::malformed("a token never belongs in a URL: it is known to every log on its way")
            .into_response();
    }
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failure::unavailable().into_response(),
    }
}

/// Bytes of the request line and the headers, as they were sent but for the white space between them.
fn head_bytes(request: &Request) -> usize {
    let line = request.method().as_str().len() + request.uri().to_string().len();
    let headers = request.headers().iter();
    line + headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum::<usize>()
}

fn carries_token(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    let named = query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        TOKEN_PARAMETERS
            .iter()
            .any(|token| name.eq_ignore_ascii_case(token))
    });
    named
        || query
            .split(['=', '&'])
            .chain(uri.path().split('/'))
            .any(|part| part.starts_with(JWT_PREFIX))
}

/// The cause, chain and all, once; a human looks only at what the server itself did wrong.
fn log_failure(failure: &Failure) {
    let Some(cause) = &failure.cause else { return };
    let mut text = cause.to_string();
    let mut source = cause.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let status = failure.status();
    if failure.is_transient() {
        tracing::warn!(status = status.as_u16(), "request turned away: {text}");
    } else if status.is_server_error() {
        tracing::error!(status = status.as_u16(), "request failed: {text}");
    } else {
        tracing::debug!(status = status.as_u16(), "request refused: {text}");
    }
}

fn seal(response: &mut Response, context: &Context) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&context.request_id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_wherever_it_stands_in_a_url() {
        for uri in [
            "/v1/me?access_token=x",
            "/v1/me?a=b&TOKEN=x",
            "/v1/me?q=eyJhbGciOiJFZERTQSJ9.e30.x",
            "/v1/eyJhbGciOiJFZERTQSJ9.e30.x/me",
        ] {
            assert!(carries_token(&uri.parse().unwrap()), "{uri}");
        }
        for uri in [
            "/v1/me",
            "/v1/users/usr_00/chain?from=3",
            "/v1/conversations?after=cnv_00",
        ] {
            assert!(!carries_token(&uri.parse().unwrap()), "{uri}");
        }
    }
}
