//! The comparison of servers under load as a program, which is also the reference servers: `cargo xtask bench`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use tokio::{net::TcpListener, runtime::Builder};
use unhidra_load::{
    Progress,
    reference::{Durability, serve},
    report::Report,
};
use unhidra_testkit::bench::{
    self, Bench, Options, Size, count, flame, growth, machine, scenario::Scenario, soak,
};

/// Entries of a long log.
const ENTRIES: u64 = 10_000_000;
/// Entries of a log that is not so long.
const QUICK_ENTRIES: u64 = 5_000;

/// Loads servers beside each other and says what each message costs.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs scenarios and prints a table
    Run(Run),
    /// Measures how costs run with sizes
    Growth(growth::Extent),
    /// Lives a mixed day, among people who behave and among some who do not
    Soak(soak::Extent),
    /// Counts the server's instructions for each unit of work
    Count(count::Extent),
    /// Records where the time goes, and draws it
    Flame(flame::Extent),
    /// Is a reference server, until it is killed
    Reference {
        /// Appends and synchronises this file before anything is passed on
        #[arg(long)]
        log: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Run {
    /// The server's program
    #[arg(long)]
    program: PathBuf,
    /// The server's program of another revision
    #[arg(long)]
    other: Option<PathBuf>,
    /// What to run; everything unless named
    #[arg(long)]
    scenario: Vec<Scenario>,
    /// How often
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Seconds of one measurement
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Small sizes, and no targets
    #[arg(long)]
    quick: bool,
    /// Entries of the log in history-10m
    #[arg(long)]
    entries: Option<u64>,
    /// The commit that is measured
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// How a reader repeats it
    #[arg(long, default_value = "cargo xtask bench")]
    command: String,
    /// Where the JSON goes; the table goes beside it
    #[arg(long)]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(run) => run.run(),
        Command::Growth(extent) => grow(&extent),
        Command::Soak(extent) => soak(&extent),
        Command::Count(extent) => count(&extent),
        Command::Flame(extent) => flame(&extent),
        Command::Reference { log } => reference(log),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Run {
    fn run(self) -> anyhow::Result<()> {
        let scenarios = match self.scenario.is_empty() {
            true => Scenario::ALL.to_vec(),
            false => self.scenario,
        };
        let options = Options {
            // Servers run in folders of their own.
            program: absolute(self.program)?,
            other: self.other.map(absolute).transpose()?,
            reference: std::env::current_exe().context("find this program")?,
            scenarios,
            runs: self.runs,
            duration: Duration::try_from_secs_f64(self.seconds).context("a measurement takes some time")?,
            size: if self.quick { Size::Quick } else { Size::Whole },
            entries: self
                .entries
                .unwrap_or(if self.quick { QUICK_ENTRIES } else { ENTRIES }),
        };
        let about = Report {
            commit: self.commit,
            machine: machine(),
            command: self.command,
            ..Report::default()
        };
        let report = bench::run(options, about, progress())?;
        let table = report.table();
        if let Some(output) = self.output {
            fs::write(&output, report.json()?).with_context(|| format!("write {}", output.display()))?;
            let beside = output.with_extension("md");
            fs::write(&beside, &table).with_context(|| format!("write {}", beside.display()))?;
        }
        println!("{table}");
        Ok(())
    }
}

fn absolute(program: PathBuf) -> anyhow::Result<PathBuf> {
    fs::canonicalize(&program).with_context(|| format!("find {}", program.display()))
}

fn grow(extent: &growth::Extent) -> anyhow::Result<()> {
    let about = about(&extent.commit, "cargo xtask bench --growth");
    let bench = Bench::of_program(extent.program.clone(), progress())?;
    let curves = growth::run(&bench, extent, &about)?;
    println!("{}", curves.table());
    keep(extent.output.as_deref(), &curves)
}

fn soak(extent: &soak::Extent) -> anyhow::Result<()> {
    let about = about(&extent.commit, "cargo xtask soak");
    let bench = Bench::of_program(extent.program.clone(), progress())?;
    let soak = soak::run(&bench, extent, &about)?;
    println!("{}", soak.table());
    keep(extent.output.as_deref(), &soak)?;
    soak.verdict()
}

fn count(extent: &count::Extent) -> anyhow::Result<()> {
    let mut bench = Bench::of_program(extent.program.clone(), progress())?;
    let counted = count::run(&mut bench, extent)?;
    let report = Report {
        samples: counted.samples,
        ..about(&extent.commit, "cargo xtask count")
    };
    if let Some(output) = &extent.output {
        fs::write(output, report.json()?).with_context(|| format!("write {}", output.display()))?;
    }
    println!("{}", count::compare(extent, &report)?);
    Ok(())
}

fn flame(extent: &flame::Extent) -> anyhow::Result<()> {
    let mut bench = Bench::of_program(extent.program.clone(), progress())?;
    println!("{}", flame::run(&mut bench, extent)?);
    Ok(())
}

fn keep(output: Option<&Path>, report: &impl Serialize) -> anyhow::Result<()> {
    let Some(output) = output else { return Ok(()) };
    let json = serde_json::to_string_pretty(report).context("write JSON")?;
    fs::write(output, json).with_context(|| format!("write {}", output.display()))
}

fn about(commit: &str, command: &str) -> Report {
    Report {
        commit: commit.to_owned(),
        machine: machine(),
        command: command.to_owned(),
        ..Report::default()
    }
}

fn progress() -> Progress {
    Progress::new(|line| eprintln!("{line}"))
}

fn reference(log: Option<PathBuf>) -> anyhow::Result<()> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
        println!("listening on http://{}", listener.local_addr().context("listen")?);
        serve(listener, log.map_or(Durability::None, Durability::Synced)).await
    })
}
