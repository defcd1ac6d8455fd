//! Instructions of the server for each unit of work, beside those that were counted before.
//!
//! A server under callgrind does each piece of work twice, once little and once more of it: what the difference took,
//! divided by the difference, is the cost of a unit without what came with the beginning and the end. One message is on
//! its way at a time, so that nothing depends on how well writes coalesce.

use std::{fmt::Write as _, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use unhidra_load::{
    flow::{self, Connected, Pace, Plan},
    history::{self, Reading},
    report::{Report, Row},
    seat::Lane,
};

use super::{
    About, Bench,
    callgrind::{Callgrind, Counter},
    subject::{OURS, Ours, Transport},
};

/// Groups of the larger server: one warms it and is spoken to, one connects, and one has a log.
const GROUPS: u32 = 3;
/// Listeners of one speaker.
const LISTENERS: u32 = 50;
const PAIRS: u32 = 10;
/// How long little work takes, and more.
const LITTLE: Duration = Duration::from_secs(3);
const MORE: Duration = Duration::from_secs(12);
/// Entries of a log, and of a page of it.
const ENTRIES: u64 = 2_000;
const PAGE: u32 = 50;
/// So much more than before is a failure: several times what repeated counts differ by.
const TOLERANCE: f64 = 0.1;

/// How often, and beside what.
#[derive(Args, Clone, Debug)]
pub struct Extent {
    /// The server's program
    #[arg(long)]
    pub program: PathBuf,
    /// How often
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// The counts to compare with
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// The commit that is counted
    #[arg(long, default_value = "unknown")]
    pub commit: String,
    /// Where the JSON goes
    #[arg(long)]
    pub output: Option<PathBuf>,
}

/// Counts everything.
///
/// # Errors
/// When valgrind can't be run, or a server fails.
pub fn run(bench: &mut Bench, extent: &Extent) -> anyhow::Result<Report> {
    let callgrind = Callgrind::new()?;
    for number in 1..=extent.runs {
        bench.progress.say(&format!("run {number} of {}", extent.runs));
        crowd(bench, &callgrind, extent)?;
        pairs(bench, &callgrind, extent)?;
    }
    Ok(std::mem::take(&mut bench.report))
}

/// The counts beside those of the baseline, as a Markdown table.
///
/// # Errors
/// When the baseline can't be read, or a unit takes much more than it did; with the table.
pub fn compare(extent: &Extent, report: &Report) -> anyhow::Result<String> {
    let before: Option<Report> = match &extent.baseline {
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            Some(serde_json::from_str(&text).context("read the counts before")?)
        }
        None => None,
    };
    let known: Vec<Row> = before.as_ref().map(Report::rows).unwrap_or_default();
    let (mut table, mut grown) = (
        "| scenario | measure | now | from - to | before | change |\n|---|---|---:|---:|---:|---:|"
            .to_owned(),
        Vec::new(),
    );
    for row in report.rows() {
        let before = known
            .iter()
            .find(|known| (&known.scenario, &known.measure) == (&row.scenario, &row.measure))
            .map(|known| known.value);
        // Writing to a string does not fail.
        let _infallible = write!(
            table,
            "\n| {} | {} | {:.0} | {:.0} - {:.0} |",
            row.scenario, row.measure, row.value, row.range.0, row.range.1
        );
        let Some(before) = before else {
            table.push_str(" | |");
            continue;
        };
        let change = row.value / before.max(1.0) - 1.0;
        let _infallible = write!(table, " {before:.0} | {:+.1} % |", change * 100.0);
        if change > TOLERANCE {
            grown.push(row.scenario.clone());
        }
    }
    if !grown.is_empty() {
        bail!(
            "more instructions than before by over {:.0} %: {}\n\n{table}",
            TOLERANCE * 100.0,
            grown.join(", ")
        );
    }
    Ok(table)
}

const fn about(scenario: &str) -> About<'_> {
    About {
        scenario,
        subject: OURS,
    }
}

/// Connecting, one who speaks to many, and pages of what was said, on one server.
fn crowd(bench: &mut Bench, callgrind: &Callgrind, extent: &Extent) -> anyhow::Result<()> {
    let program = callgrind.program(&extent.program);
    let mut ours = Ours::start_as(bench, &program, Transport::Plain, Vec::new())?;
    let opening = ours.population.groups(GROUPS, LISTENERS, &bench.progress);
    let lanes = bench.runtime.block_on(opening)?;
    let log = lanes.last().context("there are groups")?;
    let filling = history::fill(&log.speaker, ENTRIES, &bench.progress);
    bench.runtime.block_on(filling)?;
    // A server that has just been started knows no token.
    ours.restart()?;
    let lanes = bench.runtime.block_on(ours.population.lanes())?;
    let [lane, strangers, log] = lanes.as_slice() else {
        bail!("there are three groups");
    };
    let mut counter = callgrind.count(ours.server.pid()?)?;
    let connection = connect(bench, &mut counter, [lane, strangers])?;
    bench.sample(about("connect"), "instructions per connection", connection, "")?;
    let lane = std::slice::from_ref(lane);
    let delivery = per_message(bench, &mut counter, lane, Counting::Deliveries)?;
    bench.sample(about("fanout-1-50"), "instructions per delivery", delivery, "")?;
    let conversation = log.conversation();
    let account = ours
        .population
        .accounts
        .last_mut()
        .context("groups have members")?;
    let mut pages = |duration| {
        let reading = Reading {
            conversation,
            entries: ENTRIES,
            page: PAGE,
            readers: 1,
            duration,
        };
        counter.read()?;
        let pages = bench.runtime.block_on(history::read(account, reading, None))?;
        anyhow::Ok((counter.read()?, pages.requests))
    };
    let page = difference(pages(LITTLE)?, pages(MORE)?)?;
    bench.sample(about("history"), "instructions per page of 50", page, "")
}

