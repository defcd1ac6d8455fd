//! What is told while a day goes on, and how the server's memory ran.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::board::Board;
use crate::{
    measure::{Usage, Watched},
    report::median,
};

const MIB: f64 = 1_048_576.0;
/// What the last third of a day may take more than the second one, beside [`MAY_GROW_MIB`].
const MAY_GROW: f64 = 1.1;
/// Below this, growth is the allocator's.
const MAY_GROW_MIB: f64 = 8.0;

/// What it was like since the line before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Since the beginning.
    pub at_s: f64,
    /// Messages and receipts that were accepted, a second.
    pub sent_per_s: f64,
    /// Arrivals a second.
    pub received_per_s: f64,
    /// The median.
    pub p50_ms: f64,
    /// One in a hundred took longer.
    pub p99_ms: f64,
    /// Memory of the server.
    pub resident_mib: f64,
    /// Processors that the server used.
    pub processors: f64,
    /// Arrivals that were owed at the line before and have not come since.
    pub missing: u64,
    /// Since the beginning.
    pub reconnections: u64,
    /// Since the beginning.
    pub logins: u64,
    /// Since the beginning.
    pub pages: u64,
    /// Messages of those who send without end that were refused, since the beginning.
    pub refused: u64,
    /// Since the beginning.
    pub errors: u64,
}

/// Memory of the server through a day.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// At the end of each minute.
    pub minutes_mib: Vec<f64>,
    /// By which it grew, by least squares after the warm-up.
    pub slope_mib_per_hour: f64,
    /// The median of the second third of the day, and that of the last.
    pub thirds_mib: (f64, f64),
}

/// Looks at the board and at the server from time to time.
pub(super) struct Teller {
    board: Arc<Board>,
    server: Watched,
    began: Instant,
    warm_up: Duration,
    last: Usage,
    last_counts: (u64, u64, u64),
    /// When the warm-up was over: the server's usage, and what had arrived.
    warm: Option<(Usage, u64)>,
    lines: Vec<Line>,
}

impl Teller {
    pub(super) fn new(board: Arc<Board>, server: Watched, warm_up: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            last: server.usage()?,
            board,
            server,
            began: Instant::now(),
            warm_up,
            last_counts: (0, 0, 0),
            warm: None,
            lines: Vec::new(),
        })
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// One more line.
    ///
    /// # Errors
    /// When the server is gone.
    pub(super) fn tell(&mut self) -> anyhow::Result<&Line> {
        let (usage, recent) = (self.server.usage()?, self.board.recent()?);
        let spent = usage.since(&self.last);
        let (sent, received, owed) = (self.board.sent(), self.board.received(), self.board.owed());
        let (sent_before, received_before, owed_before) = self.last_counts;
        let line = Line {
            at_s: self.elapsed().as_secs_f64(),
            sent_per_s: spent.rate(sent - sent_before),
            received_per_s: spent.rate(received - received_before),
            p50_ms: recent.quantile(0.5).as_secs_f64() * 1e3,
            p99_ms: recent.quantile(0.99).as_secs_f64() * 1e3,
            resident_mib: usage.resident as f64 / MIB,
            processors: spent.cpu.as_secs_f64() / spent.elapsed.as_secs_f64().max(1e-9),
            missing: owed_before.saturating_sub(received),
            reconnections: self.board.reconnections(),
            logins: self.board.logins(),
            pages: self.board.pages(),
            refused: self.board.refused(),
            errors: self.board.errors(),
        };
        if self.warm.is_none() && self.elapsed() >= self.warm_up {
            self.warm = Some((usage, received));
        }
        (self.last, self.last_counts) = (usage, (sent, received, owed));
        self.lines.push(line);
        self.lines
            .last()
            .ok_or_else(|| anyhow::anyhow!("a line was told"))
    }

    /// Microseconds of the server for each arrival since the warm-up.
    ///
    /// # Errors
    /// When the day was no longer than its warm-up.
    pub(super) fn spent(&self) -> anyhow::Result<f64> {
        let (usage, received) = self
            .warm
            .ok_or_else(|| anyhow::anyhow!("the day was too short"))?;
        Ok(self.last.since(&usage).cpu_us_per(self.last_counts.1 - received))
    }

    pub(super) fn memory(&self) -> Memory {
        let warm: Vec<(f64, f64)> = self
            .lines
            .iter()
            .map(|line| (line.at_s, line.resident_mib))
            .filter(|(at, _)| *at >= self.warm_up.as_secs_f64())
            .collect();
        let third = |number: usize| {
            let begin = self.lines.len() * number / 3;
            let end = self.lines.len() * (number + 1) / 3;
            let part: Vec<f64> = self
                .lines
                .iter()
                .skip(begin)
                .take(end - begin)
                .map(|line| line.resident_mib)
                .collect();
            median(&part).unwrap_or_default()
        };
        let mut minutes_mib = Vec::new();
        for line in &self.lines {
            if line.at_s >= 60.0 * (minutes_mib.len() + 1) as f64 - 1.0 {
                minutes_mib.push(line.resident_mib);
            }
        }
        Memory {
            minutes_mib,
            slope_mib_per_hour: slope(&warm) * 3_600.0,
            thirds_mib: (third(1), third(2)),
        }
    }

    pub(super) fn into_lines(self) -> Vec<Line> {
        self.lines
    }
}

impl Memory {
    /// That the last third of the day took no more than the second.
    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        let (second, last) = self.thirds_mib;
        ensure!(
            last <= second * MAY_GROW || last <= second + MAY_GROW_MIB,
            "memory grew from {second:.1} MiB to {last:.1} MiB within a third of the day"
        );
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {:.0}/s, received {:.0}/s, p50 {:.1} ms, p99 {:.1} ms, {:.1} MiB, {:.2} processors, missing {}, \
             {} reconnections, {} logins, {} pages, {} refused, {} errors",
            self.sent_per_s,
            self.received_per_s,
            self.p50_ms,
            self.p99_ms,
            self.resident_mib,
            self.processors,
            self.missing,
            self.reconnections,
            self.logins,
            self.pages,
            self.refused,
            self.errors
        )
    }
}

/// Of the line that fits best.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let sum = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>();
    let (x, y) = (sum(|point| point.0) / count, sum(|point| point.1) / count);
    let around = |point: &(f64, f64)| ((point.0 - x) * (point.1 - y), (point.0 - x).powi(2));
    let (along, across) = points
        .iter()
        .map(around)
        .fold((0.0, 0.0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
    if across > 0.0 { along / across } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_points() {
        assert_eq!(slope(&[(0.0, 5.0), (10.0, 7.0), (20.0, 9.0)]), 0.2);
        assert_eq!(slope(&[(3.0, 5.0)]), 0.0);
    }

    #[test]
    fn memory_that_goes_on_growing_is_no_good_day() {
        let day = |second, last| Memory {
            thirds_mib: (second, last),
            ..Memory::default()
        };
        assert!(day(200.0, 215.0).verdict().is_ok());
        assert!(day(20.0, 27.0).verdict().is_ok());
        assert!(day(200.0, 230.0).verdict().is_err());
    }
}
