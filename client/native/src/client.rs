//! A device that is logged in, with everything a program needs: send, catch up, listen, link.
//!
//! The client does nothing by itself: [`Client::step`] and what is built on it drive connection and engine for as long
//! as they are awaited, so there is no task to own or stop. The store runs on the calling thread; a step costs one
//! `fsync`. Several processes may each have a client on one profile.

mod administration;
mod asked;
mod audit;
mod connections;
mod contacts;
mod drive;
mod enrol;
mod error;
mod identity;
mod link;
mod messages;
mod scan;
mod session;
mod trust;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;
use unhidra_client::{Device, Effects, EntryNumber, Message, Need, Notice, Opened};
use unhidra_types::{ConversationId, DeviceId, MsgId, UserId, Username};
use unhidra_wire::rest;

use self::asked::Asked;
pub use self::{
    administration::Whose,
    enrol::{Destination, Founding, LoggedIn},
    error::{ClientError, Mismatch, Remedy},
    identity::{RenewingRecovery, Rotating},
    link::{Certifying, Comparing, NewDevice},
    messages::{Outgoing, WaitFor},
    scan::Scan,
    session::Access,
};
use crate::{
    account::{self, Account},
    backoff::{Backoff, BackoffPolicy},
    connection::{Connection, Heartbeat},
    profile::{Profile, ProfileFolder},
    rest::Rest,
    store::SqliteStore,
    witness::Evidence,
};

/// How a client talks to its server.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// When silence means that a connection is dead.
    pub heartbeat: Heartbeat,
    /// How long to wait before connecting again.
    pub backoff: BackoffPolicy,
    /// How often gaps and other processes' work are looked at.
    pub look_around: Duration,
    /// How old the last look at the server's audit log may be when a connection is made.
    pub watch_audit: Duration,
    /// Tells a person that a certificate is just outside its dates.
    pub warn: fn(&str),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Heartbeat::default(),
            backoff: BackoffPolicy::default(),
            look_around: Duration::from_secs(2),
            watch_audit: Duration::from_secs(3_600),
            warn: |text| tracing::warn!("{text}"),
        }
    }
}

/// A logged-in device.
pub struct Client {
    device: Device<SqliteStore>,
    folder: ProfileFolder,
    account: Account,
    rest: Rest,
    settings: Settings,
    connection: Option<Connection>,
    backoff: Backoff,
    /// Not before this does another attempt to connect begin.
    connect_at: Option<Instant>,
    /// When gaps and other processes' work are looked at next.
    idle_at: Instant,
    /// What steps asked for and is not done yet.
    pending: Effects,
    /// Needs that the server could not meet; asked for again when idle.
    unmet: BTreeSet<Need>,
    /// What was asked for lately, and how often.
    asked: Asked,
    /// Entries that were sent on this connection and not answered; at most [`drive::WINDOW`].
    in_flight: BTreeSet<EntryNumber>,
    /// The last entry that was looked at for sending.
    sent_through: Option<EntryNumber>,
    /// Not before this is anything sent: the server asked for a pause.
    send_at: Option<Instant>,
    /// Own messages that have not been accepted or failed, as far as this client submitted or watches them.
    outstanding: BTreeSet<(ConversationId, MsgId)>,
    /// What is to be told to the caller of [`Client::step`].
    events: VecDeque<Event>,
    /// The last message of the journal that was told, while this client listens.
    listening: Option<u64>,
}

/// Something that happened while a client was driven.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection is up.
    Connected,
    /// There is none; the next attempt is made after `retry_in`.
    Disconnected {
        /// Why.
        reason: ClientError,
        /// How long to wait.
        retry_in: Duration,
    },
    /// A message is new in the store, in the order in which the device learnt of it; only while listening.
    Message {
        /// Its number in the journal.
        number: u64,
        /// The message.
        message: Box<Message>,
    },
    /// The server's audit log contradicts what this device has seen of it.
    AuditContradicted(Box<Evidence>),
    /// The engine noticed something.
    Notice(Notice),
    /// The server could not give what the engine needs; it is asked again.
    Trouble(ClientError),
}

