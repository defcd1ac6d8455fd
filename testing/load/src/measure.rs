//! What a process on this machine has cost so far, from `/proc` (Linux).
//!
//! Processor time counts all threads, also those that have ended, in steps of 10 ms: measure over a second or more.

use std::{
    fs,
    ops::AddAssign,
    time::{Duration, Instant},
};

use anyhow::Context as _;

/// Length of one tick of `/proc/PID/stat`: `USER_HZ` is 100 on every architecture that Linux shows to programs.
const TICK: Duration = Duration::from_millis(10);
const KIB: u64 = 1024;

/// A process that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    pid: u32,
}

/// How much a process has used since it began, and when that was read.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time of all threads.
    pub cpu: Duration,
    /// Time that threads were ready and another process had the processor. At high values a latency describes the
    /// neighbours.
    pub waited: Duration,
    /// Resident memory, in bytes.
    pub resident: u64,
    /// The most resident memory so far, in bytes.
    pub peak: u64,
    /// When it was read.
    pub at: Instant,
}

/// What a process used between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Processor time.
    pub cpu: Duration,
    /// Time in the run queue.
    pub waited: Duration,
    /// Wall time.
    pub elapsed: Duration,
}

impl Watched {
    /// The process `pid`.
    #[must_use]
    pub const fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// This process.
    #[must_use]
    pub fn own() -> Self {
        Self::new(std::process::id())
    }

    /// Its number.
    #[must_use]
    pub const fn pid(self) -> u32 {
        self.pid
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it is gone, or the system has no `/proc`.
    pub fn usage(self) -> anyhow::Result<Usage> {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/{}/{name}", self.pid))
                .with_context(|| format!("read {name} of process {}", self.pid))
        };
        let cpu = ticks(&read("stat")?).context("the status names processor time")?;
        let status = read("status")?;
        Ok(Usage {
            cpu: TICK * u32::try_from(cpu).unwrap_or(u32::MAX),
            waited: self.waited()?,
            resident: kibibytes(&status, "VmRSS:").context("the status names the resident size")? * KIB,
            peak: kibibytes(&status, "VmHWM:").context("the status names the largest size")? * KIB,
            at: Instant::now(),
        })
    }

    /// Sets [`Usage::peak`] back to what is resident now; only a process of the same user allows it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn forget_peak(self) -> anyhow::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5").context("forget the peak of a process")
    }

    /// The most files that it may have open.
    ///
    /// # Errors
    /// When it is gone.
    pub fn descriptors(self) -> anyhow::Result<u64> {
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.pid)).context("read limits")?;
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let soft = line.and_then(|line| line.split_whitespace().next());
        soft.and_then(|soft| soft.parse().ok())
            .context("the limits name the open files")
    }

    /// A thread that ends takes its part along; servers keep theirs.
    fn waited(self) -> anyhow::Result<Duration> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid)).context("list threads")? {
            let path = thread.context("list threads")?.path().join("schedstat");
            // A thread that has ended meanwhile.
            let Ok(text) = fs::read_to_string(path) else {
                continue;
            };
            nanoseconds += text
                .split_whitespace()
                .nth(1)
                .and_then(|field| field.parse::<u64>().ok())
                .unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Usage {
    /// What was used since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Spent {
        Spent {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            waited: self.waited.saturating_sub(earlier.waited),
            elapsed: self.at.saturating_duration_since(earlier.at),
        }
    }
}

impl Spent {
    /// Microseconds of processor time for each of `units`.
    #[must_use]
    pub fn cpu_us_per(&self, units: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / units.max(1) as f64
    }

    /// How many of `units` a second brought.
    #[must_use]
    pub fn rate(&self, units: u64) -> f64 {
        units as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.waited += other.waited;
        self.elapsed += other.elapsed;
    }
}

/// Processes that were ready to run on average over the last minute.
///
/// # Errors
/// When the system does not say.
pub fn load_average() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").context("read the load average")?;
    let first = text.split_whitespace().next();
    first
        .and_then(|field| field.parse().ok())
        .context("the load average is a number")
}

/// User and system time, fields 14 and 15 of proc(5); the second field may hold spaces.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 17 0 0 20 0 5 0";
        assert_eq!(ticks(stat), Some(267));
    }

    #[test]
    fn work_shows_as_processor_time_and_memory() {
        let before = Watched::own().usage().unwrap();
        let mut work = vec![1_u8; 32 << 20];
        while Watched::own().usage().unwrap().since(&before).cpu < Duration::from_millis(50) {
            work.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(3));
        }
        let after = Watched::own().usage().unwrap();
        assert!(after.resident > before.resident + (16 << 20));
        assert!(after.peak >= after.resident && after.since(&before).cpu_us_per(10) >= 5_000.0);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(Watched::new(u32::MAX).usage().is_err());
    }
}
