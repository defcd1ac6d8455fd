//! The WebSocket handshake (RFC 6455 section 4.2): who may connect, decided before the upgrade.
//!
//! The client offers two subprotocols, `unhidra.v1` and `bearer.<token>`; the server selects the first and never repeats
//! the second. A URL with a query is refused, so that no token ever stands in one.

use std::{convert::Infallible, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;
use unhidra_bus::presence::Connected;
use unhidra_identity::{Identity, caller::AuthenticateError};
use unhidra_messaging::{Messaging, access::Sender};
use unhidra_policy::{Action, Decision, Principal, Resource, decide};
use unhidra_runtime::{
    ClientAddress, Clock, Context, Limiter, Rate, Stage, Subscriber, Tasks, Weight, rate::Exceeded,
};
use unhidra_store::{Snapshot, StoreError};
use unhidra_types::{ConnectionId, UserId, text::is_plain};
use unhidra_wire::{
    close::Close,
    frame::{BEARER_PREFIX, SUBPROTOCOL},
    rest::{Problem, ProblemCode},
};

use crate::{
    inbox::Inbox,
    opening::{Arrived, Opening},
    registry::Registry,
};

/// What RFC 6455 section 1.3 has both sides append to the key.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// After which a client that was refused for want of room may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Characters that are kept of what a client says it is.
const MAX_AGENT_CHARS: usize = 128;
/// Networks and users whose connections are counted, each at least so many.
const REMEMBERED: usize = 16_384;

/// What the gateway is made of.
#[derive(Clone)]
pub struct Gateway {
    /// Says who a token stands for.
    pub identity: Identity,
    /// Holds the logs.
    pub messaging: Messaging,
    /// Knows who is connected.
    pub registry: Registry,
    /// Gives each request its time.
    pub clock: Clock,
    /// Owns the connections' tasks.
    pub tasks: Tasks,
    /// How fast connections and frames may come.
    pub limits: Limits,
    /// For how long a session of two devices may send, told to every device; `None` sets no limit.
    pub session_age: Option<Duration>,
}

/// How fast connections and frames may come. Clones count together.
#[derive(Clone)]
pub struct Limits(Arc<Counts>);

/// The rates behind [`Limits`].
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Handshakes of one network, whoever it is.
    pub connections_per_network: Rate,
    /// Connections of one user.
    pub connections_per_user: Rate,
    /// Appends of one connection.
    pub messages: Rate,
}

struct Counts {
    networks: Limiter<Subscriber>,
    users: Limiter<UserId>,
    messages: Rate,
    began: Instant,
}

impl Limits {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(rates: &Rates) -> Self {
        Self(Arc::new(Counts {
            networks: Limiter::new(rates.connections_per_network, REMEMBERED),
            users: Limiter::new(rates.connections_per_user, REMEMBERED),
            messages: rates.messages,
            began: Instant::now(),
        }))
    }

    /// Appends of one connection.
    pub(crate) fn messages(&self) -> Rate {
        self.0.messages
    }

    fn network(&self, client: ClientAddress) -> Result<(), Denied> {
        let taken = self.0.networks.take(client.ip().into(), self.0.began.elapsed());
        taken.map(drop).map_err(too_fast)
    }

    fn user(&self, user: UserId) -> Result<(), Denied> {
        let taken = self.0.users.take(user, self.0.began.elapsed());
        taken.map(drop).map_err(too_fast)
    }
}

impl Default for Rates {
    /// 60 a minute of a network and 30 of a user, with bursts for the restart of a server; 50 messages a second.
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            connections_per_network: Rate::new(60, minute, 600),
            connections_per_user: Rate::new(30, minute, 120),
            messages: Rate::new(50, Duration::from_secs(1), 1_000),
        }
    }
}

/// The routes of the gateway. When connections are to stop, each hears it like any other end, by its inbox: a token that
/// thousands of tasks look at is a lock that they share.
pub fn routes(gateway: Gateway) -> Router {
    let registry = gateway.registry.clone();
    gateway.tasks.spawn(
        Stage::Connection,
        "farewell",
        Weight::Ordinary,
        async move |stop| {
            stop.requested().await;
            registry.end_all(Close::GoingAway);
            Ok::<_, Infallible>(())
        },
    );
    let connect = on(MethodFilter::GET, connect)
        // Axum would take a HEAD for a GET.
        .head(no_such_method)
        .fallback(no_such_method);
    Router::new().route("/v1/ws", connect).with_state(gateway)
}

