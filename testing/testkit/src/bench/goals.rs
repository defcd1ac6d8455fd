//! What has to be reached, with everything on.

use unhidra_load::report::{Goal, Target};

use super::subject::{OURS, OURS_TLS};

/// Scenario, measure and target.
const GOALS: &[(&str, &str, Target)] = &[
    ("fanout-1-100", "CPU per delivery", Target::AtMost(1.4)),
    ("fanout-1-100", "rate", Target::AtLeast(450_000.0)),
    ("fanout-1-100-rate", "CPU per delivery", Target::AtMost(12.5)),
    ("fanout-1-100-rate", "p99", Target::AtMostTimes(1.25)),
    ("p2p-50", "CPU per message", Target::AtMost(18.0)),
    ("p2p-50", "rate", Target::AtLeast(20_000.0)),
    ("conn-10k", "resident per connection", Target::AtMost(5.0)),
    ("conn-10k", "CPU per connection", Target::AtMost(120.0)),
    ("storm-10k", "all caught up", Target::AtMost(30.0)),
    ("storm-10k", "peak memory", Target::AtMost(200.0)),
    ("history-10m", "CPU per page, long log", Target::AtMost(200.0)),
    ("history-10m", "p99 of a page, long log", Target::AtMost(5.0)),
    ("history-10m", "CPU per page, long to short", Target::AtMost(1.1)),
    ("sealed-p2p", "client's CPU per message", Target::AtMost(60.0)),
    ("sealed-p2p", "rate", Target::AtLeast(5_000.0)),
    ("login", "CPU of a login to Argon2id", Target::AtMost(1.05)),
    ("empty", "resident", Target::AtMost(40.0)),
    ("empty", "ready", Target::AtMost(300.0)),
    ("empty", "binary", Target::AtMost(45.0)),
];

/// Of ours by TLS.
const TLS_GOALS: &[(&str, &str, Target)] = &[
    ("conn-10k", "resident per connection", Target::AtMost(16.0)),
    ("conn-10k", "CPU per connection", Target::AtMost(450.0)),
    ("storm-10k", "all caught up", Target::AtMost(30.0)),
    ("storm-10k", "peak memory", Target::AtMost(320.0)),
];

/// All of them.
#[must_use]
pub fn all() -> Vec<Goal> {
    let goal = |subject: &str, (scenario, measure, target): &(&str, &str, Target)| Goal {
        scenario: (*scenario).to_owned(),
        measure: (*measure).to_owned(),
        subject: subject.to_owned(),
        target: *target,
    };
    let ours = GOALS.iter().map(|of| goal(OURS, of));
    ours.chain(TLS_GOALS.iter().map(|of| goal(OURS_TLS, of)))
        .collect()
}
