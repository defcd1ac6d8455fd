//! Two mixed days, each on a server of its own: one among people who behave, one with some who do not.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use serde::{Deserialize, Serialize};
use unhidra_load::{
    day::{self, Day, Errands, Plan, Trouble},
    report::Report,
};

use super::{
    Bench,
    subject::{Ours, Transport},
};

/// The limits that a day is lived under are those that a server has unless told otherwise.
const LIMITS: [(&str, &str); 2] = [
    ("UNHIDRA_LIMITS_MESSAGES", "50/s burst 1000"),
    ("UNHIDRA_LIMITS_REQUESTS_PER_SESSION", "100000/s burst 100000"),
];
const SLOW: u32 = 50;
const ABUSIVE: u32 = 5;
/// Before memory is looked at; a tenth of a short day.
const WARM_UP: Duration = Duration::from_secs(60);

/// How long and how large.
#[derive(Args, Clone, Debug)]
pub struct Extent {
    /// The server's program
    #[arg(long)]
    pub program: PathBuf,
    /// Minutes of each of the two days
    #[arg(long, default_value_t = 15.0)]
    minutes: f64,
    /// Connected devices
    #[arg(long, default_value_t = 2_000)]
    devices: u32,
    /// Conversations of 20 of them each
    #[arg(long, default_value_t = 200)]
    conversations: u32,
    /// Messages a second, of all devices together
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// The commit that is measured
    #[arg(long, default_value = "unknown")]
    pub commit: String,
    /// Where the JSON goes
    #[arg(long)]
    pub output: Option<PathBuf>,
}

/// Both days.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Soak {
    /// The commit that was measured.
    pub commit: String,
    /// Where.
    pub machine: String,
    /// By which command.
    pub command: String,
    /// In the order in which they were lived.
    pub days: Vec<NamedDay>,
}

/// A day, and what was special about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamedDay {
    /// What was special.
    pub name: String,
    /// What came of it.
    #[serde(flatten)]
    pub day: Day,
}

/// Lives both days, one after the other.
///
/// # Errors
/// When the server does not start, or a day does not end. What went wrong on a day stands in it.
pub fn run(bench: &Bench, extent: &Extent, about: &Report) -> anyhow::Result<Soak> {
    let limits = LIMITS.map(|(name, value)| (name, value.to_owned())).to_vec();
    let mut soak = Soak {
        commit: about.commit.clone(),
        machine: about.machine.clone(),
        command: about.command.clone(),
        days: Vec::new(),
    };
    let troubled = Trouble {
        slow: SLOW,
        abusive: ABUSIVE,
    };
    for (name, trouble) in [
        ("everybody behaves".to_owned(), Trouble::default()),
        (
            format!("with {SLOW} slow readers and {ABUSIVE} abusive senders"),
            troubled,
        ),
    ] {
        bench.progress.say(&name);
        let mut ours = Ours::start_program(bench, &extent.program, Transport::Plain, limits.clone())?;
        let server = ours.watched()?;
        let living = day::live(
            &mut ours.population,
            extent.plan(trouble)?,
            server,
            &bench.progress,
        );
        let day = bench.runtime.block_on(living).context("a day did not end well")?;
        soak.days.push(NamedDay { name, day });
    }
    Ok(soak)
}

impl Extent {
    fn plan(&self, trouble: Trouble) -> anyhow::Result<Plan> {
        let duration = Duration::try_from_secs_f64(self.minutes * 60.0).context("a day takes some time")?;
        Ok(Plan {
            devices: self.devices,
            conversations: self.conversations,
            members: 20.min(self.devices),
            rate: self.rate,
            // Nineteen hear each message, and one of them confirms it.
            receipt_every: 19,
            errands: Errands {
                reconnections: 5.0,
                logins: 1.0,
                pages: 5.0,
            },
            trouble,
            warm_up: WARM_UP.min(duration / 10),
            duration,
            tell_every: Duration::from_secs(10).min(duration / 20),
        })
    }
}

impl Soak {
    /// What both days came to.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = format!(
            "Commit `{}`, {}, by `{}`.\n\n\
             | day | messages | arrivals | lost | duplicated | errors | p50 / p99 | CPU per arrival | memory, second and last third | slope | refused | thrown out |\n\
             |---|---:|---:|---:|---:|---:|---|---:|---|---:|---:|---:|\n",
            self.commit, self.machine, self.command
        );
        for NamedDay { name, day } in &self.days {
            let (second, last) = day.memory.thirds_mib;
            table.push_str(&format!(
                "| {name} | {} | {} | {} | {} | {} | {:.1} / {:.1} ms | {:.1} us | {second:.1} / {last:.1} MiB | {:+.1} MiB/h | {} | {} |\n",
                day.sent,
                day.received,
                day.lost,
                day.duplicated,
                day.errors,
                day.p50_ms,
                day.p99_ms,
                day.cpu_us_per_delivery,
                day.memory.slope_mib_per_hour,
                day.refused,
                day.closed,
            ));
        }
        table
    }

    /// That both days were good.
    ///
    /// # Errors
    /// What was not.
    pub fn verdict(&self) -> anyhow::Result<()> {
        self.days
            .iter()
            .try_for_each(|NamedDay { name, day }| day.verdict().with_context(|| name.clone()))
    }
}
