//! The charts of `docs/performance.md`, made of the reports that lie beside them.

use std::{fs, path::Path};

use anyhow::Context as _;
use unhidra_load::{
    day::Line,
    report::{Report, median},
};

use super::{Axis, Chart, Scale, Series};
use crate::bench::{growth::Curves, soak::Soak};

/// Measures that make up a distribution, with the share that each is of.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Draws every report of `folder` beside it; the names of the drawings.
///
/// # Errors
/// When a report can't be read, or a drawing not written.
pub fn draw(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut drawn = Vec::new();
    for entry in fs::read_dir(folder).context("list reports")? {
        let path = entry.context("list reports")?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path).context("read a report")?;
        for (part, chart) in charts(&text).with_context(|| format!("read {}", path.display()))? {
            let file = format!("{name}-{part}.svg");
            fs::write(folder.join(&file), chart.svg()).context("write a drawing")?;
            drawn.push(file);
        }
    }
    drawn.sort();
    Ok(drawn)
}

/// The charts of one report, whichever kind it is of.
fn charts(text: &str) -> anyhow::Result<Vec<(String, Chart)>> {
    if let Ok(curves) = serde_json::from_str::<Curves>(text) {
        return Ok(growth(&curves));
    }
    if let Ok(soak) = serde_json::from_str::<Soak>(text) {
        return Ok(mixed_days(&soak));
    }
    let report: Report = serde_json::from_str(text).context("it is no report")?;
    Ok(latencies(&report))
}

/// One chart for each scenario: how long most, nearly all, and all but a few took, on each server.
fn latencies(report: &Report) -> Vec<(String, Chart)> {
    let mut scenarios: Vec<&str> = Vec::new();
    for sample in &report.samples {
        if sample.measure == "p50" && !scenarios.contains(&&*sample.scenario) {
            scenarios.push(&sample.scenario);
        }
    }
    scenarios
        .into_iter()
        .map(|scenario| {
            let chart = Chart {
                title: format!("{scenario}: latency, from the intended moment to the receiver"),
                x: Axis::new("of all messages (%)", Scale::Shares),
                y: Axis::new("at most (ms)", Scale::Logarithmic),
                series: distribution(report, scenario),
            };
            (format!("latency-{scenario}"), chart)
        })
        .collect()
}

fn distribution(report: &Report, scenario: &str) -> Vec<Series> {
    let mut subjects: Vec<&str> = Vec::new();
    let of = report.samples.iter().filter(|sample| sample.scenario == scenario);
    for sample in of.clone() {
        if sample.measure == "p50" && !subjects.contains(&&*sample.subject) {
            subjects.push(&sample.subject);
        }
    }
    subjects
        .into_iter()
        .map(|subject| {
            let points = QUANTILES.iter().filter_map(|(measure, share)| {
                let values: Vec<f64> = of
                    .clone()
                    .filter(|sample| sample.subject == subject && sample.measure == *measure)
                    .map(|sample| sample.value)
                    .collect();
                Some((*share, median(&values)?))
            });
            Series {
                name: subject.to_owned(),
                points: points.collect(),
            }
        })
        .collect()
}

/// The median, and ten percent around the middle of all, between which it has to stay.
fn growth(curves: &Curves) -> Vec<(String, Chart)> {
    curves
        .curves
        .iter()
        .map(|curve| {
            let size = |size: u64| size as f64;
            let medians = curve.medians().into_iter().map(|(at, cost)| (size(at), cost));
            let medians: Vec<(f64, f64)> = medians.collect();
            let all: Vec<f64> = medians.iter().map(|(_, cost)| *cost).collect();
            let middle = median(&all).unwrap_or_default();
            let bound = |times: f64| medians.iter().map(|(at, _)| (*at, middle * times)).collect();
            let chart = Chart {
                title: format!("{} against {}", curve.cost, curve.size),
                x: Axis::new(curve.size.clone(), Scale::Logarithmic),
                y: Axis::new(curve.cost.clone(), Scale::Linear),
                series: vec![
                    Series {
                        name: "median of the runs".to_owned(),
                        points: medians.clone(),
                    },
                    Series {
                        name: "10 % above the middle".to_owned(),
                        points: bound(1.1),
                    },
                    Series {
                        name: "10 % below".to_owned(),
                        points: bound(0.9),
                    },
                ],
            };
            (curve.size.replace(' ', "-"), chart)
        })
        .collect()
}

fn mixed_days(soak: &Soak) -> Vec<(String, Chart)> {
    let series = |value: fn(&Line) -> f64, kind: &str| {
        let days = soak.days.iter().map(|day| Series {
            name: format!("{kind}{}", day.name),
            points: day
                .day
                .lines
                .iter()
                .map(|line| (line.at_s / 60.0, value(line)))
                .collect(),
        });
        days.collect::<Vec<_>>()
    };
    let minutes = || Axis::new("minutes", Scale::Linear);
    let memory = Chart {
        title: "Memory of the server through a mixed day".to_owned(),
        x: minutes(),
        y: Axis::new("resident (MiB)", Scale::Linear),
        series: series(|line| line.resident_mib, ""),
    };
    let latency = Chart {
        title: "Latency through a mixed day".to_owned(),
        x: minutes(),
        y: Axis::new(
            "from the intended moment to the receiver (ms)",
            Scale::Logarithmic,
        ),
        series: [
            series(|line| line.p50_ms, "median, "),
            series(|line| line.p99_ms, "p99, "),
        ]
        .concat(),
    };
    vec![("memory".to_owned(), memory), ("latency".to_owned(), latency)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_report_has_its_charts() {
        let sample = |subject: &str, measure: &str| {
            format!(
                r#"{{"scenario":"p2p-50","measure":"{measure}","subject":"{subject}","value":2,"unit":"ms","load":1}}"#
            )
        };
        let samples = [sample("a", "p50"), sample("b", "p50"), sample("a", "p99")].join(",");
        let report = format!(
            r#"{{"commit":"","machine":"","command":"","reference":"","goals":[],"samples":[{samples}]}}"#
        );
        let drawn = charts(&report).unwrap();
        assert_eq!(drawn[0].0, "latency-p2p-50");
        assert_eq!(drawn[0].1.series[0].points, [(0.5, 2.0), (0.99, 2.0)]);
        let growth = r#"{"curves":[{"size":"log length","cost":"us","points":{"10":[3,1,2],"100":[2]}}]}"#;
        assert_eq!(
            charts(growth).unwrap()[0].1.series[0].points,
            [(10.0, 2.0), (100.0, 2.0)]
        );
        let soak = Soak {
            commit: String::new(),
            machine: String::new(),
            command: String::new(),
            days: Vec::new(),
        };
        assert_eq!(charts(&serde_json::to_string(&soak).unwrap()).unwrap().len(), 2);
        assert!(charts("{}").is_err());
    }
}
