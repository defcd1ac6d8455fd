//! Samples of several runs, and the table that they come to: the median of each, and its ratio to a reference of the
//! same run.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// One value of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What was done, such as `fanout-1-100`.
    pub scenario: String,
    /// What was measured, such as `cpu per delivery`.
    pub measure: String,
    /// Which server it was, such as `unhidra` or `limit+fsync`.
    pub subject: String,
    /// The value.
    pub value: f64,
    /// Its unit, such as `us`.
    pub unit: String,
    /// The load average when it was taken.
    pub load: f64,
}

/// What a measure has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
    /// At most so many times the reference's value in the same run.
    AtMostTimes(f64),
}

/// A target of one subject's measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// The scenario.
    pub scenario: String,
    /// The measure.
    pub measure: String,
    /// Whose.
    pub subject: String,
    /// What it has to come to.
    pub target: Target,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was done.
    pub scenario: String,
    /// What was measured.
    pub measure: String,
    /// Which server it was.
    pub subject: String,
    /// The median of the runs.
    pub value: f64,
    /// The smallest and the largest value.
    pub range: (f64, f64),
    /// How many runs there were.
    pub runs: usize,
    /// The unit of the values.
    pub unit: String,
    /// The median of the ratios to the reference, run by run; none without a reference.
    pub ratio: Option<f64>,
    /// What it has to come to, if anything.
    pub target: Option<Target>,
    /// Whether it does.
    pub is_met: Option<bool>,
    /// The largest load average.
    pub load: f64,
}

/// Samples with what is needed to read them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The commit that was measured.
    pub commit: String,
    /// Where.
    pub machine: String,
    /// By which command.
    pub command: String,
    /// The subject that ratios are to.
    pub reference: String,
    /// Everything that was measured.
    pub samples: Vec<Sample>,
    /// What it has to come to.
    pub goals: Vec<Goal>,
}

/// A report as it is written to a file.
#[derive(Debug, Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    report: &'a Report,
    rows: Vec<Row>,
}

impl Report {
    /// Takes a sample over. The order of samples is that of the rows.
    pub fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// One row for each scenario, measure and subject, in the order of their first samples.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut keys: Vec<[&str; 3]> = Vec::new();
        for sample in &self.samples {
            if !keys.contains(&sample.key()) {
                keys.push(sample.key());
            }
        }
        // Subjects of one measure stand below each other, whenever they were measured.
        let mut ordered: Vec<[&str; 3]> = Vec::new();
        for key in &keys {
            let of_measure = keys
                .iter()
                .filter(|other| other.iter().take(2).eq(key.iter().take(2)));
            for other in of_measure {
                if !ordered.contains(other) {
                    ordered.push(*other);
                }
            }
        }
        ordered.into_iter().filter_map(|key| self.row(key)).collect()
    }

    fn row(&self, key: [&str; 3]) -> Option<Row> {
        let [scenario, measure, subject] = key;
        let samples = || self.samples.iter().filter(move |sample| sample.key() == key);
        let values: Vec<f64> = samples().map(|sample| sample.value).collect();
        let references = self
            .samples
            .iter()
            .filter(|sample| sample.key() == [scenario, measure, &self.reference]);
        let ratios: Vec<f64> = values
            .iter()
            .zip(references)
            .filter(|(_, reference)| reference.value > 0.0)
            .map(|(value, reference)| value / reference.value)
            .collect();
        let value = median(&values)?;
        let ratio = median(&ratios);
        let goal = |goal: &&Goal| [&*goal.scenario, &*goal.measure, &*goal.subject] == key;
        let target = self.goals.iter().find(goal).map(|goal| goal.target);
        Some(Row {
            scenario: scenario.to_owned(),
            measure: measure.to_owned(),
            subject: subject.to_owned(),
            value,
            range: (
                values.iter().copied().fold(f64::INFINITY, f64::min),
                values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ),
            runs: values.len(),
            unit: samples().next()?.unit.clone(),
            ratio,
            target,
            is_met: target.and_then(|target| target.is_met(value, ratio)),
            load: samples().map(|sample| sample.load).fold(0.0, f64::max),
        })
    }

    /// Everything, for programs.
    ///
    /// # Errors
    /// When a value is not a number.
    pub fn json(&self) -> anyhow::Result<String> {
        let rows = self.rows();
        Ok(serde_json::to_string_pretty(&Written { report: self, rows })?)
    }

    /// The rows as a Markdown table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::new();
        let (commit, machine, command) = (&self.commit, &self.machine, &self.command);
        let head = format!("Commit `{commit}`, {machine}, by `{command}`.\n\n");
        table.push_str(&head);
        let reference = &self.reference;
        table.push_str(&format!(
            "| scenario | measure | server | median | from - to | runs | to {reference} | target | load |\n\
             |---|---|---|---:|---:|---:|---:|---|---:|\n"
        ));
        for row in self.rows() {
            let target = row.target.map_or_else(String::new, |target| {
                let verdict = match row.is_met {
                    Some(true) => "met",
                    Some(false) => "**missed**",
                    None => "not measured",
                };
                format!("{target}: {verdict}")
            });
            // Writing to a string does not fail.
            let _infallible = writeln!(
                table,
                "| {} | {} | {} | {} {} | {} - {} | {} | {} | {target} | {:.1} |",
                row.scenario,
                row.measure,
                row.subject,
                shown(row.value),
                row.unit,
                shown(row.range.0),
                shown(row.range.1),
                row.runs,
                row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                row.load,
            );
        }
        table
    }
}