/// The first lane warms the server, the second is counted.
fn connect(bench: &Bench, counter: &mut Counter, lanes: [&Lane; 2]) -> anyhow::Result<f64> {
    let mut open = |lane: &Lane| {
        counter.read()?;
        let opening = Connected::open(std::slice::from_ref(lane), &bench.progress);
        let connected = bench.runtime.block_on(opening)?;
        let counted = (counter.read()?, connected.count());
        bench.runtime.block_on(connected.close());
        anyhow::Ok(counted)
    };
    let [warming, counted] = lanes;
    open(warming)?;
    let (instructions, connections) = open(counted)?;
    Ok(instructions as f64 / connections as f64)
}

fn pairs(bench: &mut Bench, callgrind: &Callgrind, extent: &Extent) -> anyhow::Result<()> {
    let program = callgrind.program(&extent.program);
    let mut ours = Ours::start_as(bench, &program, Transport::Plain, Vec::new())?;
    let opening = ours.population.groups(PAIRS, 1, &bench.progress);
    let lanes = bench.runtime.block_on(opening)?;
    let mut counter = callgrind.count(ours.server.pid()?)?;
    let message = per_message(bench, &mut counter, &lanes, Counting::Messages)?;
    bench.sample(about("p2p-10"), "instructions per message", message, "")
}

/// What a flow is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counting {
    /// Entries that anyone got, the speaker's own included.
    Deliveries,
    /// Messages.
    Messages,
}

fn per_message(
    bench: &Bench,
    counter: &mut Counter,
    lanes: &[Lane],
    counting: Counting,
) -> anyhow::Result<f64> {
    let mut flow = |duration| {
        let connected = bench.runtime.block_on(Connected::open(lanes, &bench.progress))?;
        counter.read()?;
        let plan = Plan {
            warm_up: Duration::ZERO,
            ..Plan::new(Pace::Window(1), duration)
        };
        let flow = flow::run(connected, plan, None, &bench.progress);
        let flow = bench.runtime.block_on(flow)?;
        flow.verdict()?;
        let each = lanes.first().map_or(0, |lane| lane.listeners.len() as u64 + 1);
        let units = match counting {
            Counting::Deliveries => flow.sent * each,
            Counting::Messages => flow.sent,
        };
        anyhow::Ok((counter.read()?, units))
    };
    // Whoever does it for the first time fills caches.
    flow(LITTLE)?;
    difference(flow(LITTLE)?, flow(MORE)?)
}

/// Instructions of one unit, from those of few and those of many.
fn difference((little, few): (u64, u64), (more, many): (u64, u64)) -> anyhow::Result<f64> {
    ensure!(
        many > few && more > little,
        "{many} units are not more than {few}"
    );
    Ok((more - little) as f64 / (many - few) as f64)
}

#[cfg(test)]
mod tests {
    use unhidra_load::report::Sample;

    use super::*;

    fn report(value: f64) -> Report {
        let mut report = Report::default();
        report.add(Sample {
            scenario: "history".to_owned(),
            measure: "instructions per page".to_owned(),
            subject: OURS.to_owned(),
            value,
            unit: String::new(),
            load: 1.0,
        });
        report
    }

    #[test]
    fn more_instructions_than_before_fail_and_fewer_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let baseline = folder.path().join("before.json");
        fs::write(&baseline, report(1_000.0).json().unwrap()).unwrap();
        let extent = Extent {
            program: PathBuf::new(),
            runs: 1,
            baseline: Some(baseline),
            commit: String::new(),
            output: None,
        };
        let table = compare(&extent, &report(900.0)).unwrap();
        assert!(table.contains("| 900 | 900 - 900 | 1000 | -10.0 % |"), "{table}");
        assert!(compare(&extent, &report(1_050.0)).is_ok());
        let grown = compare(&extent, &report(1_200.0)).unwrap_err().to_string();
        assert!(grown.contains("history") && grown.contains("+20.0 %"), "{grown}");
    }

    #[test]
    fn what_both_runs_have_in_common_costs_no_unit_anything() {
        assert_eq!(difference((1_100, 10), (3_100, 210)).unwrap(), 10.0);
        assert!(difference((1_100, 10), (3_100, 10)).is_err());
    }
}
