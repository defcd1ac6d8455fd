//! What a message costs: `cargo bench -p unhidra-pair`. CPU time, beside one X25519 measured in the same run.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement that can't go on ends"
)]

mod measure;
#[path = "../../tests/pair/network.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod network;
mod ours;

fn main() {
    // `cargo test --benches` and runners of tests ask with arguments; there is nothing to test.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let unit = ours::diffie_hellman();
    let mut rows = ours::kem();
    rows.extend(ours::setup());
    rows.extend(ours::messages());
    rows.extend(ours::epoch());
    rows.push(ours::storing());
    measure::print(
        &[measure::Row {
            ..ours::diffie_hellman()
        }],
        &unit,
    );
    measure::print(&rows, &unit);
    for (name, bytes) in ours::state_sizes() {
        println!("{:<52} {bytes:>9} B", format!("state, {name}"));
    }
}
