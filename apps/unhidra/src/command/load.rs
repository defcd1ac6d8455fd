//! `load`: what a deployment carries, tried with accounts that are made for it and deleted afterwards.

use anyhow::Context as _;
use serde::Serialize;
use unhidra_load::{
    Population, Progress, Target,
    check::{Ladder, Limit, Step, Verdict, climb},
    measure::Watched,
    population::Host,
};

use super::{enrol::confirmed, opening::Opening};
use crate::{
    arguments::Load,
    exit::{Exit, Failure, Outcome},
    output::Output,
};

/// Messages a second of each speaker, one step after the other: the last one stays below the default of
/// `limits.messages`, which would refuse what goes beyond.
const RATES: [f64; 6] = [1.0, 2.0, 5.0, 10.0, 20.0, 40.0];

/// What was tried, for scripts.
#[derive(Serialize)]
struct Tried<'a> {
    groups: u32,
    members: u32,
    #[serde(flatten)]
    verdict: &'a Verdict,
    /// Accounts that could not be deleted.
    left: usize,
}

/// Makes accounts, loads the server, deletes the accounts, and says what it carried.
pub(crate) async fn load(opening: &Opening, options: Load, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let access = client.access().await?;
    let accounts = options.groups.saturating_mul(options.members);
    let question = format!(
        "Load {} with {accounts} accounts, which are deleted afterwards? Their messages stay in the log.",
        access.origin
    );
    if !options.yes && !confirmed(&question)? {
        return Err(Failure {
            exit: Exit::Failed,
            error: anyhow::anyhow!("nothing was done"),
        });
    }
    let progress = Progress::new(move |line| output.progress(line));
    let target = Target::resolve(&access.origin, access.tls).await?;
    let host = Host::Token(access.token.expose().to_owned());
    let mut population = Population::begin(&target, host).await?;
    let measured = tokio::select! {
        measured = measure(&mut population, &options, &progress) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let left = population.remove(&progress).await;
    let verdict = measured?;
    let tried = Tried {
        groups: options.groups,
        members: options.members,
        verdict: &verdict,
        left,
    };
    output
        .result(&tried, || text(&tried))
        .context("print the result")?;
    match &verdict.limit {
        Some(Limit::Lost { lost, duplicated }) => Err(Failure {
            exit: Exit::Failed,
            error: anyhow::anyhow!("{lost} messages lost, {duplicated} twice: please report this"),
        }),
        _ if verdict.held == 0 => Err(Failure {
            exit: Exit::Failed,
            error: anyhow::anyhow!("not even the first step held"),
        }),
        _ => Ok(()),
    }
}

async fn measure(
    population: &mut Population,
    options: &Load,
    progress: &Progress,
) -> anyhow::Result<Verdict> {
    let lanes = population
        .groups(options.groups, options.members.saturating_sub(1), progress)
        .await
        .context("make accounts: only an administrator's profile may")?;
    let ladder = Ladder {
        rates: match options.check {
            true => RATES.to_vec(),
            false => vec![options.rate],
        },
        duration: options.duration,
        most: options.max_latency,
    };
    climb(&lanes, &ladder, options.server_pid.map(Watched::new), progress).await
}

fn text(tried: &Tried<'_>) -> String {
    let mut lines = vec![format!(
        "{} groups of {} members, one speaker each",
        tried.groups, tried.members
    )];
    for (number, step) in tried.verdict.steps.iter().enumerate() {
        let mark = if number < tried.verdict.held {
            "held"
        } else {
            "did not hold"
        };
        lines.push(format!("{}  {mark}", step_text(step)));
    }
    lines.push(match tried.verdict.best() {
        Some(best) => format!(
            "Verdict: carries {:.0} messages and {:.0} deliveries a second; p99 {:.0} ms.",
            best.accepted, best.delivered, best.p99_ms
        ),
        None => "Verdict: does not carry the first step.".to_owned(),
    });
    lines.push(match &tried.verdict.limit {
        None => "No limit was reached: try more with --groups and --members.".to_owned(),
        Some(limit) => format!("First limit: {}", limit_text(limit)),
    });
    if tried.left > 0 {
        lines.push(format!(
            "{} accounts could not be deleted: `unhidra admin users list` shows them by their names, load-...",
            tried.left
        ));
    }
    lines.join("\n")
}

fn step_text(step: &Step) -> String {
    let mut text = format!(
        "{:>6.0} msg/s  {:>8.0} deliveries/s  p50 {:>7.1} ms  p99 {:>7.1} ms",
        step.accepted, step.delivered, step.p50_ms, step.p99_ms
    );
    if let (Some(us), Some(mib)) = (step.server_us, step.server_mib) {
        text.push_str(&format!("  server {us:.2} us CPU a delivery, {mib:.0} MiB"));
    }
    text
}

fn limit_text(limit: &Limit) -> String {
    match limit {
        Limit::Latency { p99_ms, most_ms } => {
            format!("latency, p99 {p99_ms:.0} ms where {most_ms:.0} ms were asked for (--max-latency)")
        }
        Limit::Refused { reason } => format!("{reason} (docs/limits.md says which key moves it)"),
        Limit::Lost { lost, duplicated } => format!("{lost} messages lost, {duplicated} twice"),
        Limit::Generator { busy } => format!(
            "this machine, {:.0} % busy with sending and listening: run the command elsewhere",
            busy * 100.0
        ),
    }
}
