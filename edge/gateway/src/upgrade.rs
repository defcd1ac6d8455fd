//! The WebSocket handshake (RFC 6455 section 4.2): who may connect, decided before the upgrade.
//!
//! The client offers two subprotocols, `unhidra.v1` and `bearer.<token>`; the server selects the first and never repeats
//! the second. A URL with a query is refused, so that no token ever stands in one.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use unhidra_identity::{Identity, caller::AuthenticateError};
use unhidra_messaging::{Messaging, access::Sender};
use unhidra_policy::{Action, Decision, Principal, Resource, decide};
use unhidra_runtime::{Clock, Context, Stage, Tasks, Weight};
use unhidra_store::StoreError;
use unhidra_wire::{
    close::Close,
    frame::{BEARER_PREFIX, PrekeyStock, SUBPROTOCOL, Welcome},
    rest::{Problem, ProblemCode},
};

use crate::{connection::Connection, inbox::inbox, registry::Registry, socket::Socket};

/// What RFC 6455 section 1.3 has both sides append to the key.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Seconds after which a refused client may try again.
const RETRY_AFTER: u64 = 5;

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
}

/// The routes of the gateway.
pub fn routes(gateway: Gateway) -> Router {
    Router::new().route("/v1/ws", get(connect)).with_state(gateway)
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
}

const MALFORMED: Denied = Denied {
    status: StatusCode::BAD_REQUEST,
    code: ProblemCode::Malformed,
    title: "a WebSocket handshake without a query was expected",
};
const UNSUPPORTED: Denied = Denied {
    status: StatusCode::UPGRADE_REQUIRED,
    code: ProblemCode::UnsupportedVersion,
    title: "offer the subprotocol unhidra.v1",
};
const UNAUTHENTICATED: Denied = Denied {
    status: StatusCode::UNAUTHORIZED,
    code: ProblemCode::Unauthenticated,
    title: "valid credentials are needed",
};
const UNAVAILABLE: Denied = Denied {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: ProblemCode::Unavailable,
    title: "the server can't take another connection now",
};
const TOO_MANY: Denied = Denied {
    status: StatusCode::TOO_MANY_REQUESTS,
    code: ProblemCode::TooMany,
    title: "this device has as many connections as it may have",
};

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
    let offer = Offer::read(request.headers())?;
    let principal = gateway
        .identity
        .authenticate(offer.token, context)
        .await
        .map_err(|error| match error {
            AuthenticateError::Store(error) => failed(&error, context),
            AuthenticateError::Token(_) | AuthenticateError::Over | AuthenticateError::Revoked => {
                UNAUTHENTICATED
            }
        })?;
    let sender = may_connect(&principal).ok_or(UNAUTHENTICATED)?;
    let items = inbox(sender.user, sender.device, sender.session);
    gateway
        .registry
        .admit(&items.inbox)
        .map_err(|error| match error {
            crate::registry::AdmissionError::Full => UNAVAILABLE,
            crate::registry::AdmissionError::TooManyOfDevice => TOO_MANY,
        })?;
    let Gateway {
        messaging,
        registry,
        clock,
        tasks,
        identity,
    } = gateway.clone();
    let (token, context) = (offer.token.to_owned(), *context);
    tasks.spawn(
        Stage::Connection,
        "connection",
        Weight::Ordinary,
        async move |stop| {
            let upgraded = match upgrade.await {
                Ok(upgraded) => upgraded,
                Err(error) => {
                    registry.leave(&items.inbox, std::iter::empty());
                    return Err(error);
                }
            };
            let connection = Connection {
                sender,
                socket: Socket::new(upgraded),
                items,
                registry,
                messaging,
                clock,
            };
            let greeting = greet(&identity, &connection.messaging, sender, &token, &context).await;
            drop(token);
            match greeting {
                Ok(welcome) => connection.serve(welcome, stop).await,
                Err(close) => connection.refuse(close).await,
            }
            Ok(())
        },
    );
    Ok(switching(offer.accept))
}

fn may_connect(principal: &Principal) -> Option<Sender> {
    match decide(principal, Action::Connect, &Resource::Server) {
        Decision::Allow => Sender::of(principal),
        Decision::Deny(_) => None,
    }
}

/// What a connection in the registry is told first, or why it ends. The registry hears of every change from now on, so
/// what is read here is read only now; and the session may have ended since it was checked.
async fn greet(
    identity: &Identity,
    messaging: &Messaging,
    sender: Sender,
    token: &str,
    context: &Context,
) -> Result<Welcome, Close> {
    let unavailable = |error: &StoreError| {
        failed(error, context);
        Close::Unavailable
    };
    match identity.authenticate(token, context).await {
        Ok(_) => {}
        Err(AuthenticateError::Store(error)) => return Err(unavailable(&error)),
        Err(AuthenticateError::Token(_) | AuthenticateError::Over) => return Err(Close::SessionEnded),
        Err(AuthenticateError::Revoked) => return Err(Close::DeviceRevoked),
    }
    welcome(identity, messaging, sender, context)
        .await
        .map_err(|error| unavailable(&error))
}

async fn welcome(
    identity: &Identity,
    messaging: &Messaging,
    sender: Sender,
    context: &Context,
) -> Result<Welcome, StoreError> {
    let (last_accepted, own_list) = messaging.standing(sender).await?;
    let stock = identity.prekey_stock(sender.device, context.now).await?;
    Ok(Welcome {
        device: sender.device,
        session: sender.session,
        server_time: context.now,
        last_accepted,
        own_list,
        stock: PrekeyStock {
            generation: stock.generation,
            one_time: u32::try_from(stock.one_time.len()).unwrap_or(u32::MAX),
            one_time_kem: u32::try_from(stock.one_time_kem.len()).unwrap_or(u32::MAX),
        },
    })
}

fn failed(error: &StoreError, context: &Context) -> Denied {
    tracing::error!(error = %error, request.id = %context.request_id, "connection could not be admitted");
    UNAVAILABLE
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
        if matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        response
    }
}
