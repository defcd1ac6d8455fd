//! Our steps beside vodozemac's, which is Olm: X25519 without a KEM, headers in the clear, no padding.

#[path = "../../benches/pair/measure.rs"]
mod measure;
#[path = "../../tests/pair/network.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod network;
#[path = "../../benches/pair/ours.rs"]
#[expect(dead_code, reason = "the benchmark uses the rest")]
mod ours;
mod vodozemac_rows;

fn main() {
    let unit = ours::diffie_hellman();
    println!("ours");
    let mut rows = ours::setup();
    rows.extend(ours::messages());
    measure::print(&rows, &unit);
    println!("vodozemac 0.11.1, Olm v1");
    measure::print(&vodozemac_rows::all(), &unit);
}
