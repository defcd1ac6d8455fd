//! What can be run. Names are those of public benchmarks of brokers where there is one.

mod messages;

use std::{fmt, str::FromStr};

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
}

/// A scenario with this name does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownScenario(String);

impl Scenario {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 4] = [Self::Fanout100, Self::Fanout100Rate, Self::Fanout1k, Self::Pairs];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fanout100 => "fanout-1-100",
            Self::Fanout100Rate => "fanout-1-100-rate",
            Self::Fanout1k => "fanout-1-1k",
            Self::Pairs => "p2p-50",
        }
    }

    pub(super) fn run(self, bench: &mut Bench) -> anyhow::Result<()> {
        match self {
            Self::Fanout100 | Self::Fanout100Rate | Self::Fanout1k | Self::Pairs => {
                messages::run(bench, self)
            }
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