impl Sample {
    fn key(&self) -> [&str; 3] {
        [&self.scenario, &self.measure, &self.subject]
    }
}

impl Target {
    fn is_met(self, value: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::AtMost(most) => Some(value <= most),
            Self::AtLeast(least) => Some(value >= least),
            Self::AtMostTimes(most) => Some(ratio? <= most),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {}", shown(*most)),
            Self::AtLeast(least) => write!(f, ">= {}", shown(*least)),
            Self::AtMostTimes(most) => write!(f, "<= {}x", shown(*most)),
        }
    }
}

/// The middle one, or the mean of the two in the middle.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = sorted.get(sorted.len() / 2 - 1)?;
    Some(f64::midpoint(*lower, upper))
}

/// Three significant digits, thousands apart.
#[must_use]
pub fn shown(value: f64) -> String {
    let size = value.abs();
    if size >= 1_000.0 {
        let digits = format!("{value:.0}");
        let (sign, digits) = digits
            .strip_prefix('-')
            .map_or(("", &*digits), |rest| ("-", rest));
        let mut text = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place) % 3 == 0 {
                text.push(' ');
            }
            text.push(digit);
        }
        return format!("{sign}{text}");
    }
    match size {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(subject: &str, value: f64) -> Sample {
        Sample {
            scenario: "fanout-1-100".into(),
            measure: "cpu per delivery".into(),
            subject: subject.into(),
            value,
            unit: "us".into(),
            load: value,
        }
    }

    fn interleaved() -> Report {
        let runs = [(1.0, 0.5), (9.0, 3.0), (2.0, 0.8)];
        let mut report = Report {
            reference: "limit+fsync".into(),
            ..Report::default()
        };
        for (ours, reference) in runs {
            report.add(sample("unhidra", ours));
            report.add(sample("limit+fsync", reference));
        }
        report
    }

    #[test]
    fn a_row_is_the_median_of_its_runs_and_of_the_ratios_within_each_run() {
        let rows = interleaved().rows();
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].value, rows[0].ratio, rows[0].range),
            (2.0, Some(2.5), (1.0, 9.0))
        );
        assert_eq!(
            (rows[1].value, rows[1].ratio, rows[1].load),
            (0.8, Some(1.0), 3.0)
        );
    }

    #[test]
    fn a_target_is_met_or_missed_and_the_table_says_so() {
        let mut report = interleaved();
        for (target, verdict) in [
            (Target::AtMost(1.4), "<= 1.40: **missed**"),
            (Target::AtLeast(1.4), ">= 1.40: met"),
            (Target::AtMostTimes(2.5), "<= 2.50x: met"),
        ] {
            report.goals = vec![Goal {
                scenario: "fanout-1-100".into(),
                measure: "cpu per delivery".into(),
                subject: "unhidra".into(),
                target,
            }];
            assert!(report.table().contains(verdict), "{}", report.table());
        }
    }

    #[test]
    fn the_file_holds_samples_and_rows() {
        let json: serde_json::Value = serde_json::from_str(&interleaved().json().unwrap()).unwrap();
        assert_eq!(json["samples"].as_array().unwrap().len(), 6);
        assert_eq!(json["rows"][0]["value"], 2.0);
    }

    #[test]
    fn numbers_are_shown_with_three_digits_and_thousands_apart() {
        let all = [0.456, 12.34, 123.4, 1_234_567.0, -4_321.0].map(shown);
        assert_eq!(all, ["0.46", "12.3", "123", "1 234 567", "-4 321"]);
    }
}
