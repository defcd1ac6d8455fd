//! The REST interface of the server, route by route (`docs/api.md`).
//!
//! It sends and parses; who calls what when is the business of [`crate::client`].

mod admin;
mod audit;
mod connections;
mod error;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, header::RETRY_AFTER};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;
use unhidra_types::{ConversationId, DeviceId, SessionId, UserId, Username};
use unhidra_wire::audit::{AuditKey, ConsistencyProof, InclusionProof, TreeHead, TreeHeads};
use unhidra_wire::rest::{
    AppendEntry, AppendedEntry, BeginSession, Bundles, ChainHead, ChainRecords, Conversation, Conversations,
    Devices, Enrolment, Entries, ExtendChain, Hidden, Invitation, Invite, LinkMessage, LinkMessages, LogIn,
    Me, OpenAccount, OpenConversation, OpeningFailures, Problem, ProblemCode, Recovery, Refresh,
    ReplaceIdentity, ReplaceRecovery, Stock, TakeBundles, Tokens, UploadPrekeys, User,
};

pub use self::error::{Refusal, RestError};
use crate::{route::Route, server_url::ServerUrl};

/// How long a TCP connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request may take in all.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How often, and how long at most, a request that comes too soon is put off.
const MAX_WAITS: u32 = 4;
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Bytes of the largest answer that is read: a page of 256 groups of 1,000 members has 10 MB.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// A client of one server's REST interface. Clones share their connections.
#[derive(Clone)]
pub struct Rest {
    http: reqwest::Client,
    route: Route,
}

/// Which side of the linking channel a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkDirection {
    /// For the device that wants to be certified.
    ToNewDevice,
    /// For the device that certifies.
    ToCertifier,
}

impl LinkDirection {
    const fn path(self) -> &'static str {
        match self {
            Self::ToNewDevice => "to-new-device",
            Self::ToCertifier => "to-certifier",
        }
    }
}

impl Rest {
    /// A client that connects when it is first used.
    ///
    /// # Errors
    /// [`RestError::Unreachable`] when the system's network can't be used at all.
    pub fn new(route: Route) -> Result<Self, RestError> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(route.tls())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("unhidra/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, route })
    }

    /// The server.
    #[must_use]
    pub const fn server(&self) -> &ServerUrl {
        self.route.server()
    }

    /// The way to it.
    pub(crate) const fn route(&self) -> &Route {
        &self.route
    }

    /// Reaches the server, whatever it says: whether there is one, and whether somebody vouches for it.
    ///
    /// # Errors
    /// [`RestError::Untrusted`] and [`RestError::Unreachable`].
    pub async fn reach(&self) -> Result<(), RestError> {
        self.request(Method::GET, "/healthz").send().await?;
        Ok(())
    }

    /// Tells what this device could not open.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn report_failures(
        &self,
        token: &Hidden,
        device: DeviceId,
        report: &OpeningFailures,
    ) -> Result<(), RestError> {
        let path = format!("/v1/devices/{device}/failures");
        let request = self.request(Method::PUT, &path).bearer_auth(token.expose());
        accepted(request.json(report)).await.map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, token: &Hidden) -> Result<T, RestError> {
        answer(self.request(Method::GET, path).bearer_auth(token.expose())).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        token: &Hidden,
        body: &impl Serialize,
    ) -> Result<T, RestError> {
        let request = self.request(method, path).bearer_auth(token.expose());
        answer(request.json(body)).await
    }

    async fn open<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, RestError> {
        answer(self.request(Method::POST, path).json(body)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.server().route(path))
    }
}

/// Declares one method for each route: who may call it stands in the API documentation.
macro_rules! routes {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*)
        = $method:ident $path:literal $(, $body:ident: $body_type:ty)? => $answer:ty;)*) => {
        impl Rest {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// See [`RestError`].
            pub async fn $name(
                &self,
                token: &Hidden
                $(, $arg: $type)*
                $(, $body: &$body_type)?
            ) -> Result<$answer, RestError> {
                routes!(@call self, $method, &format!($path), token $(, $body)?)
            }
        )*}
    };
    (@call $self:ident, GET, $path:expr, $token:ident) => { $self.get($path, $token).await };
    (@call $self:ident, $method:ident, $path:expr, $token:ident, $body:ident) => {
        $self.send(Method::$method, $path, $token, $body).await
    };
}

