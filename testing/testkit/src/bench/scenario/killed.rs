//! The server is killed in the middle of everything (`kill -9`) and started again: nothing may be lost, and nothing may
//! be there twice.

use std::{thread, time::Duration};

use anyhow::{Context as _, ensure};
use unhidra_load::flow::{self, Connected, OnLoss, Pace, Plan};

use crate::bench::{
    About, Bench,
    subject::{OURS, Ours, Transport},
};

const GROUPS: u32 = 5;
const LISTENERS: u32 = 4;
/// Messages on the way of each group.
const WINDOW: u32 = 16;
/// Before and after the kill, at least.
const HALF: Duration = Duration::from_secs(2);

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let mut ours = Ours::start(bench, Transport::Plain)?;
    for _ in 0..bench.options.runs {
        let half = bench.options.duration.max(HALF);
        let plan = Plan {
            warm_up: Duration::ZERO,
            on_loss: OnLoss::Reconnect,
            ..Plan::new(Pace::Window(WINDOW), half * 2)
        };
        let opening = ours.population.groups(GROUPS, LISTENERS, &bench.progress);
        let lanes = bench.runtime.block_on(opening)?;
        let connected = bench.runtime.block_on(Connected::open(&lanes, &bench.progress))?;
        let (server, progress) = (&mut ours.server, &bench.progress);
        let flow = thread::scope(|scope| {
            let killer = scope.spawn(move || {
                thread::sleep(half);
                server.kill_nine()?;
                progress.say("the server was killed");
                server.restart()
            });
            let flow = bench.runtime.block_on(flow::run(connected, plan, None, progress));
            let killed = killer.join();
            ensure!(killed.is_ok(), "the server could not be killed");
            if let Ok(killed) = killed {
                killed.context("kill the server and start it again")?;
            }
            flow
        })?;
        flow.verdict()?;
        let about = About {
            scenario: "kill-9",
            subject: OURS,
        };
        bench.sample(about, "messages", flow.sent as f64, "")?;
        bench.sample(about, "lost", flow.lost as f64, "")?;
        bench.sample(about, "duplicated", flow.duplicated as f64, "")?;
        bench.sample(about, "delivered again", flow.repeated as f64, "")?;
    }
    Ok(())
}
