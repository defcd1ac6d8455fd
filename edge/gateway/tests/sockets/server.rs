//! The server in this process, composed as the program composes it, on a loopback socket.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use tokio::{
    net::TcpSocket,
    time::{Instant, timeout},
};
use unhidra_bus::Bus;
use unhidra_gateway::{
    registry::Registry,
    upgrade::{Gateway, Limits, Rates},
};
use unhidra_http::{
    App,
    listener::Front,
    rates::{RequestLimits, RequestRates},
    tls::Tls,
};
use unhidra_identity::{Exposure, Foundation, Identity, IdentityConfig, config::PasswordHashing};
use unhidra_keys::{Keys, KeysConfig};
use unhidra_messaging::{Messaging, relay::relay};
use unhidra_runtime::{ByteSize, Clock, Rate, Stage, Tasks, Weight, context::ManualClock};
use unhidra_store::{Store, StoreError, entry::Place};
use unhidra_types::{ConversationId, MsgId, Timestamp};
use unhidra_wire::{
    frame::{Append, Capsule, CapsuleKind, ListVersion},
    rest::OpenConversation,
};

use crate::{
    client::Client,
    person::{ORG, Phone},
};

pub(crate) const ORIGIN: &str = "http://127.0.0.1:9000";
/// Whatever takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// What every device is told.
pub(crate) const SESSION_AGE: Duration = Duration::from_secs(7 * 86_400);
/// Bytes that the kernel keeps for a socket at its least, so that a reader that stops is felt at once.
const NARROW: u32 = 4_096;
/// A crowd of tests comes from one network, and fills inboxes faster than people do.
pub(crate) const UNLIMITED: Rates = Rates {
    connections_per_network: Rate::OFF,
    connections_per_user: Rate::OFF,
    messages: Rate::OFF,
};
const DAY: Duration = Duration::from_secs(86_400);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    pub(crate) keys: Keys,
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    pub(crate) messaging: Messaging,
    pub(crate) registry: Registry,
    pub(crate) bus: Bus,
    pub(crate) tasks: Tasks,
    _folder: tempfile::TempDir,
}

/// Keeps the writer busy until it is opened.
pub(crate) struct Gate(std::sync::mpsc::SyncSender<()>);

impl Gate {
    pub(crate) fn open(self) {
        self.0.send(()).unwrap();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with_room_for(1_000).await
    }

    pub(crate) async fn with_room_for(max_connections: usize) -> Self {
        Self::with(max_connections, UNLIMITED).await
    }

