//! What one look at a limit costs: `cargo bench -p unhidra-runtime --bench rate`.
#![expect(clippy::unwrap_used, reason = "a measurement that can't be made ends")]

use std::{
    hint::black_box,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use unhidra_runtime::{Limiter, Rate, Subscriber, rate::Cell};

const TIMES: u32 = 1_000_000;
const CAPACITY: usize = 16_384;

fn main() {
    let rate: Rate = "50/s burst 1000".parse().unwrap();
    let began = Instant::now();
    let mut cell = Cell::default();
    measure("one connection's messages", |_| {
        black_box(cell.take(&rate, began.elapsed())).is_ok()
    });
    let limiter = Limiter::new(rate, CAPACITY);
    let few: Vec<_> = (0..1_000).map(network).collect();
    measure("1,000 networks that come again", |number| {
        let network = few[usize::try_from(number).unwrap() % few.len()];
        limiter.take(network, began.elapsed()).is_ok()
    });
    measure("a new network each time", |number| {
        limiter.take(network(number), began.elapsed()).is_ok()
    });
    println!("{} networks are remembered", limiter.remembered());
}

fn network(number: u32) -> Subscriber {
    IpAddr::from(Ipv6Addr::from_bits(u128::from(number) << 64)).into()
}

fn measure(what: &str, mut take: impl FnMut(u32) -> bool) {
    let begin = Instant::now();
    let taken = (0..TIMES).filter(|number| take(*number)).count();
    let each = begin.elapsed() / TIMES;
    println!(
        "{what:32} {:>5} ns, {taken} of {TIMES} let through",
        each.as_nanos()
    );
    assert!(each < Duration::from_micros(5), "far too slow");
}
