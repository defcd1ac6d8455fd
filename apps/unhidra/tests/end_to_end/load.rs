//! `load` tries a server with accounts of its own, says what it carried, and leaves no account behind.

use unhidra_testkit::Person;

use crate::world;

const SMALL: [&str; 10] = [
    "--json",
    "load",
    "--yes",
    "--groups",
    "2",
    "--members",
    "3",
    "--for",
    "1s",
    "--rate",
];

fn users(admin: &Person) -> anyhow::Result<usize> {
    let listed = admin.first()?.run(["--json", "admin", "users", "list"])?;
    let listed = listed.success()?.json()?;
    let live = listed
        .iter()
        .filter(|user| user["disabled_at"].is_null() && user["deleted_at"].is_null());
    Ok(live.count())
}

#[test]
fn a_rate_that_a_server_carries_is_said_to_hold_and_the_accounts_are_gone() {
    let mut world = world().unwrap();
    let (alice, _bob) = world.alice_and_bob().unwrap();
    let before = users(&alice).unwrap();
    let device = alice.first().unwrap();
    let pid = world.server.pid().unwrap().to_string();
    let arguments = [&SMALL[..], &["10", "--max-latency", "20s", "--server-pid", &pid]].concat();
    let printed = device.run(arguments).unwrap().success().unwrap().json().unwrap();
    let [verdict] = printed.as_slice() else {
        panic!("one object: {printed:?}");
    };
    assert_eq!((&verdict["held"], &verdict["left"]), (&1.into(), &0.into()));
    assert!(verdict["limit"].is_null());
    let step = &verdict["steps"][0];
    assert!(step["accepted"].as_f64().unwrap() > 10.0, "{step}");
    assert!(step["server_mib"].as_f64().unwrap() > 1.0, "{step}");
    assert_eq!(users(&alice).unwrap(), before);
}

#[test]
fn the_first_limit_is_named_and_a_step_that_does_not_hold_fails() {
    let mut world = world().unwrap();
    let (alice, _bob) = world.alice_and_bob().unwrap();
    let arguments = [&SMALL[..], &["5", "--max-latency", "0ms"]].concat();
    let refused = alice.first().unwrap().run(arguments).unwrap();
    let printed = refused.json().unwrap();
    assert_eq!(printed[0]["limit"]["limit"], "latency");
    assert_eq!(printed[0]["held"], 0);
    refused.refusal(1).unwrap();
}

#[test]
fn who_may_not_invite_may_not_load() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let before = users(&alice).unwrap();
    let arguments = [&SMALL[..], &["5"]].concat();
    bob.first().unwrap().run(arguments).unwrap().refusal(1).unwrap();
    assert_eq!(users(&alice).unwrap(), before);
}
