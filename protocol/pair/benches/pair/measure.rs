//! CPU time of this thread: what else the machine does is not counted.

use std::{hint::black_box, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Runs of which the median counts.
const RUNS: usize = 31;

/// A named measurement.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) nanos: f64,
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// The median cost of one `work`, of runs of `times` each.
pub(crate) fn repeated<T>(name: &str, times: u32, mut work: impl FnMut() -> T) -> Row {
    prepared(
        name,
        || (),
        |()| {
            for _ in 0..times {
                black_box(work());
            }
            times
        },
    )
}

/// The median cost of one of the steps that `work` says it did, on what `prepare` made outside the measurement.
pub(crate) fn prepared<P>(name: &str, mut prepare: impl FnMut() -> P, mut work: impl FnMut(P) -> u32) -> Row {
    let mut samples: Vec<f64> = (0..RUNS)
        .map(|_| {
            let prepared = prepare();
            let begin = now();
            let steps = work(prepared);
            (now() - begin).as_secs_f64() * 1e9 / f64::from(steps)
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    Row {
        name: name.to_owned(),
        nanos: samples.get(RUNS / 2).copied().unwrap_or_default(),
    }
}

/// Prints rows beside each other, in microseconds and in units of `unit`.
pub(crate) fn print(rows: &[Row], unit: &Row) {
    for row in rows {
        println!(
            "{:<52} {:>9.2} us {:>8.2} DH",
            row.name,
            row.nanos / 1e3,
            row.nanos / unit.nanos
        );
    }
}
