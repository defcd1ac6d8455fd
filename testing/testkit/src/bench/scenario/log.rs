//! A long log beside a short one: pages of both, and what a message takes on the disk.

use anyhow::Context as _;
use unhidra_load::history::{self, Pages, Reading};
use unhidra_types::ConversationId;

use crate::bench::{
    About, Bench,
    subject::{OURS, Ours, Transport},
};

/// Entries of the short log, or all of a long one that is shorter.
const SHORT: u64 = 10_000;
const PAGE: u32 = 50;
const READERS: u32 = 2;
const ABOUT: About<'static> = About {
    scenario: "history-10m",
    subject: OURS,
};

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let mut ours = Ours::start(bench, Transport::Plain)?;
    let entries = bench.options.entries;
    let short = entries.min(SHORT);
    let opening = ours.population.groups(2, 1, &bench.progress);
    let lanes = bench.runtime.block_on(opening)?;
    let [short_lane, long_lane] = lanes.as_slice() else {
        anyhow::bail!("there are two groups");
    };
    let fill = |lane: &unhidra_load::seat::Lane, messages| {
        let filling = history::fill(&lane.speaker, messages, &bench.progress);
        bench.runtime.block_on(filling)
    };
    fill(short_lane, short)?;
    ours.restart()?;
    let (before, usage) = (ours.stored()?, ours.watched()?.usage()?);
    fill(long_lane, entries)?;
    let spent = ours.watched()?.usage()?.since(&usage);
    ours.stop()?;
    let taken = ours.stored()?.saturating_sub(before);
    ours.server.restart()?;
    // Two accounts are in each group: who spoke is the first one.
    let conversations = [(0, short_lane.conversation()), (2, long_lane.conversation())];
    bench.sample(ABOUT, "rate of appending", spent.rate(entries), "/s")?;
    bench.sample(ABOUT, "CPU per appended message", spent.cpu_us_per(entries), "us")?;
    bench.sample(ABOUT, "disk per message", taken as f64 / entries as f64, "bytes")?;
    for _ in 0..bench.options.runs {
        let [first, second] = conversations;
        let of_short = read(bench, &mut ours, first, short)?;
        let of_long = read(bench, &mut ours, second, entries)?;
        let cpu = |pages: &Pages| pages.server.cpu_us_per(pages.requests);
        let p99 = |pages: &Pages| pages.latencies.quantiles().p99.as_secs_f64() * 1e3;
        for (name, pages) in [("short", &of_short), ("long", &of_long)] {
            bench.sample(ABOUT, &format!("CPU per page, {name} log"), cpu(pages), "us")?;
            bench.sample(ABOUT, &format!("p99 of a page, {name} log"), p99(pages), "ms")?;
        }
        let growth = cpu(&of_long) / cpu(&of_short).max(1e-9);
        bench.sample(ABOUT, "CPU per page, long to short", growth, "x")?;
    }
    Ok(())
}

/// Pages of a log, asked for by the account with this place.
fn read(
    bench: &Bench,
    ours: &mut Ours,
    (account, conversation): (usize, ConversationId),
    entries: u64,
) -> anyhow::Result<Pages> {
    let watched = ours.watched()?;
    let account = ours.population.accounts.get_mut(account);
    let account = account.context("two accounts are in each group")?;
    let reading = Reading {
        conversation,
        entries,
        page: PAGE,
        readers: READERS,
        duration: bench.options.duration,
    };
    bench
        .runtime
        .block_on(history::read(account, reading, Some(watched)))
}
