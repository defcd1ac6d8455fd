//! Who there is and which devices speak for them: accounts, passwords, sessions, device chains, prekeys, linking.
//!
//! Every use case is a method of [`Identity`]. Whether the caller may is decided before, by the policy; what is checked
//! here depends on the content: passwords, signatures, bounds. It opens no socket and reads no message, and every
//! privileged act writes its audit record in its own transaction.
//!
//! - [`caller`]: who asks, from where, when          - [`password`]: Argon2id off the executor
//! - [`account`], [`invitation`]: who may come in     - [`login`], [`session`]: from a password to tokens
//! - [`device_chain`]: signed device lists            - [`prekey`]: what others begin sessions with
//! - [`link`]: the channel that enrols a new device   - [`directory`]: users, devices, and the facts policy decides on
//! - [`refusal`]: which refusals get records          - [`upkeep`]: what happens by itself
//! - [`idempotency`]: requests that come again
//! - [`administration`]: what administrators see and do - [`deletion`]: the end of an account
//! - [`audit`]: the log that all of them write to, signed, proved and read
//! - [`throttle`]: how often something may be tried    - [`connection`]: closing those of others
//!
//! Invariants: an unknown name, a wrong password and a disabled account are one answer after one computation; a refresh
//! token that was spent ends its session when it comes back; no chain record is kept that this crate did not verify.
#![warn(missing_docs)]

pub mod account;
pub mod administration;
pub mod audit;
pub mod caller;
pub mod config;
pub mod connection;
pub mod deletion;
pub mod device_chain;
pub mod directory;
pub mod idempotency;
pub mod identity_change;
pub mod invitation;
pub mod link;
pub mod login;
pub mod password;
pub mod prekey;
mod refresh_token;
pub mod refusal;
mod restored;
pub mod session;
pub mod throttle;
pub mod upkeep;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use unhidra_audit::{Act, Actor, Details, Record, Subject};
use unhidra_keys::Keys;
use unhidra_runtime::{Context, Workers};
use unhidra_store::{Store, StoreError, Tx};
use unhidra_types::{OrgId, Timestamp};
use unhidra_wire::audit::TreeHead;

pub use caller::Caller;
pub use config::{Exposure, IdentityConfig};
pub use idempotency::IdempotencyKey;
pub use invitation::Setup;
pub use throttle::Tries;

/// Signature checks that wait for a thread; one more is refused.
const CHECK_QUEUE: usize = 256;

/// The use cases. Clones are the same service.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    store: Store,
    keys: Keys,
    config: IdentityConfig,
    /// Names under which devices know this server; any of them may be in a signature.
    origins: Vec<String>,
    /// The organisation of this server.
    home: OrgId,
    hasher: password::Hasher,
    /// Checks batches of signatures off the executor.
    checks: Workers,
    refusals: Mutex<refusal::Refusals>,
    /// The head that was signed last, and when it was asked for.
    tree_head: Mutex<Option<(Timestamp, TreeHead)>>,
    throttle: throttle::Throttle,
    setup_file: PathBuf,
}

/// What the service stands on.
pub struct Foundation {
    /// The open database.
    pub store: Store,
    /// The server's keys.
    pub keys: Keys,
    /// The section of the configuration.
    pub config: IdentityConfig,
    /// Whether anyone but this machine can reach the server.
    pub exposure: Exposure,
    /// Names under which devices know this server, such as `https://chat.example.org`; at least one.
    pub origins: Vec<String>,
    /// How often passwords and invitations may be tried.
    pub tries: Tries,
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration does not hold.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// The database failed.
    #[error("identity can't use the database")]
    Store(#[from] StoreError),
    /// A worker thread could not be started.
    #[error("start the workers of identity")]
    Threads(#[source] std::io::Error),
    /// The set-up token could not be written.
    #[error("write the set-up token")]
    Setup(#[from] unhidra_keys::file::FileError),
}

impl Identity {
    /// Starts the service; `data` is the data folder, where a server without accounts leaves its set-up token.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Cancellation safety
    /// Dropped, it may leave an organisation without accounts, which the next start uses.
    pub async fn open(
        foundation: Foundation,
        data: &Path,
        context: &Context,
    ) -> Result<(Self, Setup), OpenError> {
        let Foundation {
            store,
            keys,
            config,
            exposure,
            origins,
            tries,
        } = foundation;
        config.validate(exposure)?;
        let hasher = password::Hasher::start(&config, context).map_err(|error| match error {
            password::StartError::Parameters => OpenError::Config(config::ConfigError::PasswordParameters),
            password::StartError::Threads(error) => OpenError::Threads(error),
        })?;
        let checks = Workers::start("signatures", Workers::half_of_the_machine(), CHECK_QUEUE)
            .map_err(OpenError::Threads)?;
        let home = home_organisation(&store, context).await?;
        let setup_file = data.join(invitation::SETUP_FILE);
        let refusals = Mutex::new(refusal::Refusals::default());
        let inner = Inner {
            store,
            keys,
            config,
            origins,
            home,
            hasher,
            checks,
            refusals,
            tree_head: Mutex::new(None),
            throttle: throttle::Throttle::new(&tries),
            setup_file,
        };
        let identity = Self(Arc::new(inner));
        let setup = identity.prepare_setup(context).await?;
        Ok((identity, setup))
    }

    /// How many Argon2 computations this process has made.
    #[must_use]
    pub fn password_computations(&self) -> u64 {
        self.0.hasher.computations()
    }

    /// The server's keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// An audit record of something this caller did.
    pub(crate) fn record(&self, caller: &Caller, act: Act, subject: Subject) -> Record {
        Record {
            at: caller.context.now,
            org: caller.principal.org().or(Some(self.0.home)),
            actor: caller.actor(),
            act,
            subject,
            request: *caller.context.request_id.as_bytes(),
            details: Details {
                network: caller.network,
                ..Details::default()
            },
        }
    }
}

/// Appends a record; the salt comes from the request's context.
pub(crate) fn append(tx: &mut Tx<'_>, context: &Context, record: &Record) -> Result<(), StoreError> {
    tx.append_audit(record, context.random()).map(drop)
}

pub(crate) fn server_record(context: &Context, act: Act, subject: Subject, details: Details) -> Record {
    let request = *context.request_id.as_bytes();
    Record {
        at: context.now,
        org: None,
        actor: Actor::Server,
        act,
        subject,
        request,
        details,
    }
}

async fn home_organisation(store: &Store, context: &Context) -> Result<OrgId, StoreError> {
    let context = *context;
    store
        .write(move |tx| {
            if let Some(home) = tx.home_organisation()? {
                return Ok(home);
            }
            let home = OrgId::new(context.now, context.random());
            tx.found_organisation(home, context.now)?;
            Ok(home)
        })
        .await
}
