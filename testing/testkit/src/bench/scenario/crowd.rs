//! Many devices: what a connection costs that does nothing, and what it costs when all return at once.
//!
//! Each run begins with a server that has just been started: memory that an earlier run has left would flatter the next.

use std::{thread, time::Duration};

use unhidra_load::{
    Target,
    flow::Connected,
    measure::{Usage, Watched},
    seat::Lane,
    storm::{self, Storm},
};

use crate::bench::{
    About, Bench, Size,
    subject::{LIMIT_FSYNC, OURS, OURS_RESUMED, OURS_TLS, Ours, Reference, Transport},
};

/// Groups, and listeners of each: ten thousand listeners.
const GROUPS: u32 = 100;
const LISTENERS: u32 = 100;
const QUICK_GROUPS: u32 = 4;
const QUICK_LISTENERS: u32 = 5;
/// After which what was needed for connecting is given back.
const SETTLING: Duration = Duration::from_secs(2);
const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// A server with many accounts.
pub(in crate::bench) struct Crowd {
    transport: Transport,
    ours: Ours,
}

impl Crowd {
    /// The one that is there, or a new one.
    pub(in crate::bench) fn of(bench: &mut Bench, transport: Transport) -> anyhow::Result<Self> {
        if let Some(place) = bench.crowds.iter().position(|crowd| crowd.transport == transport) {
            return Ok(bench.crowds.swap_remove(place));
        }
        let (groups, listeners) = size(bench);
        let mut ours = Ours::start(bench, transport)?;
        let opening = ours.population.groups(groups, listeners, &bench.progress);
        bench.runtime.block_on(opening)?;
        Ok(Self { transport, ours })
    }

    /// A server that has just been started, and who sits where.
    pub(in crate::bench) fn fresh(&mut self, bench: &Bench) -> anyhow::Result<(Vec<Lane>, Watched)> {
        self.ours.restart()?;
        let lanes = bench.runtime.block_on(self.ours.population.lanes())?;
        Ok((lanes, self.ours.watched()?))
    }
}

fn size(bench: &Bench) -> (u32, u32) {
    match bench.options.size {
        Size::Whole => (GROUPS, LISTENERS),
        Size::Quick => (QUICK_GROUPS, QUICK_LISTENERS),
    }
}

pub(super) fn connect(bench: &mut Bench) -> anyhow::Result<()> {
    let mut plain = Crowd::of(bench, Transport::Plain)?;
    let mut tls = Crowd::of(bench, Transport::Tls)?;
    let (groups, listeners) = size(bench);
    for _ in 0..bench.options.runs {
        let (lanes, watched) = plain.fresh(bench)?;
        connect_all(bench, OURS, &lanes, watched)?;
        let reference = Reference::start(bench, LIMIT_FSYNC)?;
        let lanes = reference.lanes(groups, listeners);
        connect_all(bench, LIMIT_FSYNC, &lanes, reference.watched())?;
        let (lanes, watched) = tls.fresh(bench)?;
        connect_all(bench, OURS_TLS, &lanes, watched)?;
        let (lanes, watched) = tls.fresh(bench)?;
        let resuming: Target = tls.ours.resuming()?;
        let lanes: Vec<Lane> = lanes.into_iter().map(|lane| lane.through(&resuming)).collect();
        connect_all(bench, OURS_RESUMED, &lanes, watched)?;
    }
    bench.crowds.extend([plain, tls]);
    Ok(())
}

fn connect_all(bench: &mut Bench, subject: &str, lanes: &[Lane], server: Watched) -> anyhow::Result<()> {
    let before = server.usage()?;
    let connected = bench.runtime.block_on(Connected::open(lanes, &bench.progress))?;
    thread::sleep(SETTLING);
    let after = server.usage()?;
    let count = connected.count();
    let about = About {
        scenario: "conn-10k",
        subject,
    };
    let spent = after.since(&before);
    bench.sample(about, "CPU per connection", spent.cpu_us_per(count), "us")?;
    let grown = after.resident.saturating_sub(before.resident);
    let each = grown as f64 / KIB / count as f64;
    bench.sample(about, "resident per connection", each, "KiB")?;
    let idle = idle(server)?;
    bench.sample(about, "CPU of a second with all idle", idle, "ms")?;
    bench.runtime.block_on(connected.close());
    Ok(())
}

/// Milliseconds of processor time in a second.
fn idle(server: Watched) -> anyhow::Result<f64> {
    let before: Usage = server.usage()?;
    thread::sleep(Duration::from_secs(3));
    let spent = server.usage()?.since(&before);
    Ok(spent.cpu.as_secs_f64() * 1e3 / spent.elapsed.as_secs_f64())
}

pub(super) fn storm(bench: &mut Bench) -> anyhow::Result<()> {
    let mut plain = Crowd::of(bench, Transport::Plain)?;
    let mut tls = Crowd::of(bench, Transport::Tls)?;
    for _ in 0..bench.options.runs {
        for (subject, crowd) in [(OURS, &mut plain), (OURS_TLS, &mut tls)] {
            let (lanes, watched) = crowd.fresh(bench)?;
            weather(bench, subject, &lanes, watched)?;
        }
    }
    bench.crowds.extend([plain, tls]);
    Ok(())
}

fn weather(bench: &mut Bench, subject: &str, lanes: &[Lane], server: Watched) -> anyhow::Result<()> {
    let storm = Storm {
        behind: 20,
        within: match bench.options.size {
            Size::Whole => Duration::from_secs(10),
            Size::Quick => Duration::from_secs(1),
        },
        patience: Duration::from_secs(60),
    };
    let running = storm::run(lanes, storm, Some(server), &bench.progress);
    let weathered = bench.runtime.block_on(running)?;
    weathered.verdict()?;
    let about = About {
        scenario: "storm-10k",
        subject,
    };
    let devices = weathered.devices;
    bench.sample(about, "all caught up", weathered.caught_up.as_secs_f64(), "s")?;
    let quantiles = weathered.latencies.quantiles();
    bench.sample(about, "p99 of a device", quantiles.p99.as_secs_f64() * 1e3, "ms")?;
    bench.sample(
        about,
        "CPU per device",
        weathered.server.cpu_us_per(devices),
        "us",
    )?;
    if let Some(memory) = weathered.memory {
        bench.sample(about, "peak memory", memory.peak as f64 / MIB, "MiB")?;
    }
    let turned_away = weathered.turned_away as f64;
    bench.sample(about, "connections turned away", turned_away, "")
}
