//! The REST interface: `/v1/...`, the public keys and the health of the server.
//!
//! It turns requests into calls of the services and their answers into JSON or a problem (RFC 9457). It holds no rules
//! and no SQL. WebSocket connections are the gateway's.
//!
//! - [`endpoint`]: every route with its action and resource   - [`authorise`]: the one place where a request is decided
//! - [`failure`]: the one way to say no                        - [`observe`]: time, request id, bounds and the log
//! - [`extract`]: bodies and path segments, or a problem    - [`listener`]: the accept loop and its drain
//! - [`openapi`]: all of it as a document for programs      - [`admission`]: which sockets are taken at all
//! - [`client_address`]: who asks, behind proxies or not   - [`rates`]: how often requests may come
//! - [`tls`]: handshakes, and the certificate of the moment   - [`ahead`]: one look at the database for a request
//!
//! Invariants: a route without an action can't be written; a bearer token is read from the `Authorization` header alone
//! and is never logged; every refusal has the same shape.
#![warn(missing_docs)]

pub mod admission;
mod ahead;
mod authorise;
pub mod client_address;
mod endpoint;
mod extract;
mod failure;
mod handler;
pub mod listener;
mod observe;
pub mod openapi;
pub mod rates;
#[cfg(test)]
mod tests;
pub mod tls;
mod turn_away;
mod watched;

use axum::{Extension, Router, extract::DefaultBodyLimit, extract::FromRef, middleware};
use unhidra_bus::Presence;
use unhidra_identity::Identity;
use unhidra_messaging::Messaging;
use unhidra_runtime::Clock;
use unhidra_store::Store;

use handler::public::Document;

pub use endpoint::{Documentation, Endpoint, Target, endpoints};

/// The largest request body: an upload of a full prekey stock has about 100 KiB, an entry of 256 KiB 350 KiB.
const MAX_BODY_BYTES: usize = 512 * 1024;

/// What the interface is made of.
#[derive(Clone)]
pub struct App {
    /// Accounts, sessions, devices.
    pub identity: Identity,
    /// Conversations.
    pub messaging: Messaging,
    /// Asked only whether it answers.
    pub store: Store,
    /// Gives each request its time.
    pub clock: Clock,
    /// Who is connected.
    pub presence: Presence,
    /// How often requests may come.
    pub limits: rates::RequestLimits,
}

/// Every route of the interface.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints() {
        let rule = authorise::Rule {
            app: app.clone(),
            action: endpoint.action,
            target: endpoint.target,
            prepare: endpoint.prepare,
        };
        let decided = endpoint
            .handler
            .route_layer(middleware::from_fn_with_state(rule, authorise::authorise));
        router = router.route(endpoint.path, decided);
    }
    router
        .fallback(failure::no_such_path)
        .method_not_allowed_fallback(failure::no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(Extension(Document(openapi::text().into())))
        .layer(middleware::from_fn_with_state(
            app.clock.clone(),
            observe::observe,
        ))
        .with_state(app)
}

impl FromRef<App> for Identity {
    fn from_ref(app: &App) -> Self {
        app.identity.clone()
    }
}

impl FromRef<App> for Messaging {
    fn from_ref(app: &App) -> Self {
        app.messaging.clone()
    }
}

impl FromRef<App> for Presence {
    fn from_ref(app: &App) -> Self {
        app.presence.clone()
    }
}

impl FromRef<App> for Store {
    fn from_ref(app: &App) -> Self {
        app.store.clone()
    }
}
