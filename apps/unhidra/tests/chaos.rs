//! Two thousand lines of real text, a server killed twice, each of four clients once, a network cut once: nothing is
//! lost, repeated or out of order, and the server has learnt nothing. `UNHIDRA_SEED` replays a run; `cargo xtask chaos`
//! does it longer, in network namespaces and with a full disk.

use unhidra_testkit::{
    Program, Seed, blind,
    chaos::{self, Ground, Network, Plan},
};

#[test]
fn every_line_arrives_once_in_order_through_kills_and_cuts_and_the_server_stays_blind() {
    let plan = Plan {
        lines: 2_000,
        server_kills: 2,
        client_kills: 1,
        cuts: 1,
        full_disks: 0,
        seed: Seed::from_environment().unwrap(),
    };
    let ground = Ground {
        network: Network::proxy().unwrap(),
        disk: None,
    };
    let program = Program::at(env!("CARGO_BIN_EXE_unhidra"));
    let mut aftermath = chaos::run(&program, ground, plan, &mut |line| println!("{line}")).unwrap();
    let report = blind::check(&aftermath).unwrap();
    println!(
        "{} secrets, {} MiB of memory",
        report.secrets,
        report.memory_bytes >> 20
    );
    report.verdict().unwrap();
    chaos::go_on_from_the_backup(&mut aftermath, &mut |line| println!("{line}")).unwrap();
}
