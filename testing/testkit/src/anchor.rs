//! Other servers that deliver messages, run and driven as ours is, so that our figures stand beside theirs.
//!
//! Each is Debian's package with the settings that suit it best for the work that is measured: nothing of it is slowed
//! down, and durability is as its column says. They listen on free ports of loopback, keep everything in a folder of the
//! caller, and end with it. This is for measuring; no product crate sees it.
//!
//! - [`mod@install`]: what is missing, from the distribution   - [`daemon`]: one process, its user and its end
//! - [`brokers`]: NATS, Mosquitto                         - [`ejabberd`]: with its PostgreSQL
//! - [`processes`]: what all of them cost together        - [`payload`]: what every message carries
//! - [`dialect`]: what is said to them, in [`nats`], [`mqtt`], [`xmpp`]
//! - [`link`]: a connection that is logged in             - [`course`], [`players`]: what is done and counted
//! - [`compare`]: all of it, as samples of a report

pub mod compare;

mod brokers;
mod course;
mod daemon;
mod dialect;
mod ejabberd;
mod install;
mod link;
mod mqtt;
mod nats;
mod payload;
mod players;
mod processes;
mod xmpp;

use std::{net::SocketAddr, path::Path};

pub use self::processes::Processes;
use self::{daemon::Daemon, dialect::Dialect};
pub use self::{daemon::open_to_all, install::install};

/// A server to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Anchor {
    /// Publish and subscribe from memory: nothing is kept, nothing acknowledged.
    Nats,
    /// The same with a stream on disk that acknowledges each message; not synced message by message.
    JetStream,
    /// MQTT 3.1.1, quality of service 1, sessions that persist; written to disk now and then.
    Mosquitto,
    /// XMPP with rooms and an archive of every message in PostgreSQL, which syncs each transaction.
    Ejabberd,
}

/// An anchor that runs. Dropping it ends all its processes.
pub struct Running {
    address: SocketAddr,
    dialect: Dialect,
    /// In the order in which they end.
    daemons: Vec<Daemon>,
}

impl Anchor {
    /// All of them, the lightest first.
    pub const ALL: [Self; 4] = [Self::Nats, Self::JetStream, Self::Mosquitto, Self::Ejabberd];

    /// As tables call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::JetStream => "nats-jetstream",
            Self::Mosquitto => "mosquitto",
            Self::Ejabberd => "ejabberd+postgresql",
        }
    }

    /// The Debian packages that it consists of.
    const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Nats | Self::JetStream => &["nats-server"],
            Self::Mosquitto => &["mosquitto"],
            Self::Ejabberd => &["ejabberd", "erlang-p1-pgsql", "postgresql"],
        }
    }

    /// Starts it with `accounts` people that may log in, and everything it keeps in `folder`.
    ///
    /// The calling thread has to outlive it: it dies with that thread.
    ///
    /// # Errors
    /// When a part of it does not come up; with the end of what it printed.
    pub fn start(self, folder: &Path, accounts: u32) -> anyhow::Result<Running> {
        match self {
            Self::Nats => brokers::nats(folder, brokers::Stream::None),
            Self::JetStream => brokers::nats(folder, brokers::Stream::OnDisk),
            Self::Mosquitto => brokers::mosquitto(folder),
            Self::Ejabberd => ejabberd::start(folder, accounts),
        }
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// All of it, to be measured.
    #[must_use]
    pub fn processes(&self) -> Processes {
        Processes::below(self.daemons.iter().map(Daemon::pid).collect())
    }
}
