//! Hostile clients are told so, and cost the others nothing but time (docs/api.md, "Limits").

use std::time::Duration;

use unhidra_testkit::{
    Seed,
    hostile::{self, Plan},
};

use crate::program;

#[test]
fn attackers_are_turned_away_while_others_talk_and_nothing_of_them_is_left() {
    let plan = Plan {
        connections: 800,
        times: 40,
        lingering: 200,
        linger: Duration::from_secs(3),
        quiet: Duration::from_secs(1),
        seed: Seed::from_environment().unwrap(),
    };
    let report = hostile::run(&program(), &plan, &mut |line| println!("{line}")).unwrap();
    println!("{report}");
    report.verdict().unwrap();
    let answers = |attack: &str| {
        let row = report.rows.iter().find(|row| row.attack == attack);
        row.unwrap().answers.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(answers("head of 40 KB"), ["431"]);
    assert_eq!(answers("HEAD /v1/ws"), ["405"]);
    // Who goes on sending may lose the close frame with the connection.
    let only = |attack: &str, either: [&str; 2]| {
        let answers = answers(attack);
        assert!(
            answers.iter().all(|answer| either.contains(&answer.as_str())),
            "{attack}: {answers:?}"
        );
    };
    only("text message", ["4400", "closed"]);
    only("frame of 300 KiB", ["4400", "closed"]);
    only("4,000 messages at once", ["4429", "closed"]);
    assert!(answers("guess of a password").contains(&"429".to_owned()));
    assert!(answers("REST as fast as it goes").contains(&"200".to_owned()));
    let [before, _, after] = report.descriptors;
    assert!(
        after <= before + 8,
        "{:?} descriptors are left",
        report.descriptors
    );
    let [before, most, _] = report.resident;
    assert!(most < before.max(32 << 20) * 4, "{:?} bytes", report.resident);
}
