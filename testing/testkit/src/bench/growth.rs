//! How costs run with size: one delivery against connections and against conversations, and a page against the length of
//! its log. None of them may grow.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use unhidra_load::{
    day::{self, Errands, Trouble},
    flow::{self, Connected, Pace, Plan},
    history::{self, Reading},
    report::{Report, median},
    seat::Lane,
};

use super::{
    Bench,
    subject::{Ours, Transport},
};

/// Connections that one device may have.
const CONNECTIONS_PER_DEVICE: u32 = 4;
/// Members of the conversation in which is spoken, and how often a second.
const LISTENERS: u32 = 50;
const RATE: f64 = 100.0;
/// Devices that are in all conversations.
const DEVICES: u32 = 20;
/// Messages a second of all of them, to all conversations in turn.
const DEVICES_RATE: f64 = 250.0;
/// Entries of a page.
const PAGE: u32 = 50;
/// A cost may be so far from the middle of all.
const TOLERANCE: f64 = 0.1;

/// How far and how often.
#[derive(Args, Clone, Debug)]
pub struct Extent {
    /// The server's program
    #[arg(long)]
    pub program: PathBuf,
    /// Runs of each size
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Seconds of one measurement
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The most connections
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    /// The most conversations
    #[arg(long, default_value_t = 10_000)]
    conversations: u32,
    /// The longest log
    #[arg(long, default_value_t = 10_000_000)]
    entries: u64,
    /// The commit that is measured
    #[arg(long, default_value = "unknown")]
    pub commit: String,
    /// Where the JSON goes
    #[arg(long)]
    pub output: Option<PathBuf>,
}

/// How a cost runs with a size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curves {
    /// The commit that was measured.
    #[serde(default)]
    pub commit: String,
    /// Where.
    #[serde(default)]
    pub machine: String,
    /// By which command.
    #[serde(default)]
    pub command: String,
    /// One for each size that grows.
    pub curves: Vec<Curve>,
}

/// One cost against one size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// What grows.
    pub size: String,
    /// What is measured, with its unit.
    pub cost: String,
    /// The costs of each size, run by run.
    pub points: BTreeMap<u64, Vec<f64>>,
}

/// Measures all curves.
///
/// # Errors
/// When a server does not start, or loses a message.
pub fn run(bench: &Bench, extent: &Extent, about: &Report) -> anyhow::Result<Curves> {
    Ok(Curves {
        commit: about.commit.clone(),
        machine: about.machine.clone(),
        command: about.command.clone(),
        curves: vec![
            connections(bench, extent)?,
            conversations(bench, extent)?,
            log_length(bench, extent)?,
        ],
    })
}

/// One speaks to fifty at a fixed rate, while more and more others are connected and silent.
fn connections(bench: &Bench, extent: &Extent) -> anyhow::Result<Curve> {
    let mut curve = Curve::new("connections", "CPU per delivery (us)");
    let mut ours = Ours::start(bench, Transport::Plain)?;
    let server = ours.watched()?;
    let others = extent.connections.div_ceil(CONNECTIONS_PER_DEVICE);
    let opening = async {
        let mut groups = ours.population.groups(1, LISTENERS, &bench.progress).await?;
        let group = groups.pop().context("there is a group")?;
        ours.population
            .grow(LISTENERS + 1 + others, &bench.progress)
            .await?;
        let mut idle = Vec::new();
        for account in ours.population.accounts.iter_mut().skip(LISTENERS as usize + 1) {
            let seat = account.seat(group.conversation()).await?;
            idle.push(Lane {
                speaker: seat.clone(),
                listeners: vec![seat; CONNECTIONS_PER_DEVICE as usize - 1],
            });
        }
        anyhow::Ok((group, idle))
    };
    let (group, idle) = bench.runtime.block_on(opening)?;
    let plan = Plan::new(Pace::Rate(RATE), extent.duration()?);
    for _ in 0..extent.runs {
        for size in sizes(100, u64::from(extent.connections)) {
            let silent = u32::try_from(size)?.saturating_sub(LISTENERS + 1) / CONNECTIONS_PER_DEVICE;
            let measuring = async {
                let kept =
                    Connected::open(idle.get(..silent as usize).unwrap_or(&idle), &bench.progress).await?;
                let speaking = Connected::open(std::slice::from_ref(&group), &bench.progress).await?;
                let flow = flow::run(speaking, plan, Some(server), &bench.progress).await;
                drop(kept);
                flow
            };
            let flow = bench.runtime.block_on(measuring)?;
            flow.verdict()?;
            curve.add(bench, size, flow.server.cpu_us_per(flow.deliveries));
        }
    }
    Ok(curve)
}

