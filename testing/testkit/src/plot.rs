//! Charts of what was measured, as SVG that reads well on light and on dark paper.
//!
//! A chart is lines over two axes, each linear, logarithmic, or of shares that come closer and closer to all. Nothing
//! here knows where the figures come from; which charts are made of which report is [`pages`].
//!
//! - [`axis`]: where a value lies, and which values are named   - [`svg`]: the drawing   - [`pages`]: the charts of `docs`
//! - [`flame`]: stacks as a flame graph

mod axis;
pub mod flame;
pub mod pages;
mod svg;

pub use self::axis::{Axis, Scale};

/// Lines over two axes.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows, in one line.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// The lines, in the order of the legend.
    pub series: Vec<Series>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// As the legend calls it.
    pub name: String,
    /// From left to right; at least one.
    pub points: Vec<(f64, f64)>,
}

impl Chart {
    /// The chart as a file. Points that an axis can't show, such as zero on a logarithmic one, are left out.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::draw(self)
    }
}
