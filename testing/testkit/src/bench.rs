//! Servers beside each other under the same load: the real one, and the reference servers that say what this machine
//! can do at all.
//!
//! All of them run as processes of their own on loopback, for the whole of a scenario; runs take turns, so that a ratio
//! compares neighbours in time. What a server has spent is read from `/proc`.
//!
//! - [`scenario`]: what can be run   - [`subject`]: the servers   - [`goals`]: what has to be reached
//! - [`growth`]: how costs run with sizes   - [`soak`]: everything at once, for long
//! - [`count`]: instructions, by [`callgrind`]
//! - [`flame`]: where the time goes, by [`perf`] into [`stacks`] and [`parts`]

pub mod callgrind;
pub mod count;
pub mod flame;
pub mod goals;
pub mod growth;
pub mod parts;
pub mod perf;
pub mod scenario;
pub mod soak;
pub mod stacks;
pub mod subject;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};
use unhidra_load::{
    Progress,
    flow::Flow,
    measure::load_average,
    report::{Report, Sample},
};

use self::scenario::{Crowd, Scenario};

/// Descriptors that the generator wants: connections, and some more.
const DESCRIPTORS: u64 = 16_384;

/// What is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's program.
    pub program: PathBuf,
    /// The same of another revision, to compare with.
    pub other: Option<PathBuf>,
    /// This program, which can also be a reference server.
    pub reference: PathBuf,
    /// What is run, in this order.
    pub scenarios: Vec<Scenario>,
    /// How often.
    pub runs: u32,
    /// How long one measurement takes.
    pub duration: Duration,
    /// How large.
    pub size: Size,
    /// Entries of the long log.
    pub entries: u64,
}

/// How large scenarios are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As their names say.
    Whole,
    /// As small as shows that everything works.
    Quick,
}

/// Runs in progress.
pub struct Bench {
    options: Options,
    runtime: Runtime,
    progress: Progress,
    report: Report,
    /// Servers with their many accounts, from one scenario to the next.
    crowds: Vec<Crowd>,
}

/// What samples are about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// What was done.
    pub scenario: &'a str,
    /// Which server it was.
    pub subject: &'a str,
}

/// Runs everything, and returns what it came to.
///
/// # Errors
/// When a server does not start, a message is lost or comes twice, or something else goes wrong.
pub fn run(options: Options, about: Report, progress: Progress) -> anyhow::Result<Report> {
    let mut report = about;
    report.reference = subject::LIMIT_FSYNC.to_owned();
    if options.size == Size::Whole {
        report.goals = goals::all();
    }
    let scenarios = options.scenarios.clone();
    let mut bench = Bench::new(options, report, progress)?;
    for scenario in scenarios {
        bench.progress.say(&format!("scenario {scenario}"));
        scenario
            .run(&mut bench)
            .with_context(|| format!("scenario {scenario}"))?;
    }
    Ok(bench.report)
}

impl Bench {
    /// Without scenarios, for what is measured in another way; it starts `program`.
    ///
    /// # Errors
    /// When the system does not give what it takes.
    pub fn of_program(program: PathBuf, progress: Progress) -> anyhow::Result<Self> {
        let options = Options {
            program,
            other: None,
            reference: PathBuf::new(),
            scenarios: Vec::new(),
            runs: 1,
            duration: Duration::ZERO,
            size: Size::Whole,
            entries: 0,
        };
        Self::new(options, Report::default(), progress)
    }

    fn new(options: Options, report: Report, progress: Progress) -> anyhow::Result<Self> {
        raise_descriptors(&progress)?;
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("start a runtime")?;
        Ok(Self {
            options,
            runtime,
            progress,
            report,
            crowds: Vec::new(),
        })
    }

    /// Adds one value.
    ///
    /// # Errors
    /// When the system does not tell its load.
    pub fn sample(&mut self, about: About<'_>, measure: &str, value: f64, unit: &str) -> anyhow::Result<()> {
        let About { scenario, subject } = about;
        self.progress
            .say(&format!("{scenario} {subject}: {measure} {value:.2} {unit}"));
        self.report.add(Sample {
            scenario: scenario.to_owned(),
            measure: measure.to_owned(),
            subject: subject.to_owned(),
            value,
            unit: unit.to_owned(),
            load: load_average()?,
        });
        Ok(())
    }

    /// What a flow says about its server; `unit` is what it is counted in.
    ///
    /// # Errors
    /// When a message was lost or came twice.
    pub fn flow(&mut self, about: About<'_>, flow: &Flow, unit: Counted) -> anyhow::Result<()> {
        flow.verdict()?;
        let (units, name) = match unit {
            Counted::Deliveries => (flow.deliveries, "delivery"),
            Counted::Messages => (flow.messages, "message"),
        };
        let cpu = flow.server.cpu_us_per(units);
        self.sample(about, &format!("CPU per {name}"), cpu, "us")?;
        self.sample(about, "rate", flow.server.rate(units), "/s")?;
        let quantiles = flow.latencies.quantiles();
        for (measure, value) in [
            ("p50", quantiles.p50),
            ("p99", quantiles.p99),
            ("max", quantiles.max),
        ] {
            self.sample(about, measure, value.as_secs_f64() * 1e3, "ms")?;
        }
        let waited = flow.server.waited.as_secs_f64() / flow.server.elapsed.as_secs_f64().max(1e-9);
        self.sample(about, "run-queue wait", waited * 1e3, "ms/s")?;
        let own = flow.generator.cpu_us_per(units);
        self.sample(about, &format!("generator's CPU per {name}"), own, "us")
    }
}

/// What the costs of a flow are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Entries that anyone got.
    Deliveries,
    /// Messages that were accepted.
    Messages,
}

/// Processors and system, as a reader needs them to judge figures.
#[must_use]
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let version = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores of {model}, Linux {}", version.trim())
}

/// A connection is a descriptor, here and in the server.
fn raise_descriptors(progress: &Progress) -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let wanted = DESCRIPTORS.min(most);
    if wanted < DESCRIPTORS {
        progress.say(&format!("only {wanted} descriptors are allowed (ulimit -Hn)"));
    }
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).context("allow more descriptors")?;
    }
    Ok(())
}
