//! The drawing of a chart: paper, grid, lines with marks, legend.
//!
//! Colours are classes of a style sheet within the file that follows the reader's colour scheme. Lines differ by mark
//! too, for those who tell colours apart badly.

use std::fmt::Write as _;

use super::{Chart, Series, axis::Fitted};

const WIDTH: f64 = 760.0;
const PLOT_HEIGHT: f64 = 300.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 44.0;
const BELOW: f64 = 56.0;
const LEGEND_LINE: f64 = 20.0;
const LEGEND_COLUMNS: usize = 3;
const MARKS: usize = 4;
/// Eight colours that stay apart for most kinds of colour blindness (Okabe and Ito), darker on light paper.
const STYLE: &str = "\
.paper{fill:#fff}.ink{fill:#24292f}.grid{stroke:#d8dee4}.frame{stroke:#57606a;fill:none}\
.s0{--c:#0072b2}.s1{--c:#d55e00}.s2{--c:#008c68}.s3{--c:#a0528a}.s4{--c:#b07d00}.s5{--c:#3f8fbf}.s6{--c:#57606a}.s7{--c:#7a5c00}\
.line{fill:none;stroke:var(--c);stroke-width:2}.mark{fill:var(--c)}\
text{font:12px system-ui,sans-serif}.title{font-size:15px;font-weight:600}\
@media (prefers-color-scheme:dark){.paper{fill:#0d1117}.ink{fill:#e6edf3}.grid{stroke:#30363d}.frame{stroke:#8b949e}\
.s0{--c:#58a6ff}.s1{--c:#ff9a52}.s2{--c:#3fd2a0}.s3{--c:#e394c8}.s4{--c:#f0c541}.s5{--c:#8fd0f5}.s6{--c:#b1bac4}.s7{--c:#d4b25f}}";

/// Where things go on the paper.
struct Sheet<'a> {
    chart: &'a Chart,
    x: Fitted,
    y: Fitted,
    out: String,
}

pub(super) fn draw(chart: &Chart) -> String {
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let mut sheet = Sheet {
        chart,
        x: chart.x.fit(points().map(|point| point.0)),
        y: chart.y.fit(points().map(|point| point.1)),
        out: String::new(),
    };
    sheet.paper();
    sheet.grid();
    for (number, series) in chart.series.iter().enumerate() {
        sheet.line(number, series);
    }
    sheet.legend();
    sheet.out.push_str("</svg>\n");
    sheet.out
}

