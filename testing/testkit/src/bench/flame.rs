//! Where the time of a scenario goes: one process of it is recorded, drawn as a flame graph, and summed up.

use std::{fmt::Write as _, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use unhidra_load::{
    flow::{self, Connected, Plan},
    measure::Watched,
    sealed,
};

use super::{
    Bench, Size,
    parts::{Part, shares},
    perf::Recording,
    scenario::{
        Crowd, Scenario,
        messages::shape,
        single::{SEALED, devices},
    },
    stacks::Stacks,
    subject::{Ours, Transport},
};
use crate::plot;

/// What is recorded unless named: what misses its target, and pairs beside it.
const USUAL: [Scenario; 4] = [
    Scenario::Fanout100Rate,
    Scenario::Pairs,
    Scenario::Connections,
    Scenario::Sealed,
];
/// A part with less of all scenarios has no row of its own.
const SMALLEST: f64 = 0.01;

/// What is recorded, and where it goes.
#[derive(Args, Clone, Debug)]
pub struct Extent {
    /// The server's program, built with symbols
    #[arg(long)]
    pub program: PathBuf,
    /// What to record
    scenario: Vec<Scenario>,
    /// Seconds of a flow of messages
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// The commit that is recorded
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// The folder of the drawings
    #[arg(long, default_value = ".")]
    output: PathBuf,
}

/// Records and draws each scenario; a table of where the time went.
///
/// # Errors
/// When `perf` can't record, or a scenario fails or has nothing to record.
pub fn run(bench: &mut Bench, extent: &Extent) -> anyhow::Result<String> {
    let scenarios = match extent.scenario.is_empty() {
        true => USUAL.to_vec(),
        false => extent.scenario.clone(),
    };
    let mut recorded = Vec::new();
    for scenario in scenarios {
        bench.progress.say(&format!("scenario {scenario}"));
        let stacks =
            record(bench, extent, scenario).with_context(|| format!("record scenario {scenario}"))?;
        let title = format!(
            "{scenario}: {}, {} samples, commit {}",
            whose(scenario),
            stacks.samples(),
            extent.commit
        );
        let path = extent.output.join(format!("flame-{scenario}.svg"));
        fs::write(&path, plot::flame::svg(&title, &stacks))
            .with_context(|| format!("write {}", path.display()))?;
        recorded.push((scenario, stacks));
    }
    Ok(table(&recorded))
}

const fn whose(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Sealed => "the client that sends",
        Scenario::Connections => "the server while devices connect",
        _ => "the server",
    }
}

fn record(bench: &mut Bench, extent: &Extent, scenario: Scenario) -> anyhow::Result<Stacks> {
    match scenario {
        Scenario::Fanout100 | Scenario::Fanout100Rate | Scenario::Fanout1k | Scenario::Pairs => {
            let duration =
                Duration::try_from_secs_f64(extent.seconds).context("a measurement takes some time")?;
            messages(bench, scenario, duration)
        }
        Scenario::Connections => connections(bench),
        Scenario::Sealed => sending(bench),
        _ => bail!("it has no steady state: name a flow of messages, conn-10k or sealed-p2p"),
    }
}

fn messages(bench: &Bench, scenario: Scenario, duration: Duration) -> anyhow::Result<Stacks> {
    let shape = shape(scenario, Size::Whole);
    let mut ours = Ours::start(bench, Transport::Plain)?;
    let opening = ours
        .population
        .groups(shape.lanes, shape.listeners, &bench.progress);
    let lanes = bench.runtime.block_on(opening)?;
    let connected = bench.runtime.block_on(Connected::open(&lanes, &bench.progress))?;
    let recording = Recording::begin(ours.watched()?)?;
    let plan = Plan::new(shape.pace, duration);
    let flow = bench
        .runtime
        .block_on(flow::run(connected, plan, None, &bench.progress))?;
    let stacks = recording.end()?;
    flow.verdict()?;
    Ok(stacks)
}

fn connections(bench: &mut Bench) -> anyhow::Result<Stacks> {
    let mut crowd = Crowd::of(bench, Transport::Plain)?;
    let (lanes, watched) = crowd.fresh(bench)?;
    let recording = Recording::begin(watched)?;
    let connected = bench.runtime.block_on(Connected::open(&lanes, &bench.progress))?;
    let stacks = recording.end()?;
    bench.runtime.block_on(connected.close());
    Ok(stacks)
}

/// The generator does nothing else meanwhile: it is the client.
fn sending(bench: &Bench) -> anyhow::Result<Stacks> {
    let mut devices = devices(bench)?;
    let peer = devices.receiver.account().user_id;
    let recording = Recording::begin(Watched::own())?;
    let sending = sealed::send(&mut devices.sender, peer, SEALED, None);
    let sent = bench.runtime.block_on(sending)?;
    let stacks = recording.end()?;
    bench
        .runtime
        .block_on(sealed::receive(&mut devices.receiver, sent.messages))?;
    Ok(stacks)
}

/// A column for each scenario, a row for each part; the largest of the first scenario first.
fn table(recorded: &[(Scenario, Stacks)]) -> String {
    let columns: Vec<Vec<(Part, f64)>> = recorded.iter().map(|(_, stacks)| shares(stacks)).collect();
    let mut parts: Vec<Part> = Vec::new();
    for (part, share) in columns.iter().flatten() {
        if *share >= SMALLEST && !parts.contains(part) {
            parts.push(*part);
        }
    }
    let mut table = String::from("| of the processor time |");
    let names = recorded.iter().map(|(scenario, _)| format!(" `{scenario}` |"));
    table.extend(names);
    table.push_str("\n|---|");
    table.extend(recorded.iter().map(|_| "---:|"));
    for part in parts {
        // Writing to a string does not fail.
        let _infallible = write!(table, "\n| {} |", part.name());
        for column in &columns {
            let share = column.iter().find(|(other, _)| *other == part);
            let share = share.map_or(0.0, |(_, share)| share * 100.0);
            let _infallible = write!(table, " {share:.0} % |");
        }
    }
    table
}
