//! What can be run. Names are those of public benchmarks of brokers where there is one.

mod crowd;
mod killed;
mod log;
pub(super) mod messages;
pub(super) mod single;

use std::{fmt, str::FromStr};

pub(super) use self::crowd::Crowd;
use super::Bench;

/// One scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// One speaks to a hundred, as fast as it goes.
    Fanout100,
    /// One speaks to a hundred, a hundred times a second.
    Fanout100Rate,
    /// One speaks to a thousand, as fast as it goes.
    Fanout1k,
    /// Fifty pairs, as fast as it goes.
    Pairs,
    /// Ten thousand devices connect and then do nothing.
    Connections,
    /// Ten thousand devices return within ten seconds, each with twenty messages to come.
    Storm,
    /// Pages of a short log and of a long one, and what a message takes on the disk.
    History,
    /// One device encrypts, persists and sends.
    Sealed,
    /// Logins by password.
    Login,
    /// A server without accounts.
    Empty,
    /// The server is killed and started again in the middle.
    Killed,
}

/// A scenario with this name does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownScenario(String);

impl Scenario {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 11] = [
        Self::Empty,
        Self::Fanout100,
        Self::Fanout100Rate,
        Self::Fanout1k,
        Self::Pairs,
        Self::Killed,
        Self::Login,
        Self::Sealed,
        Self::Connections,
        Self::Storm,
        Self::History,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fanout100 => "fanout-1-100",
            Self::Fanout100Rate => "fanout-1-100-rate",
            Self::Fanout1k => "fanout-1-1k",
            Self::Pairs => "p2p-50",
            Self::Connections => "conn-10k",
            Self::Storm => "storm-10k",
            Self::History => "history-10m",
            Self::Sealed => "sealed-p2p",
            Self::Login => "login",
            Self::Empty => "empty",
            Self::Killed => "kill-9",
        }
    }

    pub(super) fn run(self, bench: &mut Bench) -> anyhow::Result<()> {
        match self {
            Self::Fanout100 | Self::Fanout100Rate | Self::Fanout1k | Self::Pairs => {
                messages::run(bench, self)
            }
            Self::Connections => crowd::connect(bench),
            Self::Storm => crowd::storm(bench),
            Self::History => log::run(bench),
            Self::Sealed => single::sealed(bench),
            Self::Login => single::login(bench),
            Self::Empty => single::empty(bench),
            Self::Killed => killed::run(bench),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|scenario| scenario.name() == name);
        found.ok_or_else(|| UnknownScenario(name.to_owned()))
    }
}

impl fmt::Display for UnknownScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Scenario::ALL.iter().map(|scenario| scenario.name()).collect();
        write!(
            f,
            "no scenario is called {}: there are {}",
            self.0,
            names.join(", ")
        )
    }
}

impl std::error::Error for UnknownScenario {}
