//! Other servers measured as ours is: `cargo xtask anchors`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use unhidra_load::{Progress, report::Report};
use unhidra_testkit::{
    anchor::{
        self, Anchor,
        compare::{Plan, columns, round},
    },
    bench::{self, Options, Size, machine, scenario::Scenario, subject::LIMIT_FSYNC},
};

/// What the anchors are measured in too.
const SCENARIOS: [Scenario; 3] = [Scenario::Fanout100, Scenario::Fanout100Rate, Scenario::Pairs];

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
    /// Our server's program, to be measured in turn with them; the program `bench` has to lie beside this one
    #[arg(long)]
    program: Option<PathBuf>,
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
        machine: machine(),
        reference: LIMIT_FSYNC.to_owned(),
        ..Report::default()
    };
    for number in 1..=arguments.rounds {
        println!("round {number} of {}", arguments.rounds);
        if let Some(program) = &arguments.program {
            report = ours(program, arguments, report)?;
        }
        round(&plan, folder.path(), &mut report, &mut |line| println!("{line}"))?;
    }
    println!("\n{}", columns(&report));
    if let Some(path) = &arguments.json {
        fs::write(path, report.json()?).context("write the report")?;
    }
    Ok(())
}

/// One run of our server and of the reference servers.
fn ours(program: &Path, arguments: &Arguments, report: Report) -> anyhow::Result<Report> {
    let options = Options {
        program: program.to_owned(),
        other: None,
        reference: std::env::current_exe()
            .context("find this program")?
            .with_file_name("bench"),
        scenarios: SCENARIOS.to_vec(),
        runs: 1,
        duration: Duration::from_secs(arguments.seconds),
        size: Size::Whole,
        entries: 0,
    };
    bench::run(options, report, Progress::new(|line| println!("{line}")))
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
