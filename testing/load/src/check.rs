//! How much a deployment carries: the same conversations at ever higher rates, until the first limit shows.
//!
//! A step holds when every message arrives once, in time, and nothing is refused. The generator itself may be the first
//! limit, and is then named as one: what it can't send says nothing of the server.

use std::time::Duration;

use serde::Serialize;

use crate::{
    flow::{self, Connected, Flow, Pace, Plan},
    latency::Quantiles,
    measure::Watched,
    progress::Progress,
    seat::Lane,
};

/// Share of what was meant to be sent that has to be, for a step to say anything of the server.
const LEAST_SENT: f64 = 0.95;
/// Share of all processors beyond which the generator competes with itself.
const BUSY_GENERATOR: f64 = 0.8;

/// What is tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder {
    /// Messages a second of each speaker, in the order of the steps.
    pub rates: Vec<f64>,
    /// How long each step is measured.
    pub duration: Duration,
    /// The longest latency that one message in a hundred may exceed.
    pub most: Duration,
}

/// What ended the climb.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "limit")]
pub enum Limit {
    /// One message in a hundred took longer than asked for.
    Latency {
        /// What it took, in milliseconds.
        p99_ms: f64,
        /// What was asked for, in milliseconds.
        most_ms: f64,
    },
    /// The server refused or closed, and said this.
    Refused {
        /// Its words.
        reason: String,
    },
    /// Messages were lost, or came twice: a fault of the server.
    Lost {
        /// How many never arrived.
        lost: u64,
        /// How many stand twice.
        duplicated: u64,
    },
    /// This machine could not send as fast as it was meant to.
    Generator {
        /// Share of its processors that were busy with sending and listening.
        busy: f64,
    },
}

/// One rate, held for a while.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Messages a second that were meant to be sent, over all speakers.
    pub intended: f64,
    /// Messages a second that were accepted.
    pub accepted: f64,
    /// Messages a second that arrived, over all listeners.
    pub delivered: f64,
    /// Half of them arrived within so many milliseconds.
    pub p50_ms: f64,
    /// All but one in a hundred did.
    pub p99_ms: f64,
    /// Processor time of the server for each delivery, in microseconds, if it is watched.
    pub server_us: Option<f64>,
    /// Resident memory of the server in MiB, if it is watched.
    pub server_mib: Option<f64>,
}

/// What the deployment carried, and what ended it.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Every step that was measured; with a limit, the last one may be the one that did not hold.
    pub steps: Vec<Step>,
    /// How many of them held.
    pub held: usize,
    /// `None` when every step held.
    pub limit: Option<Limit>,
}

impl Verdict {
    /// The highest step that held.
    #[must_use]
    pub fn best(&self) -> Option<&Step> {
        self.steps.get(..self.held)?.last()
    }
}

/// Climbs until the first limit. `server` is watched if it runs on this machine.
///
/// # Errors
/// When connections can't be opened at all; what happens during a step is a [`Limit`].
pub async fn climb(
    lanes: &[Lane],
    ladder: &Ladder,
    server: Option<Watched>,
    progress: &Progress,
) -> anyhow::Result<Verdict> {
    let speakers = lanes.len() as f64;
    let mut verdict = Verdict {
        steps: Vec::new(),
        held: 0,
        limit: None,
    };
    for &rate in &ladder.rates {
        progress.say(&format!(
            "{:.0} messages a second for {:.0} s",
            rate * speakers,
            ladder.duration.as_secs_f64()
        ));
        let connected = Connected::open(lanes, progress).await?;
        let plan = Plan::new(Pace::Rate(rate), ladder.duration);
        let flow = match flow::run(connected, plan, server, progress).await {
            Ok(flow) => flow,
            Err(error) => {
                let reason = format!("{error:#}");
                verdict.limit = Some(Limit::Refused { reason });
                return Ok(verdict);
            }
        };
        let step = Step::of(&flow, rate * speakers, server)?;
        let limit = limit_of(&flow, &step, ladder.most);
        verdict.steps.push(step);
        if limit.is_some() {
            verdict.limit = limit;
            return Ok(verdict);
        }
        verdict.held += 1;
    }
    Ok(verdict)
}

impl Step {
    fn of(flow: &Flow, intended: f64, server: Option<Watched>) -> anyhow::Result<Self> {
        let Quantiles { p50, p99, .. } = flow.latencies.quantiles();
        let resident = server.map(Watched::usage).transpose()?;
        Ok(Self {
            intended,
            accepted: flow.server.rate(flow.messages),
            delivered: flow.server.rate(flow.deliveries),
            p50_ms: millis(p50),
            p99_ms: millis(p99),
            server_us: server.map(|_| flow.server.cpu_us_per(flow.deliveries)),
            server_mib: resident.map(|usage| usage.resident as f64 / f64::from(1 << 20)),
        })
    }
}

fn limit_of(flow: &Flow, step: &Step, most: Duration) -> Option<Limit> {
    if flow.lost > 0 || flow.duplicated > 0 {
        return Some(Limit::Lost {
            lost: flow.lost,
            duplicated: flow.duplicated,
        });
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let busy =
        flow.generator.cpu.as_secs_f64() / flow.generator.elapsed.as_secs_f64().max(1e-9) / processors as f64;
    if step.accepted < step.intended * LEAST_SENT && busy > BUSY_GENERATOR {
        return Some(Limit::Generator { busy });
    }
    (step.p99_ms > millis(most)).then(|| Limit::Latency {
        p99_ms: step.p99_ms,
        most_ms: millis(most),
    })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use crate::{latency::Latencies, measure::Spent};

    use super::*;

    fn flow(latency: Duration) -> Flow {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(latency);
        let spent = Spent {
            elapsed: Duration::from_secs(1),
            ..Spent::default()
        };
        Flow {
            messages: 100,
            deliveries: 1_000,
            server: spent,
            generator: spent,
            latencies,
            lost: 0,
            duplicated: 0,
            repeated: 0,
            sent: 100,
        }
    }

    fn limit(flow: &Flow, intended: f64) -> Option<Limit> {
        let step = Step::of(flow, intended, None).unwrap();
        limit_of(flow, &step, Duration::from_millis(500))
    }

    #[test]
    fn a_step_holds_while_messages_arrive_in_time() {
        assert_eq!(limit(&flow(Duration::from_millis(20)), 100.0), None);
        let late = limit(&flow(Duration::from_millis(600)), 100.0);
        assert!(matches!(late, Some(Limit::Latency { .. })), "{late:?}");
    }

    #[test]
    fn a_loss_counts_before_everything_else() {
        let mut flow = flow(Duration::from_secs(9));
        flow.lost = 2;
        let found = limit(&flow, 100.0);
        assert_eq!(
            found,
            Some(Limit::Lost {
                lost: 2,
                duplicated: 0
            })
        );
    }

    #[test]
    fn a_generator_that_can_not_send_is_named_and_not_the_server() {
        let mut flow = flow(Duration::from_secs(9));
        flow.generator.cpu = Duration::from_secs(1_000);
        let found = limit(&flow, 1_000.0);
        assert!(matches!(found, Some(Limit::Generator { .. })), "{found:?}");
    }
}
