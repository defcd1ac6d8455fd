//! A server in a temporary folder, and what a client does to talk to it.

use std::time::Duration;

use axum::{Router, body::Body};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;
use unhidra_bus::Presence;
use unhidra_identity::{Exposure, Foundation, Identity, IdentityConfig, Setup, config::PasswordHashing};
use unhidra_keys::{Keys, KeysConfig};
use unhidra_messaging::Messaging;
use unhidra_runtime::{ByteSize, Clock, context::ManualClock};
use unhidra_store::{CommitFeed, Event, Store, audit::AuditRecord};
use unhidra_types::{Role, Timestamp};
use unhidra_wire::rest::{Enrolment, Invitation, ProblemCode};

use super::device::Person;
use crate::{
    App,
    rates::{RequestLimits, RequestRates},
    router,
};

pub(super) const ORIGIN: &str = "http://127.0.0.1:9000";
pub(super) const PASSWORD: &str = "correct horse battery";
pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) struct World {
    folder: TempDir,
    pub(super) clock: Clock,
    pub(super) hand: ManualClock,
    pub(super) identity: Identity,
    pub(super) store: Store,
    commits: CommitFeed,
    router: Router,
    pub(super) setup: Setup,
}

/// An answer as it came.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Value,
}

impl World {
    pub(super) async fn start() -> Self {
        let (clock, hand) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        Self::open(tempfile::tempdir().unwrap(), clock, hand).await
    }

    /// Stops and starts the server; the clients notice nothing but new connections.
    pub(super) async fn restart(self) -> Self {
        self.store.close().await;
        Self::open(self.folder, self.clock, self.hand).await
    }

    /// A copy of the database as it is, for [`World::restore`].
    pub(super) fn back_up(&self) -> Timestamp {
        let path = |name| self.folder.path().join(name);
        unhidra_store::backup::copy(&path("unhidra.db"), &path("copy.db")).unwrap();
        self.now()
    }

    /// The server on the copy that was made at `backup_at`.
    pub(super) async fn restore(self, backup_at: Timestamp) -> Self {
        self.store.close().await;
        let Self {
            folder,
            clock,
            hand,
            identity,
            store,
            commits,
            router,
            ..
        } = self;
        // The last one to close the database removes its log, which must not be taken for that of the copy.
        drop((identity, store, commits, router));
        assert!(!folder.path().join("unhidra.db-wal").exists());
        std::fs::rename(folder.path().join("copy.db"), folder.path().join("unhidra.db")).unwrap();
        let world = Self::open(folder, clock, hand).await;
        let restoration = unhidra_store::backup::Restoration {
            backup_at,
            restored_at: world.now(),
        };
        let resuming = world.store.write(move |tx| tx.resume_from_backup(restoration));
        resuming.await.unwrap();
        world
    }

    async fn open(folder: TempDir, clock: Clock, hand: ManualClock) -> Self {
        let context = clock.context();
        let (store, commits) = Store::open(&folder.path().join("unhidra.db"), 2).unwrap();
        let keys = Keys::open(&keys_config(), folder.path(), ORIGIN, &context).unwrap();
        let config = identity_config();
        let foundation = Foundation {
            store: store.clone(),
            keys,
            config,
            exposure: Exposure::Loopback,
            origins: vec![ORIGIN.into()],
            tries: Default::default(),
        };
        let (identity, setup) = Identity::open(foundation, folder.path(), &context).await.unwrap();
        let messaging = Messaging::new(store.clone());
        let app = App {
            identity: identity.clone(),
            messaging,
            store: store.clone(),
            clock: clock.clone(),
            presence: Presence::default(),
            limits: RequestLimits::new(&RequestRates::default()),
        };
        Self {
            folder,
            clock,
            hand,
            identity,
            store,
            commits,
            router: router(app),
            setup,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.context().now
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = match body {
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(serde_json::to_vec(&body).unwrap())),
            None => request.body(Body::empty()),
        };
        self.send(request.unwrap()).await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        super::openapi::assert_documented(&method, &path, status);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        Answer {
            status,
            headers,
            body,
        }
    }

