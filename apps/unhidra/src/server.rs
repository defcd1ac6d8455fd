//! The server, composed: what is opened in which order, which tasks run, and how it ends.

use std::{fs::File, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use unhidra_gateway::{
    registry::Registry,
    upgrade::{Gateway, Limits},
};
use unhidra_http::{App, admission::Admission, listener::Front, rates::RequestLimits};
use unhidra_identity::{Exposure, Foundation, Identity, Setup, config::Scheme};
use unhidra_keys::Keys;
use unhidra_messaging::{Messaging, relay::relay};
use unhidra_runtime::{
    Clock, Stage, Tasks, Weight,
    signal::{Hangup, Signals},
};
use unhidra_store::{Store, StoreError, entry::PageLimit};
use unhidra_types::{ConversationId, Fingerprint, MsgId};
use unhidra_wire::base64::Base64;

use crate::{
    backup::DATABASE,
    configuration::Configuration,
    disk, folder,
    tls::{self, Served},
};

/// Connections that read the database at once.
const READERS: usize = 4;

/// A server that is able to serve.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it speaks there.
    pub(crate) scheme: Scheme,
    /// How people reach it.
    pub(crate) public_url: String,
    /// What clients know its local CA by, if it has one.
    pub(crate) authority: Option<Fingerprint>,
    /// The single-use token for the first administrator, while there is no account.
    pub(crate) setup_token: Option<PathBuf>,
    tasks: Tasks,
    identity: Identity,
    store: Store,
    clock: Clock,
    grace: Duration,
    _lock: File,
}

/// One message as the server holds it.
pub(crate) struct StoredMessage {
    /// Its place in the log.
    pub(crate) seq: u64,
    /// The sealed body.
    pub(crate) body: Base64,
    /// How many devices still have a capsule.
    pub(crate) capsules: usize,
}

impl Server {
    /// Opens everything and begins to listen.
    ///
    /// # Errors
    /// What the operator has to correct; nothing runs then.
    ///
    /// # Cancellation safety
    /// A call that is dropped leaves tasks running until the process ends.
    pub(crate) async fn start(configuration: &Configuration, clock: Clock) -> anyhow::Result<Self> {
        let Configuration {
            server,
            identity,
            keys,
            messaging,
            limits,
            ..
        } = configuration;
        tls::check_exposure(configuration)?;
        let lock = folder::open(&server.data).await?;
        folder::is_whole(&server.data)?;
        let listener = TcpListener::bind(server.listen)
            .await
            .with_context(|| listen_failed(server.listen))?;
        let address = listener.local_addr().context("read the port")?;
        let context = clock.context();
        let served = Served::open(configuration, context.now)?;
        let (scheme, names) = match &served {
            Some(served) => (Scheme::Https, served.names()),
            None => (Scheme::Http, &[][..]),
        };
        let origins = identity.origins(scheme, address, names);
        let issuer = origins.first().context("the server has an address")?;
        // Keys without a database are taken for what is left of a server, so they come second.
        let (store, commits) = Store::open(&server.data.join(DATABASE), READERS)?;
        let keys = Keys::open(keys, &server.data, issuer, &context).context("open the server's keys")?;
        let foundation = Foundation {
            store: store.clone(),
            keys,
            config: identity.clone(),
            exposure: match address.ip().is_loopback() && !server.behind_proxy {
                true => Exposure::Loopback,
                false => Exposure::Network,
            },
            origins: origins.clone(),
            tries: limits.tries(),
        };
        let (identity, setup) = Identity::open(foundation, &server.data, &context).await?;
        identity
            .note_start(&context)
            .await
            .context("write the start to the audit log")?;
        let messaging_service = Messaging::new(store.clone());
        let registry = Registry::new(server.max_connections);
        let (bus, notices) = unhidra_bus::local();

        let tasks = Tasks::new();
        let keep = messaging.keep_uncollected;
        let sweeper = messaging_service.clone();
        let sweep_clock = clock.clone();
        let delivery = registry.clone();
        tasks.spawn(Stage::Worker, "relay", Weight::Critical, async move |stop| {
            stop.race(relay(commits, bus)).await.unwrap_or(Ok(()))
        });
        tasks.spawn(Stage::Worker, "delivery", Weight::Critical, async move |stop| {
            stop.race(delivery.deliver(notices)).await;
            Ok::<_, std::convert::Infallible>(())
        });
        let keeper = messaging_service.clone();
        tasks.spawn(Stage::Worker, "cursors", Weight::Critical, async move |stop| {
            keeper.keep_cursors(stop).await
        });
        tasks.spawn(Stage::Worker, "retention", Weight::Ordinary, async move |stop| {
            sweeper.expire_bodies(sweep_clock, keep, stop).await
        });
        let (caretaker, upkeep_clock) = (identity.clone(), clock.clone());
        tasks.spawn(Stage::Worker, "upkeep", Weight::Ordinary, async move |stop| {
            caretaker.keep_up(upkeep_clock, stop).await
        });
        let (signer, signing_clock) = (identity.clone(), clock.clone());
        tasks.spawn(
            Stage::Worker,
            "audit heads",
            Weight::Ordinary,
            async move |stop| signer.keep_signing(signing_clock, stop).await,
        );
        let (data, watched) = (server.data.clone(), store.clone());
        tasks.spawn(Stage::Worker, "disk", Weight::Ordinary, async move |stop| {
            disk::watch(data, watched, stop).await
        });
        let gateway = Gateway {
            identity: identity.clone(),
            messaging: messaging_service.clone(),
            registry: registry.clone(),
            clock: clock.clone(),
            tasks: tasks.clone(),
            limits: Limits::new(&limits.connections()),
            session_age: messaging.session_age(),
        };
        let app = App {
            identity: identity.clone(),
            messaging: messaging_service,
            store: store.clone(),
            clock: clock.clone(),
            presence: registry.presence(),
            limits: RequestLimits::new(&limits.requests()),
        };
        let router = unhidra_http::router(app).merge(unhidra_gateway::upgrade::routes(gateway));
        let front = Front {
            proxies: server.proxies().into(),
            admission: Admission::new(limits.sockets(descriptors())),
            tls: served.as_ref().map(Served::tls),
            ..Front::new(router)
        };
        let authority = served.as_ref().and_then(Served::authority);
        if let Some(served) = served {
            let hangup = Hangup::install().context("handle SIGHUP")?;
            let (identity, clock) = (identity.clone(), clock.clone());
            tasks.spawn(
                Stage::Worker,
                "certificates",
                Weight::Ordinary,
                async move |stop| served.keep_up(identity, clock, hangup, stop).await,
            );
        }
        let accept_tasks = tasks.clone();
        tasks.spawn(Stage::Listener, "listener", Weight::Critical, async move |stop| {
            unhidra_http::listener::accept(listener, front, accept_tasks, stop).await
        });
        tracing::info!(address = %address, "serving");
        let setup_token = match setup {
            Setup::Needed(file) => Some(file),
            Setup::Done => None,
        };
        Ok(Self {
            address,
            scheme,
            public_url: origins.into_iter().next().context("the server has an address")?,
            authority,
            setup_token,
            tasks,
            identity,
            store,
            clock,
            grace: server.shutdown_grace,
            _lock: lock,
        })
    }

