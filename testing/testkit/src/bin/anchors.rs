//! Other servers measured as ours is: `cargo xtask anchors`.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use unhidra_load::report::Report;
use unhidra_testkit::anchor::{
    self, Anchor,
    compare::{Plan, round},
};

/// Installs NATS, Mosquitto, and ejabberd with PostgreSQL, and measures each as our server is measured.
#[derive(Parser)]
struct Arguments {
    /// How often each is started and measured
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds that each scenario is measured
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Connections that log in and do nothing
    #[arg(long, default_value_t = 1_000)]
    connections: u32,
    /// Only these, by name; all by default
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The commit that the report names
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Where the report is written for programs
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("anchors: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let anchors = chosen(&arguments.only)?;
    anchor::install(&anchors)?;
    let folder = tempfile::tempdir().context("make a folder")?;
    anchor::open_to_all(folder.path())?;
    let plan = Plan {
        anchors,
        connections: arguments.connections,
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(arguments.seconds),
    };
    let mut report = Report {
        commit: arguments.commit.clone(),
        command: "cargo xtask anchors".to_owned(),
        reference: Anchor::Ejabberd.name().to_owned(),
        ..Report::default()
    };
    for number in 1..=arguments.rounds {
        println!("round {number} of {}", arguments.rounds);
        round(&plan, folder.path(), &mut report, &mut |line| println!("{line}"))?;
    }
    println!("\n{}", report.table());
    if let Some(path) = &arguments.json {
        fs::write(path, report.json()?).context("write the report")?;
    }
    Ok(())
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Anchor>> {
    if names.is_empty() {
        return Ok(Anchor::ALL.to_vec());
    }
    names
        .iter()
        .map(|name| {
            let known = Anchor::ALL.into_iter().find(|anchor| anchor.name() == name);
            known.with_context(|| {
                let names = Anchor::ALL.map(Anchor::name).join(", ");
                format!("there is no anchor {name}; there are {names}")
            })
        })
        .collect()
}
