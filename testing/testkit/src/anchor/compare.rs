//! Every anchor in turn, as often as wanted, as samples of a report.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};
use unhidra_load::{
    measure::load_average,
    report::{Report, Sample, shown},
};

use super::{
    Anchor, Running,
    course::{Course, Outcome, Pace, Shape, log_in_many},
    dialect::Name,
};

/// Members of the room, and pairs.
const MEMBERS: u32 = 100;
const PAIRS: u32 = 50;
/// Messages on their way at saturation, in the room and of each pair: as many as the scenarios of our server have.
const ROOM_WINDOW: u32 = 200;
const PAIR_WINDOW: u32 = 8;
/// Messages a second at a fixed rate.
const RATE: u32 = 100;
/// What an anchor still tidies up after logins.
const SETTLE: Duration = Duration::from_secs(1);
const KIB: f64 = 1024.0;

/// How long and on whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which anchors, in which order.
    pub anchors: Vec<Anchor>,
    /// Connections that only log in.
    pub connections: u32,
    /// Of each course, before it counts.
    pub warm_up: Duration,
    /// Of each course, while it counts.
    pub measured: Duration,
}

/// One round: each anchor once, from its start to its end, with its data in `folder`.
///
/// # Errors
/// When an anchor does not start, or refuses what it should not.
pub fn round(
    plan: &Plan,
    folder: &Path,
    report: &mut Report,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    for anchor in &plan.anchors {
        let place = tempfile::tempdir_in(folder).context("make a folder for an anchor")?;
        say(&format!("{}: starting", anchor.name()));
        measure(*anchor, plan, place.path(), report, say).with_context(|| anchor.name())?;
    }
    Ok(())
}

/// The medians of a report, one column for each server.
#[must_use]
pub fn columns(report: &Report) -> String {
    let rows = report.rows();
    let (mut subjects, mut measures) = (Vec::new(), Vec::new());
    for row in &rows {
        if !subjects.contains(&row.subject) {
            subjects.push(row.subject.clone());
        }
        let measure = (&row.scenario, &row.measure, &row.unit);
        if !measures.contains(&measure) {
            measures.push(measure);
        }
    }
    let mut table = format!(
        "Commit `{}`, {}, by `{}`.\n\n| scenario | measure | target | {} |\n|---|---|---|{}\n",
        report.commit,
        report.machine,
        report.command,
        subjects.join(" | "),
        "---:|".repeat(subjects.len()),
    );
    for (scenario, measure, unit) in measures {
        let of = |subject: &String| {
            rows.iter()
                .find(|row| (&row.scenario, &row.measure, &row.subject) == (scenario, measure, subject))
        };
        let target = subjects.iter().filter_map(of).find_map(|row| row.target);
        let target = target.map_or_else(String::new, |target| target.to_string());
        let values: Vec<String> = subjects
            .iter()
            .map(|subject| of(subject).map_or_else(String::new, |row| shown(row.value)))
            .collect();
        let measure = if unit.is_empty() {
            measure.clone()
        } else {
            format!("{measure}, {unit}")
        };
        let line = format!("| {scenario} | {measure} | {target} | {} |\n", values.join(" | "));
        table.push_str(&line);
    }
    table
}

fn measure(
    anchor: Anchor,
    plan: &Plan,
    folder: &Path,
    report: &mut Report,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    let courses = courses(plan);
    let people: u32 = courses.iter().map(|(_, course)| course.shape.people()).sum();
    let accounts = people + 2 * plan.connections;
    let running = anchor.start(folder, accounts)?;
    let runtime = runtime()?;
    let mut stand = Stand { anchor, report, say };
    runtime.block_on(stand.log_in(&running, plan))?;
    let mut first = Name(2 * plan.connections);
    for (scenario, course) in courses {
        let outcome = runtime.block_on(course.run(&running, first)).context(scenario)?;
        stand.note(scenario, &course, &outcome)?;
        first = Name(first.0 + course.shape.people());
    }
    Ok(())
}

