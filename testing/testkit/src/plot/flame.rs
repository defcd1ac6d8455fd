//! Stacks as a flame graph: each box is a function, as wide as the time with it on the stack; what it calls stands on it.
//!
//! Nothing here moves: what a box is in full is its tooltip, and boxes that are too narrow to be seen are left out.

use std::fmt::Write as _;

use super::svg::escaped;
use crate::bench::{
    parts::Part,
    stacks::{Frame, Place, Stacks},
};

const WIDTH: f64 = 1200.0;
const ROW: f64 = 16.0;
const TOP: f64 = 48.0;
const SIDE: f64 = 8.0;
/// Narrower boxes are left out.
const NARROWEST: f64 = 1.8;
/// A letter, of the font below.
const LETTER: f64 = 6.1;
const STYLE: &str = "\
.paper{fill:#fff}.ink{fill:#24292f}text{font:11px ui-monospace,monospace}.title{font:600 15px system-ui,sans-serif}\
.box text{fill:#1b1f24}rect{stroke:#fff;stroke-width:.5}\
.k{fill:#9cc3ec}.o{fill:#f2a65a}.d{fill:#8fce9f}.c{fill:#d5a6e0}.m{fill:#e9d16c}.t{fill:#d0d4d9}.h{fill:#b8d8c8}.r{fill:#e8e2d6}\
@media (prefers-color-scheme:dark){.paper{fill:#0d1117}.ink{fill:#e6edf3}rect{stroke:#0d1117}}";
/// Classes of the style sheet with what the legend says of them.
const LEGEND: [(&str, &str); 8] = [
    ("k", "kernel"),
    ("o", "unhidra"),
    ("d", "SQLite"),
    ("c", "cryptography"),
    ("m", "allocation"),
    ("t", "tokio"),
    ("h", "HTTP library"),
    ("r", "other"),
];

/// A function on all stacks that are the same up to it.
struct Node {
    frame: Frame,
    samples: u64,
    above: Vec<Self>,
}

/// The graph as a file.
#[must_use]
pub fn svg(title: &str, stacks: &Stacks) -> String {
    let roots = tree(stacks);
    let all = stacks.samples().max(1) as f64;
    let scale = (WIDTH - 2.0 * SIDE) / all;
    let rows = roots.iter().map(|root| depth(root, scale)).max().unwrap_or(0);
    let height = TOP + rows as f64 * ROW + 8.0;
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{title}"><style>{STYLE}</style>
<path class="paper" d="M0 0h{WIDTH}v{height}h-{WIDTH}z"/><text class="ink title" x="{SIDE}" y="20">{title}</text>
"#,
        title = escaped(title)
    );
    let mut x = SIDE;
    for (class, name) in LEGEND {
        // Writing to a string does not fail.
        let _infallible = writeln!(
            out,
            r#"<rect class="{class}" x="{x:.0}" y="28" width="12" height="12"/><text class="ink" x="{:.0}" y="38">{name}</text>"#,
            x + 16.0
        );
        x += 36.0 + name.len() as f64 * LETTER;
    }
    let mut sheet = Sheet {
        out,
        scale,
        all,
        height,
    };
    sheet.row(&roots, SIDE, Below { level: 0, class: "r" });
    sheet.out.push_str("</svg>\n");
    sheet.out
}

/// What a row stands on.
#[derive(Clone, Copy)]
struct Below {
    level: usize,
    class: &'static str,
}

struct Sheet {
    out: String,
    scale: f64,
    all: f64,
    height: f64,
}

impl Sheet {
    fn row(&mut self, nodes: &[Node], from: f64, below: Below) {
        let mut x = from;
        for node in nodes {
            let width = node.samples as f64 * self.scale;
            if width >= NARROWEST {
                let class = class(&node.frame, below.class);
                self.put(node, (x, width), Below { class, ..below });
                let level = below.level + 1;
                self.row(&node.above, x, Below { level, class });
            }
            x += width;
        }
    }

    fn put(&mut self, node: &Node, (x, width): (f64, f64), Below { level, class }: Below) {
        let y = self.height - 8.0 - (level + 1) as f64 * ROW;
        let name = escaped(&node.frame.name);
        let share = node.samples as f64 / self.all * 100.0;
        let _infallible = write!(
            self.out,
            r#"<g class="box"><title>{name} {share:.1} %</title><rect class="{class}" x="{x:.1}" y="{y:.0}" width="{width:.1}" height="{ROW}"/>"#
        );
        let label = label(&node.frame.name, width);
        if !label.is_empty() {
            let _infallible = write!(
                self.out,
                r#"<text x="{:.1}" y="{:.0}">{}</text>"#,
                x + 2.0,
                y + 12.0,
                escaped(&label)
            );
        }
        self.out.push_str("</g>\n");
    }
}

/// As much of the end of a path as there is room for; nothing rather than a letter or two.
fn label(name: &str, width: f64) -> String {
    let room = ((width - 4.0) / LETTER).max(0.0) as usize;
    if room < 3 {
        return String::new();
    }
    let mut rest = name;
    while rest.chars().count() > room
        && let Some((_, tail)) = rest.split_once("::")
    {
        rest = tail;
    }
    if rest.chars().count() <= room {
        return rest.to_owned();
    }
    rest.chars().take(room - 1).chain(['.']).collect()
}

/// What says nothing of itself, such as copying memory, belongs to whoever called it.
fn class(frame: &Frame, caller: &'static str) -> &'static str {
    if frame.place == Place::Kernel {
        return "k";
    }
    match Part::of(frame) {
        Some(Part::Ours) => "o",
        Some(Part::Database) => "d",
        Some(Part::Cryptography) => "c",
        Some(Part::Memory) => "m",
        Some(Part::Tokio) => "t",
        Some(Part::Http) => "h",
        _ => caller,
    }
}

/// Stacks come in order, so those that share a beginning are neighbours.
fn tree(stacks: &Stacks) -> Vec<Node> {
    let mut roots: Vec<Node> = Vec::new();
    for (stack, samples) in stacks.iter() {
        let mut level = &mut roots;
        for frame in stack {
            if level.last().is_none_or(|last| last.frame != *frame) {
                level.push(Node {
                    frame: frame.clone(),
                    samples: 0,
                    above: Vec::new(),
                });
            }
            let Some(last) = level.last_mut() else { break };
            last.samples += samples;
            level = &mut last.above;
        }
    }
    roots
}

/// Rows that a node and what stands on it take.
fn depth(node: &Node, scale: f64) -> usize {
    if (node.samples as f64) * scale < NARROWEST {
        return 0;
    }
    let above = node.above.iter().map(|above| depth(above, scale));
    1 + above.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_as_wide_as_its_share_and_too_narrow_ones_are_left_out() {
        let busy = "t\n\t10 a::often\n\n".repeat(1_998);
        let svg = svg(
            "a < b",
            &Stacks::read(&format!("{busy}t\n\t10 a::rarely\n\nu\n\n")),
        );
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("<title>a::often 99.9 %</title>"), "{svg}");
        assert!(!svg.contains("rarely"));
    }

    #[test]
    fn a_label_is_the_end_of_the_path_that_fits() {
        assert_eq!(
            label("unhidra_gateway::connection::run", 400.0),
            "unhidra_gateway::connection::run"
        );
        assert_eq!(
            label("unhidra_gateway::connection::run", 110.0),
            "connection::run"
        );
        assert_eq!(label("tcp_sendmsg", 50.0), "tcp_se.");
        assert_eq!(label("run", 10.0), "");
    }
}