routes! {
    /// Proves the device's key; `token` is the enrolment token.
    begin_session(device: DeviceId) = POST "/v1/devices/{device}/sessions", body: BeginSession => Tokens;
    /// Who this session is.
    me() = GET "/v1/me" => Me;
    /// Finds a user by name.
    user_by_name(name: &Username) = GET "/v1/users/by-name/{name}" => User;
    /// Names a user.
    user(user: UserId) = GET "/v1/users/{user}" => User;
    /// Signed records of a user's chain from number `from` on, at most 256.
    chain(user: UserId, from: u32) = GET "/v1/users/{user}/chain?from={from}" => ChainRecords;
    /// Appends to the caller's own chain.
    extend_chain() = POST "/v1/users/me/chain", body: ExtendChain => ChainHead;
    /// The caller's wrapped identity key.
    recovery() = GET "/v1/users/me/recovery" => Recovery;
    /// Puts an identity in the place of the caller's, which has signed it.
    rotate_identity() = POST "/v1/users/me/identity/rotation", body: ReplaceIdentity => ChainHead;
    /// Puts an identity in the place of the caller's, for which nothing vouches.
    reset_identity() = POST "/v1/users/me/identity/reset", body: ReplaceIdentity => ChainHead;
    /// The caller's devices.
    devices() = GET "/v1/devices" => Devices;
    /// Adds prekeys or replaces the set.
    upload_prekeys(device: DeviceId) = PUT "/v1/devices/{device}/prekeys", body: UploadPrekeys => Stock;
    /// What the server holds of the caller's prekeys.
    stock(device: DeviceId) = GET "/v1/devices/{device}/prekeys" => Stock;
    /// Takes one bundle of each named device.
    take_bundles(user: UserId) = POST "/v1/users/{user}/bundles", body: TakeBundles => Bundles;
    /// Opens a conversation, or names the one that exists.
    open_conversation() = POST "/v1/conversations", body: OpenConversation => Conversation;
    /// Appends to a group's log.
    append_entry(conversation: ConversationId)
        = POST "/v1/conversations/{conversation}/entries", body: AppendEntry => AppendedEntry;
    /// A page of a log, after entry `after`.
    entries(conversation: ConversationId, after: u64, limit: u32)
        = GET "/v1/conversations/{conversation}/entries?after={after}&limit={limit}" => Entries;
    /// What heads of the audit tree are verified with.
    audit_key() = GET "/v1/audit/key" => AuditKey;
    /// The head of the audit tree.
    audit_head() = GET "/v1/audit/head" => TreeHead;
    /// Signed heads after number `after`.
    audit_heads(after: u64) = GET "/v1/audit/heads?after={after}" => TreeHeads;
    /// How the tree of `to` records grew out of the one of `from`.
    audit_consistency(from: u64, to: u64)
        = GET "/v1/audit/consistency?from={from}&to={to}" => ConsistencyProof;
    /// The proof of a record in the newest tree.
    audit_proof(number: u64) = GET "/v1/audit/records/{number}/proof" => InclusionProof;
    /// Makes an invitation.
    invite() = POST "/v1/admin/invitations", body: Invite => Invitation;
}

