//! Messages through conversations: the same lanes on ours, by TLS or not, and on the reference servers.

use std::time::Duration;

use unhidra_load::{
    flow::{Pace, Plan},
    measure::Watched,
    seat::Lane,
};

use super::Scenario;
use crate::bench::{
    About, Bench, Counted, Size,
    subject::{self, LIMIT, LIMIT_FSYNC, OTHER, OURS, OURS_TLS, Ours, Reference, Transport},
};

/// Messages on the way in a fan-out: fewer than a connection of the server may have waiting.
const FANOUT_WINDOW: u32 = 200;
/// Messages on the way of each pair.
const PAIR_WINDOW: u32 = 8;
/// Messages a second.
const RATE: f64 = 100.0;

/// What flows where.
pub(in crate::bench) struct Shape {
    pub(in crate::bench) lanes: u32,
    pub(in crate::bench) listeners: u32,
    pub(in crate::bench) pace: Pace,
    counted: Counted,
}

/// A server, ready.
struct Ready {
    name: &'static str,
    watched: Watched,
    lanes: Vec<Lane>,
    _server: Server,
}

enum Server {
    Ours { _ours: Box<Ours> },
    Reference { _reference: Reference },
}

pub(in crate::bench) fn shape(scenario: Scenario, size: Size) -> Shape {
    let quick = size == Size::Quick;
    let fanout = |listeners, pace| Shape {
        lanes: 1,
        listeners,
        pace,
        counted: Counted::Deliveries,
    };
    match scenario {
        Scenario::Fanout100Rate => fanout(if quick { 10 } else { 100 }, Pace::Rate(RATE)),
        Scenario::Fanout1k => fanout(if quick { 20 } else { 999 }, Pace::Window(FANOUT_WINDOW)),
        Scenario::Pairs => Shape {
            lanes: if quick { 5 } else { 50 },
            listeners: 1,
            pace: Pace::Window(PAIR_WINDOW),
            counted: Counted::Messages,
        },
        _ => fanout(if quick { 10 } else { 100 }, Pace::Window(FANOUT_WINDOW)),
    }
}

pub(super) fn run(bench: &mut Bench, scenario: Scenario) -> anyhow::Result<()> {
    let shape = shape(scenario, bench.options.size);
    let mut ready = vec![
        ours(bench, &shape, OURS, Transport::Plain)?,
        reference(bench, &shape, LIMIT)?,
        reference(bench, &shape, LIMIT_FSYNC)?,
        ours(bench, &shape, OURS_TLS, Transport::Tls)?,
    ];
    if bench.options.other.is_some() {
        ready.push(ours(bench, &shape, OTHER, Transport::Plain)?);
    }
    let plan = Plan {
        warm_up: bench.options.duration.min(Duration::from_secs(1)),
        ..Plan::new(shape.pace, bench.options.duration)
    };
    for _ in 0..bench.options.runs {
        for server in &ready {
            let flow = subject::flow(bench, &server.lanes, plan, server.watched)?;
            let about = About {
                scenario: scenario.name(),
                subject: server.name,
            };
            bench.flow(about, &flow, shape.counted)?;
        }
    }
    Ok(())
}

fn ours(bench: &Bench, shape: &Shape, name: &'static str, transport: Transport) -> anyhow::Result<Ready> {
    let program = match (&bench.options.other, name) {
        (Some(other), OTHER) => other,
        _ => &bench.options.program,
    };
    let mut ours = Box::new(Ours::start_program(bench, program, transport, Vec::new())?);
    let opening = ours
        .population
        .groups(shape.lanes, shape.listeners, &bench.progress);
    let lanes = bench.runtime.block_on(opening)?;
    Ok(Ready {
        name,
        watched: ours.watched()?,
        lanes,
        _server: Server::Ours { _ours: ours },
    })
}

fn reference(bench: &Bench, shape: &Shape, name: &'static str) -> anyhow::Result<Ready> {
    let reference = Reference::start(bench, name)?;
    Ok(Ready {
        name,
        watched: reference.watched(),
        lanes: reference.lanes(shape.lanes, shape.listeners),
        _server: Server::Reference {
            _reference: reference,
        },
    })
}