    /// Serves until a signal or the end of a critical task, then ends in order.
    ///
    /// # Errors
    /// When a critical task failed or tasks had to be aborted.
    pub(crate) async fn run(self, mut signals: Signals) -> anyhow::Result<()> {
        let ended = signals.run(&self.tasks, self.grace).await;
        self.finish(ended).await
    }

    /// Ends in order, without waiting for a signal.
    ///
    /// # Errors
    /// When tasks had to be aborted.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let ended = self.tasks.shutdown(self.grace).await;
        self.finish(ended).await
    }

    /// What the store holds of one message, as long as a device still has to collect it.
    ///
    /// # Errors
    /// When the database fails or the message is not there.
    pub(crate) async fn stored(
        &self,
        conversation: ConversationId,
        msg_id: MsgId,
    ) -> anyhow::Result<StoredMessage> {
        let found = self
            .store
            .read(move |db| {
                let Some(conversation) = db.conversation(conversation)? else {
                    return Ok(None);
                };
                let entries = db
                    .entries(conversation.log, 1, conversation.head, PageLimit::NONE)?
                    .entries;
                let Some(entry) = entries.into_iter().find(|entry| entry.msg_id == msg_id) else {
                    return Ok(None);
                };
                let capsules = db.capsules(conversation.log, entry.seq)?;
                let body = Base64(entry.body.unwrap_or_default().into());
                Ok::<_, StoreError>(Some(StoredMessage {
                    seq: entry.seq,
                    body,
                    capsules,
                }))
            })
            .await?;
        found.context("the server does not hold the message")
    }

    async fn finish(self, ended: unhidra_runtime::tasks::Ended) -> anyhow::Result<()> {
        match self.identity.note_stop(&self.clock.context()).await {
            // It could not be written for hours then, and stopping is how room is made.
            Err(StoreError::DiskFull | StoreError::CommitFailed) => {
                tracing::error!("the disk is full: the stop is not in the audit log");
            }
            noted => noted.context("write the stop to the audit log")?,
        }
        self.store.close().await;
        if let Some(culprit) = ended.culprit {
            bail!("the task {culprit} ended; the log says why");
        }
        if !ended.aborted.is_empty() {
            tracing::warn!(tasks = ?ended.aborted, "tasks did not end within the grace");
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// How many descriptors the process may have, after asking for as many as it is allowed.
fn descriptors() -> usize {
    let allowed = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: allowed.maximum,
        maximum: allowed.maximum,
    };
    let granted = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => allowed.maximum,
        Err(_) => allowed.current,
    };
    granted.map_or(usize::MAX, |granted| {
        usize::try_from(granted).unwrap_or(usize::MAX)
    })
}

fn listen_failed(address: SocketAddr) -> String {
    format!("listen on {address}: is another server running? choose another port with --listen")
}