impl Sheet<'_> {
    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _infallible = self.out.write_fmt(text);
        self.out.push('\n');
    }

    fn paper(&mut self) {
        let lines = self.chart.series.len().div_ceil(LEGEND_COLUMNS) as f64;
        let height = TOP + PLOT_HEIGHT + BELOW + lines * LEGEND_LINE + 8.0;
        let title = escaped(&self.chart.title);
        self.put(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{title}">"#
        ));
        self.put(format_args!("<style>{STYLE}</style>"));
        self.put(format_args!(
            r#"<rect class="paper" width="{WIDTH}" height="{height}"/><text class="ink title" x="{LEFT}" y="24">{title}</text>"#
        ));
    }

    fn grid(&mut self) {
        let (right, bottom) = (WIDTH - RIGHT, TOP + PLOT_HEIGHT);
        for (value, name) in self.x.ticks() {
            let Some(x) = self.across(value) else { continue };
            self.put(format_args!(
                r#"<line class="grid" x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom}"/><text class="ink" x="{x:.1}" y="{}" text-anchor="middle">{name}</text>"#,
                bottom + 18.0
            ));
        }
        for (value, name) in self.y.ticks() {
            let Some(y) = self.up(value) else { continue };
            self.put(format_args!(
                r#"<line class="grid" x1="{LEFT}" y1="{y:.1}" x2="{right}" y2="{y:.1}"/><text class="ink" x="{}" y="{:.1}" text-anchor="end">{name}</text>"#,
                LEFT - 8.0,
                y + 4.0
            ));
        }
        let (x, y) = (escaped(&self.chart.x.label), escaped(&self.chart.y.label));
        let (middle, centre) = (f64::midpoint(LEFT, right), f64::midpoint(TOP, bottom));
        self.put(format_args!(
            r#"<rect class="frame" x="{LEFT}" y="{TOP}" width="{}" height="{PLOT_HEIGHT}"/>"#,
            right - LEFT
        ));
        self.put(format_args!(
            r#"<text class="ink" x="{middle}" y="{}" text-anchor="middle">{x}</text>"#,
            bottom + 40.0
        ));
        self.put(format_args!(
            r#"<text class="ink" transform="translate(18 {centre}) rotate(-90)" text-anchor="middle">{y}</text>"#
        ));
    }

    fn line(&mut self, number: usize, series: &Series) {
        let places: Vec<(f64, f64)> = series
            .points
            .iter()
            .filter_map(|(x, y)| Some((self.across(*x)?, self.up(*y)?)))
            .collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let class = number % 8;
        self.put(format_args!(
            r#"<g class="s{class}"><polyline class="line" points="{}"/>"#,
            path.join(" ")
        ));
        for (x, y) in places {
            let mark = mark(number, x, y);
            self.put(format_args!("{mark}"));
        }
        self.out.push_str("</g>\n");
    }

    fn legend(&mut self) {
        let column = (WIDTH - LEFT - RIGHT) / LEGEND_COLUMNS as f64;
        for (number, series) in self.chart.series.iter().enumerate() {
            let x = LEFT + column * (number % LEGEND_COLUMNS) as f64;
            let y = TOP + PLOT_HEIGHT + BELOW + LEGEND_LINE * (number / LEGEND_COLUMNS) as f64 + 6.0;
            let (mark, name) = (mark(number, x + 5.0, y), escaped(&series.name));
            self.put(format_args!(
                r#"<g class="s{}">{mark}</g><text class="ink" x="{:.1}" y="{:.1}">{name}</text>"#,
                number % 8,
                x + 16.0,
                y + 4.0
            ));
        }
    }

    fn across(&self, value: f64) -> Option<f64> {
        Some(LEFT + self.x.at(value)? * (WIDTH - LEFT - RIGHT))
    }

    fn up(&self, value: f64) -> Option<f64> {
        Some(TOP + (1.0 - self.y.at(value)?) * PLOT_HEIGHT)
    }
}

/// A circle, square, triangle or diamond.
fn mark(number: usize, x: f64, y: f64) -> String {
    match number % MARKS {
        0 => format!(r#"<circle class="mark" cx="{x:.1}" cy="{y:.1}" r="3.5"/>"#),
        1 => format!(
            r#"<rect class="mark" x="{:.1}" y="{:.1}" width="7" height="7"/>"#,
            x - 3.5,
            y - 3.5
        ),
        2 => format!(r#"<path class="mark" d="M{x:.1} {:.1}l4.5 8h-9z"/>"#, y - 5.0),
        _ => format!(r#"<path class="mark" d="M{x:.1} {:.1}l5 5-5 5-5-5z"/>"#, y - 5.0),
    }
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Axis, Scale};

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        Chart {
            title: "a < b & c".into(),
            x: Axis::new("connections", Scale::Logarithmic),
            y: Axis::new("cpu (us)", Scale::Linear),
            series: vec![Series {
                name: "ours".into(),
                points,
            }],
        }
    }

    #[test]
    fn higher_values_lie_higher_and_larger_ones_further_right() {
        let svg = chart(vec![(10.0, 1.0), (100.0, 2.0), (1_000.0, 0.0)]).svg();
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let places: Vec<(f64, f64)> = points
            .split(' ')
            .map(|point| point.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert!(places[0].0 < places[1].0 && places[1].0 < places[2].0);
        assert!(places[1].1 < places[0].1 && places[0].1 < places[2].1);
        assert_eq!(places[2].1, TOP + PLOT_HEIGHT);
    }

    #[test]
    fn text_is_escaped_and_a_chart_without_points_is_one() {
        let svg = chart(Vec::new()).svg();
        assert!(svg.contains("a &lt; b &amp; c") && svg.ends_with("</svg>\n"));
    }
}