impl Rest {
    /// Opens an account with an invitation or the set-up token.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn open_account(&self, body: &OpenAccount) -> Result<Enrolment, RestError> {
        self.open("/v1/accounts", body).await
    }

    /// Proves a password.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn log_in(&self, body: &LogIn) -> Result<Enrolment, RestError> {
        self.open("/v1/sessions", body).await
    }

    /// Gets the next pair of tokens. The last used refresh token gives the same successor until that one is used,
    /// so an answer that was lost can be asked for again.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn refresh(&self, body: &Refresh) -> Result<Tokens, RestError> {
        self.open("/v1/sessions/refresh", body).await
    }

    /// One page of the caller's conversations, after conversation `after`.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn conversations(
        &self,
        token: &Hidden,
        after: Option<ConversationId>,
    ) -> Result<Conversations, RestError> {
        let page = after.map_or_else(String::new, |after| format!("?after={after}"));
        self.get(&format!("/v1/conversations{page}"), token).await
    }

    /// Ends a session of the caller's user.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn end_session(&self, token: &Hidden, session: SessionId) -> Result<(), RestError> {
        let request = self.request(Method::DELETE, &format!("/v1/sessions/{session}"));
        accepted(request.bearer_auth(token.expose())).await.map(drop)
    }

    /// Replaces the caller's wrapped identity key.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn replace_recovery(&self, token: &Hidden, body: &ReplaceRecovery) -> Result<(), RestError> {
        let request = self.request(Method::PUT, "/v1/users/me/recovery");
        accepted(request.bearer_auth(token.expose()).json(body))
            .await
            .map(drop)
    }

    /// Relays one message of the linking channel of `device`, the new one.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn send_link_message(
        &self,
        token: &Hidden,
        device: DeviceId,
        direction: LinkDirection,
        body: &LinkMessage,
    ) -> Result<(), RestError> {
        let path = format!("/v1/links/{device}/{}", direction.path());
        let request = self
            .request(Method::POST, &path)
            .bearer_auth(token.expose())
            .json(body);
        accepted(request).await.map(drop)
    }

    /// The messages of a linking channel after the first `after`.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn link_messages(
        &self,
        token: &Hidden,
        device: DeviceId,
        direction: LinkDirection,
        after: usize,
    ) -> Result<LinkMessages, RestError> {
        let path = format!("/v1/links/{device}/{}?after={after}", direction.path());
        self.get(&path, token).await
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, RestError> {
    let response = accepted(request).await?;
    let status = response.status().as_u16();
    let body = body(response).await?;
    serde_json::from_slice(&body).map_err(|error| match error.classify() {
        Category::Data => RestError::Unreadable(error),
        Category::Io | Category::Syntax | Category::Eof => RestError::NotOurServer(status),
    })
}

/// The whole body, as long as it is no longer than an answer can be: the server decides when it ends.
async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, RestError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(RestError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The answer of a request that the server does. One that comes too soon waits for as long as the server says, if that
/// is not long.
async fn accepted(mut request: RequestBuilder) -> Result<reqwest::Response, RestError> {
    for _ in 0..MAX_WAITS {
        let again = request.try_clone();
        let refusal = match asked(request).await {
            Err(RestError::Refused(refusal)) if refusal.code == ProblemCode::RateLimited => refusal,
            answer => return answer,
        };
        match (again, refusal.retry_after) {
            (Some(again), Some(wait)) if wait <= LONGEST_WAIT => {
                tokio::time::sleep(wait).await;
                request = again;
            }
            _ => return Err(RestError::Refused(refusal)),
        }
    }
    asked(request).await
}

async fn asked(request: RequestBuilder) -> Result<reqwest::Response, RestError> {
    let response = request.send().await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    match serde_json::from_slice::<Problem>(&body(response).await?) {
        Ok(problem) => Err(Refusal::new(problem, retry_after).into()),
        Err(_not_a_problem) => Err(RestError::NotOurServer(status.as_u16())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        authority::Trust,
        client::{ClientError, Mismatch, Remedy},
    };

    fn plain(url: &str) -> Route {
        Route::new(url.parse().unwrap(), &Trust::System, |_| {}).unwrap()
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_not_read_on() {
        for status in ["200 OK", "400 Bad Request"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let rest = Rest::new(plain(&url)).unwrap();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                // Three times the bound, and then it waits.
                for _ in 0..48 {
                    if stream.write_all(&[b' '; 1024 * 1024]).await.is_err() {
                        return;
                    }
                }
                std::future::pending::<()>().await;
            };
            let token = Hidden::new("token".into());
            let (answer, ()) = tokio::join!(rest.me(&token), serve);
            assert!(matches!(answer, Err(RestError::TooLong)), "{answer:?}");
        }
    }

    /// The error of a request that is answered with `status` and `body`.
    async fn answered_with(status: &str, body: &str) -> ClientError {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let rest = Rest::new(plain(&url)).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let token = Hidden::new("token".into());
        let (answer, ()) = tokio::join!(rest.me(&token), serve);
        answer.unwrap_err().into()
    }

    #[tokio::test]
    async fn another_version_is_told_from_a_server_that_is_none_of_ours_and_from_one_that_starts() {
        let problem = |code: &str| {
            let kind = format!("urn:unhidra:problem:{code}");
            format!(r#"{{"type":"{kind}","title":"no","status":400,"code":"{code}","request_id":"req_1"}}"#)
        };
        let page = "<html>It works!</html>";
        for (status, body, expected) in [
            (
                "400 Bad Request",
                &*problem("unsupported-version"),
                Some(Mismatch::OtherVersion),
            ),
            ("200 OK", r#"{"user":"alice"}"#, Some(Mismatch::OtherVersion)),
            ("200 OK", page, Some(Mismatch::NotOurServer)),
            ("200 OK", "", Some(Mismatch::NotOurServer)),
            ("404 Not Found", page, Some(Mismatch::NotOurServer)),
            (
                "404 Not Found",
                r#"{"error":"no such page"}"#,
                Some(Mismatch::NotOurServer),
            ),
            ("400 Bad Request", &*problem("not-found"), None),
            ("502 Bad Gateway", page, None),
        ] {
            let error = answered_with(status, body).await;
            assert_eq!(error.mismatch(), expected, "{status} {body}: {error}");
            let is_transient = error.remedy() == Remedy::TryLater;
            assert_eq!(is_transient, status.starts_with('5'), "{status} {body}: {error}");
        }
    }
}