/// What a valid handshake offers.
struct Offer<'a> {
    token: &'a str,
    accept: HeaderValue,
}

/// Why there is no connection.
#[derive(Clone, Copy)]
struct Denied {
    status: StatusCode,
    code: ProblemCode,
    title: &'static str,
    retry_after: Option<Duration>,
}

const NO_SUCH_METHOD: Denied = Denied {
    status: StatusCode::METHOD_NOT_ALLOWED,
    code: ProblemCode::MethodNotAllowed,
    title: "a WebSocket handshake is a GET",
    retry_after: None,
};
const MALFORMED: Denied = Denied {
    status: StatusCode::BAD_REQUEST,
    code: ProblemCode::Malformed,
    title: "a WebSocket handshake without a query was expected",
    retry_after: None,
};
const UNSUPPORTED: Denied = Denied {
    status: StatusCode::UPGRADE_REQUIRED,
    code: ProblemCode::UnsupportedVersion,
    title: "offer the subprotocol unhidra.v1",
    retry_after: None,
};
const UNAUTHENTICATED: Denied = Denied {
    status: StatusCode::UNAUTHORIZED,
    code: ProblemCode::Unauthenticated,
    title: "valid credentials are needed",
    retry_after: None,
};
const UNAVAILABLE: Denied = Denied {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: ProblemCode::Unavailable,
    title: "the server can't take another connection now",
    retry_after: Some(RETRY_AFTER),
};
const TOO_MANY: Denied = Denied {
    status: StatusCode::TOO_MANY_REQUESTS,
    code: ProblemCode::TooMany,
    title: "this device has as many connections as it may have",
    retry_after: Some(RETRY_AFTER),
};

const fn too_fast(exceeded: Exceeded) -> Denied {
    Denied {
        status: StatusCode::TOO_MANY_REQUESTS,
        code: ProblemCode::RateLimited,
        title: "too many connections in a short time",
        retry_after: Some(exceeded.retry_after),
    }
}

async fn no_such_method(State(gateway): State<Gateway>) -> Response {
    let mut response = NO_SUCH_METHOD.respond(&gateway.clock.context());
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

async fn connect(State(gateway): State<Gateway>, mut request: Request) -> Response {
    let context = gateway.clock.context();
    match admit(&gateway, &mut request, &context).await {
        Ok(response) => response,
        Err(denied) => denied.respond(&context),
    }
}

async fn admit(gateway: &Gateway, request: &mut Request, context: &Context) -> Result<Response, Denied> {
    let upgrade = hyper::upgrade::on(&mut *request);
    if request.uri().query().is_some() {
        return Err(MALFORMED);
    }
    let client = request.extensions().get::<ClientAddress>().copied();
    if let Some(client) = client {
        gateway.limits.network(client)?;
    }
    let agent = agent(request.headers());
    let offer = Offer::read(request.headers())?;
    // With all that it is told first, for as long as that holds.
    let before = gateway.messaging.commits();
    let (cursors, now) = (gateway.messaging.cursors(), context.now);
    let look = move |db: &Snapshot<'_>, principal: &Principal| {
        let sender = Sender::of(principal);
        sender
            .map(|sender| Arrived::read(db, &cursors, sender, now))
            .transpose()
    };
    let (principal, arrived) = gateway
        .identity
        .authenticate_and(offer.token, context, look)
        .await
        .map_err(|error| match error {
            AuthenticateError::Store(error) => failed(&error, context),
            AuthenticateError::Token(_) | AuthenticateError::Over | AuthenticateError::Revoked => {
                UNAUTHENTICATED
            }
        })?;
    let sender = may_connect(&principal).ok_or(UNAUTHENTICATED)?;
    let arrived = arrived.ok_or(UNAUTHENTICATED)?;
    gateway.limits.user(sender.user)?;
    let inbox = Inbox::new(Arc::new(Connected {
        id: ConnectionId::new(context.now, context.random()),
        user: sender.user,
        org: sender.org,
        device: sender.device,
        session: sender.session,
        address: client.map(ClientAddress::ip),
        agent,
        since: context.now,
        activity: Default::default(),
    }));
    gateway
        .registry
        .admit_or_replace(&inbox)
        .await
        .map_err(|error| match error {
            crate::registry::AdmissionError::Full => UNAVAILABLE,
            crate::registry::AdmissionError::TooManyOfDevice => TOO_MANY,
        })?;
    let opening = Opening {
        gateway: gateway.clone(),
        upgrade,
        sender,
        inbox,
        before,
        arrived,
        context: *context,
    };
    // Boxed, and gone with all that it needs before the connection is served: a task is as large as its largest moment.
    let opening = Box::pin(opening.open());
    gateway.tasks.spawn(
        Stage::Connection,
        "connection",
        Weight::Ordinary,
        // Connections hear of the end by their inbox: see `routes`.
        async move |_stop| {
            if let Some(session) = opening.await? {
                session.serve().await;
            }
            Ok::<_, hyper::Error>(())
        },
    );
    Ok(switching(offer.accept))
}