impl Client {
    /// Opens the device of a profile.
    ///
    /// # Errors
    /// [`ClientError::NotLoggedIn`] when the profile has no account or device yet.
    pub fn open(profile: Profile, settings: Settings) -> Result<Self, ClientError> {
        let (folder, mut store) = profile.into_parts();
        let account = Account::load(&mut store)?.ok_or(ClientError::NotLoggedIn)?;
        match Device::open(store)? {
            Opened::Device(device) => Self::with(*device, folder, account, settings),
            Opened::Empty(_) => Err(ClientError::NotLoggedIn),
        }
    }

    fn with(
        device: Device<SqliteStore>,
        folder: ProfileFolder,
        account: Account,
        settings: Settings,
    ) -> Result<Self, ClientError> {
        let rest = Rest::new(account.route(settings.warn)?)?;
        Ok(Self {
            device,
            folder,
            account,
            rest,
            settings,
            connection: None,
            backoff: Backoff::new(settings.backoff),
            connect_at: None,
            idle_at: Instant::now() + settings.look_around,
            pending: Effects::default(),
            unmet: BTreeSet::new(),
            asked: Asked::default(),
            in_flight: BTreeSet::new(),
            sent_through: None,
            send_at: None,
            outstanding: BTreeSet::new(),
            events: VecDeque::new(),
            listening: None,
        })
    }

    /// The account.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// This device.
    #[must_use]
    pub const fn device_id(&self) -> DeviceId {
        self.device.id()
    }

    /// The engine, for everything that is read from it.
    pub const fn device(&mut self) -> &mut Device<SqliteStore> {
        &mut self.device
    }

    /// The user of a name; looked up once.
    ///
    /// # Errors
    /// [`ClientError::Rest`] with code `not-found` when there is none.
    pub async fn user_named(&mut self, name: &Username) -> Result<UserId, ClientError> {
        if *name == self.account.username {
            return Ok(self.account.user_id);
        }
        if let Some(user) = account::user_named(self.device.store_mut(), name)? {
            return Ok(user);
        }
        let token = self.access_token().await?;
        let found = self.rest.user_by_name(&token, name).await?;
        account::remember_name(self.device.store_mut(), name, found.user_id)?;
        Ok(found.user_id)
    }

    /// The name of a user; looked up once.
    ///
    /// # Errors
    /// [`ClientError::Rest`] when the server does not say.
    pub async fn name_of(&mut self, user: UserId) -> Result<Username, ClientError> {
        if user == self.account.user_id {
            return Ok(self.account.username.clone());
        }
        if let Some(name) = account::name_of(self.device.store_mut(), user)? {
            return Ok(name);
        }
        let token = self.access_token().await?;
        let found = self.rest.user(&token, user).await?;
        account::remember_name(self.device.store_mut(), &found.username, user)?;
        Ok(found.username)
    }

    /// A number that was kept under `name`, such as how far a reader has got.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn mark(&mut self, name: &str) -> Result<Option<u64>, ClientError> {
        Ok(account::mark(self.device.store_mut(), name)?)
    }

    /// Keeps a number under `name`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn set_mark(&mut self, name: &str, number: u64) -> Result<(), ClientError> {
        Ok(account::set_mark(self.device.store_mut(), name, number)?)
    }

    /// Who the server says this session is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn me(&mut self) -> Result<rest::Me, ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.me(&token).await?)
    }

    /// The account's devices as the server knows them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn devices(&mut self) -> Result<Vec<rest::Device>, ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.devices(&token).await?.devices)
    }

    /// Makes an invitation.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn invite(
        &mut self,
        role: rest::Role,
        expires_in: Duration,
    ) -> Result<rest::Invitation, ClientError> {
        let token = self.access_token().await?;
        let invite = rest::Invite {
            role,
            expires_in: expires_in.as_secs(),
        };
        Ok(self.rest.invite(&token, &invite).await?)
    }
}
