//! Two people make sure of each other's keys: by digits, by a scanned code, on a terminal and in a script.

use anyhow::Context as _;
use serde_json::Value;
use unhidra_testkit::{Device, process::RUN_TIMEOUT, terminal::Terminal};
use unhidra_wire::base64;

use crate::world;

fn shown(device: &Device, peer: &str) -> anyhow::Result<Value> {
    let shown = device.run(["--json", "verify", peer])?.success()?.json()?;
    shown.into_iter().next().context("verify prints an object")
}

fn code(device: &Device, peer: &str) -> anyhow::Result<String> {
    let shown = shown(device, peer)?;
    Ok(shown["code"].as_str().context("it has a code")?.to_owned())
}

fn is_verified(device: &Device, peer: &str) -> anyhow::Result<bool> {
    shown(device, peer)?["verified"].as_bool().context("it says so")
}

#[test]
fn a_scanned_code_of_the_other_device_verifies_and_any_other_does_not() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let carol = world.person("carol").unwrap();
    let (alice, bob) = (alice.first().unwrap(), bob.first().unwrap());
    let bobs = code(bob, "alice").unwrap();
    assert_eq!(base64::decode(&bobs).unwrap().len(), 97);

    let of_another = code(carol.first().unwrap(), "alice").unwrap();
    alice
        .run(["verify", "bob", "--scanned", &of_another])
        .unwrap()
        .refusal(8)
        .unwrap();
    alice
        .run(["verify", "bob", "--scanned", "AAAA"])
        .unwrap()
        .refusal(8)
        .unwrap();
    let mut swapped = base64::decode(&bobs).unwrap();
    // The same people, and carol's key in the place of bob's.
    let carols = base64::decode(&of_another).unwrap();
    swapped[17..49].copy_from_slice(&carols[17..49]);
    let swapped = base64::encode(&swapped);
    let line = alice
        .run(["verify", "bob", "--scanned", &swapped])
        .unwrap()
        .refusal(7)
        .unwrap();
    assert!(line.contains("differ"), "{line}");
    assert!(!is_verified(alice, "bob").unwrap());

    let hex: String = base64::decode(&bobs)
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    alice
        .run(["verify", "bob", "--scanned", &hex])
        .unwrap()
        .success()
        .unwrap();
    assert!(is_verified(alice, "bob").unwrap() && !is_verified(bob, "alice").unwrap());
    let alices = code(alice, "bob").unwrap();
    bob.run(["verify", "alice", "--scanned", &alices])
        .unwrap()
        .success()
        .unwrap();
    assert!(is_verified(bob, "alice").unwrap());
}

#[test]
fn a_terminal_shows_a_code_to_scan_and_a_pipe_does_not() {
    let mut world = world().unwrap();
    let (alice, _bob) = world.alice_and_bob().unwrap();
    let device = alice.first().unwrap();
    let on_terminal = |arguments: &[&str]| {
        let mut terminal = Terminal::start(device.command().args(arguments)).unwrap();
        assert!(terminal.wait(RUN_TIMEOUT).unwrap().success());
        terminal
            .wait_for(RUN_TIMEOUT, |shown| {
                shown.contains("--confirm").then(|| shown.to_owned())
            })
            .unwrap()
    };
    let blocks = |shown: &str| shown.chars().filter(|c| matches!(c, '█' | '▀' | '▄')).count();
    assert!(blocks(&on_terminal(&["verify", "bob"])) > 500);
    assert_eq!(blocks(&on_terminal(&["verify", "bob", "--no-qr"])), 0);
    let piped = device.run(["verify", "bob"]).unwrap().success().unwrap();
    assert_eq!(blocks(&String::from_utf8_lossy(piped.stdout())), 0);
}