    pub(crate) async fn with(max_connections: usize, rates: Rates) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(NARROW).unwrap();
        Self::on(socket, max_connections, rates, None).await
    }

    /// Listens on `socket`, from which connections take how much fits into them.
    pub(crate) async fn on(
        socket: TcpSocket,
        max_connections: usize,
        rates: Rates,
        tls: Option<Tls>,
    ) -> Self {
        let (clock, hand) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let folder = tempfile::tempdir().unwrap();
        let context = clock.context();
        let (store, commits) = Store::open(&folder.path().join("unhidra.db"), 2).unwrap();
        let founding = store.write(move |tx| tx.found_organisation(ORG, context.now));
        founding.await.unwrap();
        let keys = Keys::open(&keys_config(), folder.path(), ORIGIN, &context).unwrap();
        let foundation = Foundation {
            store: store.clone(),
            keys: keys.clone(),
            config: identity_config(),
            exposure: Exposure::Loopback,
            origins: vec![ORIGIN.into()],
            tries: Default::default(),
        };
        let (identity, _) = Identity::open(foundation, folder.path(), &context).await.unwrap();
        let messaging = Messaging::new(store.clone());
        let registry = Registry::new(max_connections);
        let (bus, notices) = unhidra_bus::local();
        let tasks = Tasks::new();
        let (publisher, delivery) = (bus.clone(), registry.clone());
        tasks.spawn(Stage::Worker, "relay", Weight::Critical, async move |stop| {
            stop.race(relay(commits, publisher)).await.unwrap_or(Ok(()))
        });
        tasks.spawn(Stage::Worker, "delivery", Weight::Critical, async move |stop| {
            stop.race(delivery.deliver(notices)).await;
            Ok::<_, Infallible>(())
        });
        let keeper = messaging.clone();
        tasks.spawn(Stage::Worker, "cursors", Weight::Critical, async move |stop| {
            keeper.keep_cursors(stop).await
        });
        let gateway = Gateway {
            identity: identity.clone(),
            messaging: messaging.clone(),
            registry: registry.clone(),
            clock: clock.clone(),
            tasks: tasks.clone(),
            limits: Limits::new(&rates),
            session_age: Some(SESSION_AGE),
        };
        let app = App {
            identity: identity.clone(),
            messaging: messaging.clone(),
            store: store.clone(),
            clock: clock.clone(),
            presence: registry.presence(),
            limits: RequestLimits::new(&RequestRates::default()),
        };
        let router = unhidra_http::router(app).merge(unhidra_gateway::upgrade::routes(gateway));
        let front = Front {
            tls,
            ..Front::new(router)
        };
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let accept_tasks = tasks.clone();
        tasks.spawn(Stage::Listener, "listener", Weight::Critical, async move |stop| {
            unhidra_http::listener::accept(listener, front, accept_tasks, stop).await
        });
        Self {
            address,
            clock,
            hand,
            keys,
            store,
            identity,
            messaging,
            registry,
            bus,
            tasks,
            _folder: folder,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.context().now
    }

    /// A connection that has had its first frames, through `CaughtUp`.
    pub(crate) async fn connect(&self, phone: &Phone) -> Client {
        let mut client = Client::connect(self.address, &phone.token).await;
        client.catch_up().await;
        client
    }

    /// The same over a socket in which hardly anything fits.
    pub(crate) async fn connect_narrow(&self, phone: &Phone) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(NARROW).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let mut client = Client::connect_on(stream, &phone.token).await;
        client.catch_up().await;
        client
    }

    /// Waits until something is so, which no frame tells.
    pub(crate) async fn until(&self, so: impl Fn(&Registry) -> bool) {
        let waiting = async {
            while !so(&self.registry) {
                tokio::task::yield_now().await;
            }
        };
        let began = Instant::now();
        assert!(
            timeout(PATIENCE, waiting).await.is_ok(),
            "not so after {:?}",
            began.elapsed()
        );
    }

    /// Makes the writer wait.
    pub(crate) fn gate(&self) -> Gate {
        let (open, gate) = std::sync::mpsc::sync_channel(1);
        drop(self.store.write(move |_| {
            gate.recv().unwrap();
            Ok::<_, StoreError>(())
        }));
        Gate(open)
    }

    pub(crate) async fn open_group(&self, phones: &[&Phone]) -> ConversationId {
        let members = phones.iter().map(|phone| phone.user).collect();
        self.open(phones[0], OpenConversation::Group { members }).await
    }

    pub(crate) async fn open_direct(&self, one: &Phone, other: &Phone) -> ConversationId {
        self.open(one, OpenConversation::Direct { peer: other.user })
            .await
    }

    async fn open(&self, phone: &Phone, request: OpenConversation) -> ConversationId {
        let context = self.clock.context();
        let opened = self.messaging.open(phone.sender(), request, &context).await;
        opened.unwrap().conversation_id
    }

    /// Appends without a socket.
    pub(crate) async fn append(&self, from: &Phone, append: Append) -> Place {
        let taken = self
            .messaging
            .append(from.sender(), append, &std::sync::Arc::default(), self.now());
        taken.await.unwrap()
    }

    /// A direct message with a capsule for each of `to`.
    pub(crate) async fn sealed(&self, chat: ConversationId, number: u32, to: &[&Phone]) -> Append {
        let heads = self.store.read(move |db| {
            let members = db.members(db.conversation(chat)?.unwrap().log)?;
            let heads = members.into_iter().map(|user| {
                let (version, head_hash) = db.chain_head(user)?.unwrap();
                Ok::<_, StoreError>(ListVersion {
                    user,
                    version,
                    head_hash,
                })
            });
            heads.collect::<Result<Vec<_>, _>>()
        });
        let capsules = to.iter().map(|phone| Capsule {
            device: phone.id,
            kind: CapsuleKind::Ratchet,
            sealed: vec![1; 170].into(),
        });
        Append {
            list_versions: heads.await.unwrap(),
            capsules: capsules.collect(),
            ..plain(chat, number, 100)
        }
    }

    pub(crate) async fn head(&self, conversation: ConversationId) -> u64 {
        let found = self.store.read(move |db| db.conversation(conversation));
        found.await.unwrap().unwrap().head
    }
}

/// A group's message of so many bytes.
pub(crate) fn plain(to: ConversationId, number: u32, bytes: usize) -> Append {
    let mut id = [1; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Append {
        conversation: to,
        msg_id: MsgId::from_bytes(id),
        attempt: 0,
        dest: None,
        list_versions: Vec::new(),
        body: vec![7; bytes].into(),
        capsules: Vec::new(),
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
        max_devices: 8,
    }
}