fn courses(plan: &Plan) -> [(&'static str, Course); 3] {
    let course = |shape, pace| Course {
        shape,
        pace,
        warm_up: plan.warm_up,
        measured: plan.measured,
    };
    [
        (
            "fanout-1-100",
            course(Shape::FanOut(MEMBERS), Pace::Window(ROOM_WINDOW)),
        ),
        (
            "fanout-1-100-rate",
            course(Shape::FanOut(MEMBERS), Pace::Fixed(RATE)),
        ),
        ("p2p-50", course(Shape::Pairs(PAIRS), Pace::Window(PAIR_WINDOW))),
    ]
}

/// Where results of one anchor go.
struct Stand<'a> {
    anchor: Anchor,
    report: &'a mut Report,
    say: &'a mut dyn FnMut(&str),
}

impl Stand<'_> {
    async fn log_in(&mut self, running: &Running, plan: &Plan) -> anyhow::Result<()> {
        let logged_in = log_in_many(running, Name(0), plan.connections, SETTLE).await?;
        let cpu = logged_in.spent.cpu_us_per(plan.connections.into());
        let kibibytes = logged_in.memory as f64 / KIB / f64::from(plan.connections);
        self.add("connections", "CPU per connect and log in", cpu, "us")?;
        self.add("connections", "idle connection", kibibytes, "KiB")
    }

    fn note(&mut self, scenario: &str, course: &Course, outcome: &Outcome) -> anyhow::Result<()> {
        let (deliveries, spent) = (outcome.deliveries, outcome.spent);
        let unit = match course.shape {
            Shape::FanOut(_) => "delivery",
            Shape::Pairs(_) => "message",
        };
        self.add(
            scenario,
            &format!("CPU per {unit}"),
            spent.cpu_us_per(deliveries),
            "us",
        )?;
        self.add(scenario, "rate", spent.rate(deliveries), "/s")?;
        let quantiles = outcome.latencies.quantiles();
        for (measure, latency) in [
            ("p50", quantiles.p50),
            ("p90", outcome.latencies.quantile(0.9)),
            ("p99", quantiles.p99),
            ("p99.9", quantiles.p999),
            ("max", quantiles.max),
        ] {
            self.add(scenario, measure, latency.as_secs_f64() * 1e3, "ms")?;
        }
        let waited = spent.waited.as_secs_f64() / spent.elapsed.as_secs_f64().max(1e-9);
        self.add(scenario, "run-queue wait", waited * 1e3, "ms/s")?;
        self.add(scenario, "lost", outcome.lost as f64, "")?;
        self.add(scenario, "duplicated", outcome.duplicated as f64, "")
    }

    fn add(&mut self, scenario: &str, measure: &str, value: f64, unit: &str) -> anyhow::Result<()> {
        (self.say)(&format!(
            "{}: {scenario}: {measure} {value:.2} {unit}",
            self.anchor.name()
        ));
        self.report.add(Sample {
            scenario: scenario.to_owned(),
            measure: measure.to_owned(),
            subject: self.anchor.name().to_owned(),
            value,
            unit: unit.to_owned(),
            load: load_average()?,
        });
        Ok(())
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start a runtime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_a_column_and_what_it_was_not_measured_in_is_empty() {
        let mut report = Report::default();
        for (subject, measure, value) in [
            ("ours", "rate", 2_000.0),
            ("nats", "rate", 5.0),
            ("nats", "p50", 1.0),
        ] {
            report.add(Sample {
                scenario: "p2p-50".into(),
                measure: measure.into(),
                subject: subject.into(),
                value,
                unit: "u".into(),
                load: 0.0,
            });
        }
        let table = columns(&report);
        assert!(
            table.contains("| ours | nats |") && table.contains("| p2p-50 | rate, u |  | 2 000 | 5.00 |")
        );
        assert!(table.contains("| p2p-50 | p50, u |  |  | 1.00 |"), "{table}");
    }
}