    pub(super) async fn get(&self, path: &str, token: &str) -> Answer {
        self.call(Method::GET, path, Some(token), None).await
    }

    pub(super) async fn post(&self, path: &str, token: Option<&str>, body: impl Serialize) -> Answer {
        self.call(
            Method::POST,
            path,
            token,
            Some(serde_json::to_value(body).unwrap()),
        )
        .await
    }

    pub(super) async fn log_in(&self, username: &str, password: &str) -> Answer {
        self.post(
            "/v1/sessions",
            None,
            json!({"username": username, "password": password}),
        )
        .await
    }

    /// The first account, which the set-up token opens.
    pub(super) async fn administrator(&self) -> Person {
        let token = std::fs::read_to_string(self.folder().join("setup-token")).unwrap();
        self.open_account(token.trim(), "root").await
    }

    /// An account that `by` invites.
    pub(super) async fn member(&self, by: &Person, username: &str) -> Person {
        let body = json!({"role": Role::Member, "expires_in": 3_600});
        let invitation: Invitation = self
            .post("/v1/admin/invitations", Some(by.access()), body)
            .await
            .created();
        self.open_account(invitation.token.expose(), username).await
    }

    /// An account with its first device in a session.
    pub(super) async fn open_account(&self, invitation: &str, username: &str) -> Person {
        let body = json!({"invitation": invitation, "username": username, "password": PASSWORD});
        let enrolment: Enrolment = self.post("/v1/accounts", None, body).await.created();
        let mut person = Person::new(username, &enrolment, self);
        person.begin_chain(self).await;
        person.begin_session(self, 0).await;
        person
    }

    /// The administrator and a member, each with one device in a session.
    pub(super) async fn with_two() -> (Self, Person, Person) {
        let world = Self::start().await;
        let root = world.administrator().await;
        let alice = world.member(&root, "alice").await;
        (world, root, alice)
    }

    /// Everything the commits so far told the rest of the server.
    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.commits.try_recv().ok())
            .flatten()
            .collect()
    }

    pub(super) async fn audit(&self) -> Vec<AuditRecord> {
        self.store
            .read(|snapshot| snapshot.audit_records(0, 10_000))
            .await
            .unwrap()
    }

    /// How many records of `act` there are.
    pub(super) async fn audited(&self, act: unhidra_audit::Act) -> usize {
        self.audit()
            .await
            .iter()
            .filter(|record| record.act == act.number())
            .count()
    }
}

impl Answer {
    pub(super) fn ok<T: DeserializeOwned>(self) -> T {
        self.with_status(StatusCode::OK)
    }

    pub(super) fn created<T: DeserializeOwned>(self) -> T {
        self.with_status(StatusCode::CREATED)
    }

    fn with_status<T: DeserializeOwned>(self, status: StatusCode) -> T {
        assert_eq!(self.status, status, "{}", self.body);
        serde_json::from_value(self.body).unwrap()
    }

    /// The code of a problem, after checking its shape.
    pub(super) fn problem(&self) -> ProblemCode {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{}",
            self.body
        );
        assert_eq!(self.body["status"], self.status.as_u16());
        let code = self.body["code"].as_str().unwrap();
        assert_eq!(self.body["type"], format!("urn:unhidra:problem:{code}"));
        assert_eq!(
            self.body["request_id"].as_str().unwrap(),
            self.headers["x-request-id"].to_str().unwrap()
        );
        serde_json::from_value(self.body["code"].clone()).unwrap()
    }
}

fn keys_config() -> KeysConfig {
    KeysConfig {
        file: "keys.sealed".into(),
        sealing_key: "sealing.key".into(),
        token_lifetime: Duration::from_secs(600),
        rotation: 90 * DAY,
        overlap: DAY,
    }
}

fn identity_config() -> IdentityConfig {
    IdentityConfig {
        issuer: None,
        password_hashing: PasswordHashing::Cheap,
        password_memory: ByteSize::from_mib(48),
        password_iterations: 3,
        password_lanes: 1,
        session_idle: 30 * DAY,
        session_lifetime: 90 * DAY,
        max_devices: 4,
    }
}