/// Twenty devices speak in more and more conversations, in all of them in turn, at a rate that stays the same.
fn conversations(bench: &Bench, extent: &Extent) -> anyhow::Result<Curve> {
    let mut curve = Curve::new("conversations", "CPU per delivery (us)");
    for size in sizes(1, u64::from(extent.conversations)) {
        let mut ours = Ours::start(bench, Transport::Plain)?;
        let server = ours.watched()?;
        let duration = extent.duration()?;
        let plan = day::Plan {
            devices: DEVICES,
            conversations: u32::try_from(size)?,
            members: DEVICES,
            rate: DEVICES_RATE,
            receipt_every: 0,
            errands: Errands::default(),
            trouble: Trouble::default(),
            warm_up: Duration::from_secs(2),
            duration: Duration::from_secs(2) + duration * extent.runs,
            tell_every: duration,
        };
        let living = day::live(&mut ours.population, plan, server, &bench.progress);
        let day = bench.runtime.block_on(living)?;
        ensure!(
            day.lost == 0 && day.duplicated == 0,
            "messages were lost or came twice"
        );
        // The first line is of the warm-up.
        for line in day.lines.iter().skip(1) {
            curve.add(bench, size, line.processors * 1e6 / line.received_per_s.max(1.0));
        }
    }
    Ok(curve)
}

/// Pages from anywhere in a log that grows.
fn log_length(bench: &Bench, extent: &Extent) -> anyhow::Result<Curve> {
    let mut curve = Curve::new("entries of the log", "CPU per page of 50 (us)");
    let mut ours = Ours::start(bench, Transport::Plain)?;
    let server = ours.watched()?;
    let opening = ours.population.groups(1, 1, &bench.progress);
    let mut groups = bench.runtime.block_on(opening)?;
    let group = groups.pop().context("there is a group")?;
    let mut length = 0;
    for size in sizes(10_000, extent.entries) {
        let filling = history::fill(&group.speaker, size - length, &bench.progress);
        bench.runtime.block_on(filling)?;
        length = size;
        let reader = ours.population.accounts.first_mut().context("somebody reads")?;
        for _ in 0..extent.runs {
            let reading = Reading {
                conversation: group.conversation(),
                entries: size,
                page: PAGE,
                readers: 1,
                duration: extent.duration()?,
            };
            let pages = bench
                .runtime
                .block_on(history::read(reader, reading, Some(server)))?;
            curve.add(bench, size, pages.server.cpu_us_per(pages.requests));
        }
    }
    Ok(curve)
}

/// From `first`, each ten times the one before, to `last`.
fn sizes(first: u64, last: u64) -> Vec<u64> {
    let mut sizes: Vec<u64> = std::iter::successors(Some(first), |size| size.checked_mul(10))
        .take_while(|size| *size < last)
        .collect();
    sizes.push(last);
    sizes
}

impl Extent {
    fn duration(&self) -> anyhow::Result<Duration> {
        Duration::try_from_secs_f64(self.seconds).context("a measurement takes some time")
    }
}

impl Curves {
    /// Each curve with its costs, and whether it is flat.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = format!(
            "Commit `{}`, {}, by `{}`.\n\n| against | cost | {} | flat within 10 % |\n|---|---|---|---|\n",
            self.commit, self.machine, self.command, "median at each size"
        );
        for curve in &self.curves {
            let medians = curve.medians();
            let shown: Vec<String> = medians
                .iter()
                .map(|(size, cost)| format!("{size}: {cost:.1}"))
                .collect();
            let flat = if curve.is_flat() { "yes" } else { "**no**" };
            table.push_str(&format!(
                "| {} | {} | {} | {flat} |\n",
                curve.size,
                curve.cost,
                shown.join(", ")
            ));
        }
        table
    }
}

impl Curve {
    fn new(size: &str, cost: &str) -> Self {
        Self {
            size: size.to_owned(),
            cost: cost.to_owned(),
            points: BTreeMap::new(),
        }
    }

    fn add(&mut self, bench: &Bench, size: u64, cost: f64) {
        bench
            .progress
            .say(&format!("{} {size}: {} {cost:.2}", self.size, self.cost));
        self.points.entry(size).or_default().push(cost);
    }

    /// The median of each size.
    #[must_use]
    pub fn medians(&self) -> Vec<(u64, f64)> {
        let medians = self
            .points
            .iter()
            .filter_map(|(size, costs)| Some((*size, median(costs)?)));
        medians.collect()
    }

    /// Whether no size costs more than a tenth more than the middle of all, or less.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        let medians = self.medians();
        let costs: Vec<f64> = medians.iter().map(|(_, cost)| *cost).collect();
        let middle = median(&costs).unwrap_or_default();
        costs
            .iter()
            .all(|cost| (cost - middle).abs() <= middle * TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_tenfold_and_end_where_they_should() {
        assert_eq!(sizes(100, 10_000), [100, 1_000, 10_000]);
        assert_eq!(sizes(1, 50), [1, 10, 50]);
        assert_eq!(sizes(100, 100), [100]);
    }

    #[test]
    fn a_curve_is_flat_when_every_size_costs_about_the_same() {
        let mut curve = Curve::new("connections", "us");
        curve.points = [(1, vec![10.0, 30.0, 9.0]), (10, vec![10.5]), (100, vec![9.2])].into();
        assert!(curve.is_flat());
        curve.points.insert(1_000, vec![12.0]);
        assert!(!curve.is_flat());
    }
}
