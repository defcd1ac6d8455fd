//! An axis: where a value lies on it, and which values are named.

/// What an axis says and how it runs.
#[derive(Clone, Debug)]
pub struct Axis {
    /// The quantity with its unit.
    pub label: String,
    /// How it runs.
    pub scale: Scale,
}

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from zero.
    Linear,
    /// Evenly by their logarithm.
    Logarithmic,
    /// Shares of a whole, evenly by how little is missing: 0.9, 0.99, 0.999.
    Shares,
}

/// An axis that is fitted to values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fitted {
    scale: Scale,
    /// On the scale, not as values.
    low: f64,
    high: f64,
}

/// Named values at most.
const MOST_TICKS: f64 = 6.0;

impl Axis {
    /// An axis for `label`, which names the unit too.
    #[must_use]
    pub fn new(label: impl Into<String>, scale: Scale) -> Self {
        Self {
            label: label.into(),
            scale,
        }
    }

    /// Fits the axis to all of `values` that it can show; around nothing if there are none.
    pub(super) fn fit(&self, values: impl Iterator<Item = f64>) -> Fitted {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for place in values.filter_map(|value| place(self.scale, value)) {
            (low, high) = (low.min(place), high.max(place));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let (low, high) = match self.scale {
            Scale::Linear => (low.min(0.0), if high > 0.0 { high * 1.08 } else { 1.0 }),
            Scale::Logarithmic => (
                low.floor(),
                if high.ceil() > low.floor() {
                    high.ceil()
                } else {
                    high.ceil() + 1.0
                },
            ),
            Scale::Shares => (low, if high > low { high } else { low + 1.0 }),
        };
        Fitted {
            scale: self.scale,
            low,
            high,
        }
    }
}

impl Fitted {
    /// Where `value` lies between the ends, 0 to 1.
    pub(super) fn at(self, value: f64) -> Option<f64> {
        place(self.scale, value).map(|place| (place - self.low) / (self.high - self.low))
    }

    /// Values that are named, with their names.
    pub(super) fn ticks(self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => {
                let step = round_step((self.high - self.low) / MOST_TICKS);
                steps(self.low / step, self.high / step)
                    .map(|count| (count * step, shown(count * step)))
                    .collect()
            }
            Scale::Logarithmic => steps(self.low, self.high)
                .map(|power| (10_f64.powf(power), shown(10_f64.powf(power))))
                .collect(),
            Scale::Shares => [0.5, 0.9, 0.99, 0.999]
                .into_iter()
                .filter(|share| self.at(*share).is_some_and(|at| (-0.01..=1.01).contains(&at)))
                .map(|share| (share, format!("{}", (share * 1_000.0).round() / 10.0)))
                .collect(),
        }
    }
}

fn place(scale: Scale, value: f64) -> Option<f64> {
    let place = match scale {
        Scale::Linear => value,
        Scale::Logarithmic => value.log10(),
        Scale::Shares => -(1.0 - value).log10(),
    };
    place.is_finite().then_some(place)
}

/// Whole numbers from `low` to `high`.
fn steps(low: f64, high: f64) -> impl Iterator<Item = f64> {
    std::iter::successors(Some(low.ceil()), |step| Some(step + 1.0))
        .take_while(move |step| *step <= high + 1e-9)
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= step);
    times.unwrap_or(10.0) * power
}

fn shown(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", tidy(value / 1e6)),
        value if value >= 1e4 => format!("{} k", tidy(value / 1e3)),
        value => tidy(value),
    }
}

/// Without the digits that a sum of fractions leaves behind.
fn tidy(value: f64) -> String {
    format!("{}", (value * 1e4).round() / 1e4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scale: Scale, values: &[f64]) -> Vec<String> {
        let ticks = Axis::new("x", scale).fit(values.iter().copied()).ticks();
        ticks.into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn few_round_values_are_named() {
        assert_eq!(
            names(Scale::Linear, &[0.3, 1.1]),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        assert_eq!(
            names(Scale::Logarithmic, &[90.0, 11_000.0]),
            ["10", "100", "1000", "10 k", "100 k"]
        );
        assert_eq!(names(Scale::Shares, &[0.5, 0.999]), ["50", "90", "99", "99.9"]);
    }

    #[test]
    fn a_value_lies_between_the_ends_and_what_has_no_logarithm_nowhere() {
        let axis = Axis::new("x", Scale::Logarithmic).fit([1.0, 100.0].into_iter());
        assert_eq!(
            (axis.at(1.0), axis.at(10.0), axis.at(100.0)),
            (Some(0.0), Some(0.5), Some(1.0))
        );
        assert_eq!(axis.at(0.0), None);
    }
}