/// What the client says it is, as much of it as can be shown.
fn agent(headers: &HeaderMap) -> Option<String> {
    let agent = headers.get(header::USER_AGENT)?.to_str().ok()?;
    let shown: String = agent
        .chars()
        .filter(|c| is_plain(*c))
        .take(MAX_AGENT_CHARS)
        .collect();
    (!shown.is_empty()).then_some(shown)
}

fn may_connect(principal: &Principal) -> Option<Sender> {
    match decide(principal, Action::Connect, &Resource::Server) {
        Decision::Allow => Sender::of(principal),
        Decision::Deny(_) => None,
    }
}

fn failed(error: &StoreError, context: &Context) -> Denied {
    note_failure(error, context);
    UNAVAILABLE
}

pub(crate) fn note_failure(error: &StoreError, context: &Context) {
    if error.is_transient() {
        tracing::warn!(error = %error, request.id = %context.request_id, "connection could not be admitted");
    } else {
        tracing::error!(error = %error, request.id = %context.request_id, "connection could not be admitted");
    }
}

impl<'a> Offer<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, Denied> {
        let names = |name: HeaderName, token: &str| {
            let values = headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok());
            values
                .flat_map(|value| value.split(','))
                .any(|part| part.trim().eq_ignore_ascii_case(token))
        };
        let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(MALFORMED)?;
        if !names(header::CONNECTION, "upgrade")
            || !names(header::UPGRADE, "websocket")
            || !names(header::SEC_WEBSOCKET_VERSION, "13")
            || BASE64_STANDARD
                .decode(key.as_bytes())
                .map_or(true, |nonce| nonce.len() != 16)
        {
            return Err(MALFORMED);
        }
        if !names(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
            return Err(UNSUPPORTED);
        }
        let offered = headers
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let token = offered
            .flat_map(|value| value.split(','))
            .find_map(|part| part.trim().strip_prefix(BEARER_PREFIX))
            .ok_or(UNAUTHENTICATED)?;
        let accept = BASE64_STANDARD.encode(digest(
            &SHA1_FOR_LEGACY_USE_ONLY,
            &[key.as_bytes(), ACCEPT_SUFFIX].concat(),
        ));
        Ok(Self {
            token,
            accept: HeaderValue::try_from(accept).map_err(|_| MALFORMED)?,
        })
    }
}

fn switching(accept: HeaderValue) -> Response {
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
        (
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(SUBPROTOCOL),
        ),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

impl Denied {
    fn respond(self, context: &Context) -> Response {
        let problem = Problem::new(
            self.status.as_u16(),
            self.code,
            self.title,
            context.request_id.to_string(),
        );
        let mut response = (self.status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(Problem::CONTENT_TYPE),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(pause) = self.retry_after {
            // Rounded up: a client that comes a moment early would be refused again.
            let seconds = pause.as_millis().div_ceil(1_000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
