//! What has to be reached, with everything on.

use unhidra_load::report::{Goal, Target};

use super::subject::OURS;

/// Scenario, measure and target.
const GOALS: &[(&str, &str, Target)] = &[
    ("fanout-1-100", "CPU per delivery", Target::AtMost(1.4)),
    ("fanout-1-100", "rate", Target::AtLeast(450_000.0)),
    ("fanout-1-100-rate", "CPU per delivery", Target::AtMost(12.5)),
    ("fanout-1-100-rate", "p99", Target::AtMostTimes(1.25)),
    ("p2p-50", "CPU per message", Target::AtMost(18.0)),
    ("p2p-50", "rate", Target::AtLeast(20_000.0)),
];

/// All of them, of ours.
#[must_use]
pub fn all() -> Vec<Goal> {
    let goals = GOALS.iter().map(|(scenario, measure, target)| Goal {
        scenario: (*scenario).to_owned(),
        measure: (*measure).to_owned(),
        subject: OURS.to_owned(),
        target: *target,
    });
    goals.collect()
}
