//! What happens when: strikes at places in the log, drawn from a seed.

use std::time::Duration;

use crate::seed::{Dice, Seed};

/// The longest that a killed server stays away.
const LONGEST_OUTAGE: Duration = Duration::from_millis(400);
/// How long a cut network stays cut.
const SHORTEST_CUT: Duration = Duration::from_secs(1);
const LONGEST_CUT: Duration = Duration::from_secs(6);

/// How much text, and how much befalls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Lines of real text; each of the two people sends half of them.
    pub lines: usize,
    /// How often the server is killed.
    pub server_kills: u32,
    /// How often each of the four clients is killed.
    pub client_kills: u32,
    /// How often the network between them is cut.
    pub cuts: u32,
    /// How often the server's disk is full.
    pub full_disks: u32,
    /// Where all random choices begin.
    pub seed: Seed,
}

/// One of the four clients that run during the storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Sends lines; the first device of either person.
    Sender(Side),
    /// Prints what comes; the second device of either person.
    Listener(Side),
}

/// One of the two people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one who opened the conversation.
    Left,
    /// The other one.
    Right,
}

/// What happens to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// The server is killed and stays away for a while.
    KillServer(Duration),
    /// A client is killed and comes back at once.
    KillClient(Client),
    /// Nothing passes between clients and server for a while; no connection is told.
    Cut(Duration),
    /// The server's disk is full until nothing moves any more, and then has room again.
    FillDisk,
    /// A backup is made of the server that serves.
    BackUp,
}

/// A moment of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When the log has so many entries.
    pub at: u64,
    /// What happens then.
    pub strike: Strike,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Sender(Side::Left),
        Self::Sender(Side::Right),
        Self::Listener(Side::Left),
        Self::Listener(Side::Right),
    ];
}

impl Plan {
    /// The strikes, in the order of their moments. No two fall together.
    #[must_use]
    pub fn moments(&self, dice: &mut Dice) -> Vec<Moment> {
        let mut strikes = Vec::new();
        strikes.extend((0..self.server_kills).map(|_| Strike::KillServer(lasting(dice, LONGEST_OUTAGE))));
        let clients = (0..self.client_kills).flat_map(|_| Client::ALL);
        strikes.extend(clients.map(Strike::KillClient));
        strikes.extend(
            (0..self.cuts).map(|_| Strike::Cut(SHORTEST_CUT + lasting(dice, LONGEST_CUT - SHORTEST_CUT))),
        );
        strikes.push(Strike::BackUp);
        shuffle(&mut strikes, dice);
        // First of all: later the database has room of its own, where the bodies lay that were collected.
        strikes.splice(..0, (0..self.full_disks).map(|_| Strike::FillDisk));
        // Both send until the log has at least one entry a line. The first nine tenths are cut into as many parts as
        // there are strikes, so that none comes after the end.
        let entries = u64::try_from(self.lines).unwrap_or(u64::MAX) / 10 * 9;
        let count = u64::try_from(strikes.len()).unwrap_or(u64::MAX);
        let part = entries.checked_div(count).unwrap_or(0);
        let places = (0..count).zip(strikes);
        places
            .map(|(place, strike)| Moment {
                at: place * part + 1 + dice.below(part),
                strike,
            })
            .collect()
    }
}

fn lasting(dice: &mut Dice, longest: Duration) -> Duration {
    Duration::from_millis(dice.below(u64::try_from(longest.as_millis()).unwrap_or(0)))
}

fn shuffle<T>(all: &mut [T], dice: &mut Dice) {
    for place in (1..all.len()).rev() {
        let other = dice.below(u64::try_from(place).unwrap_or(0) + 1);
        all.swap(place, usize::try_from(other).unwrap_or(place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        lines: 2_000,
        server_kills: 2,
        client_kills: 1,
        cuts: 1,
        full_disks: 1,
        seed: Seed(3),
    };

    #[test]
    fn a_seed_repeats_its_strikes() {
        let moments = PLAN.moments(&mut PLAN.seed.dice());
        assert_eq!(moments, PLAN.moments(&mut PLAN.seed.dice()));
        assert_ne!(moments, PLAN.moments(&mut Seed(4).dice()));
    }

    #[test]
    fn every_strike_of_every_seed_comes_in_order_and_before_the_end() {
        for seed in 0..200 {
            let plan = Plan {
                lines: 100,
                seed: Seed(seed),
                ..PLAN
            };
            let moments = plan.moments(&mut plan.seed.dice());
            assert!(
                moments.is_sorted_by(|one, next| one.at < next.at),
                "{seed}: {moments:?}"
            );
            assert!(moments.iter().all(|moment| (1..=90).contains(&moment.at)));
            let of =
                |wanted: fn(&Strike) -> bool| moments.iter().filter(|moment| wanted(&moment.strike)).count();
            assert_eq!(of(|strike| matches!(strike, Strike::KillServer(_))), 2);
            assert_eq!(of(|strike| matches!(strike, Strike::KillClient(_))), 4);
            assert_eq!(of(|strike| matches!(strike, Strike::Cut(_))), 1);
            assert_eq!(of(|strike| matches!(strike, Strike::FillDisk)), 1);
            assert_eq!(of(|strike| matches!(strike, Strike::BackUp)), 1);
        }
    }

    #[test]
    fn a_plan_without_strikes_has_its_backup() {
        let plan = Plan {
            server_kills: 0,
            client_kills: 0,
            cuts: 0,
            full_disks: 0,
            ..PLAN
        };
        let moments = plan.moments(&mut plan.seed.dice());
        assert_eq!(moments.len(), 1);
        assert_eq!(moments[0].strike, Strike::BackUp);
    }
}
