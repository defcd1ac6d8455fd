//! What all processes of an anchor cost together: those that were started, and those that they started.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use unhidra_load::measure::{Usage, Watched};

const KIB: u64 = 1024;

/// Processes with all that descend from them.
#[derive(Clone, Debug)]
pub struct Processes {
    roots: Vec<u32>,
}

impl Processes {
    pub(super) const fn below(roots: Vec<u32>) -> Self {
        Self { roots }
    }

    /// The sum over all that live. One that has ended meanwhile (a worker of the database that sweeps) is left out,
    /// which is in the anchor's favour.
    ///
    /// # Errors
    /// When one of those that were started is gone.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let mut sum = Usage {
            cpu: Duration::ZERO,
            waited: Duration::ZERO,
            resident: 0,
            peak: 0,
            at: Instant::now(),
        };
        for pid in self.all()? {
            let usage = match Watched::new(pid).usage() {
                Ok(usage) => usage,
                Err(error) if self.roots.contains(&pid) => return Err(error),
                Err(_ended) => continue,
            };
            sum.cpu += usage.cpu;
            sum.waited += usage.waited;
            sum.resident += usage.resident;
            sum.peak += usage.peak;
        }
        Ok(sum)
    }

    /// Bytes of memory, of which those that several processes share count once.
    ///
    /// # Errors
    /// When one of those that were started is gone.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for pid in self.all()? {
            let rollup = match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
                Ok(rollup) => rollup,
                Err(error) if self.roots.contains(&pid) => {
                    return Err(error).context("read the memory of an anchor");
                }
                Err(_ended) => continue,
            };
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            sum += kibibytes.context("the system says what memory is shared")? * KIB;
        }
        Ok(sum)
    }

    fn all(&self) -> anyhow::Result<Vec<u32>> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for entry in fs::read_dir("/proc").context("list processes")? {
            let name = entry.context("list processes")?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            if let Some(parent) = parent(&stat) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut all = self.roots.clone();
        let mut next = 0;
        while let Some(pid) = all.get(next) {
            let below = children.remove(pid).unwrap_or_default();
            all.extend(below);
            next += 1;
        }
        Ok(all)
    }
}

/// Field 4 of proc(5); the second may hold spaces and parentheses.
fn parent(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::process::Process;

    #[test]
    fn what_a_process_started_is_counted_with_it() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "sleep 5 & echo up; wait"]);
        let mut process = Process::start(&mut shell, b"").unwrap();
        process
            .line(Duration::from_secs(10), |line| (line == "up").then_some(()))
            .unwrap();
        let processes = Processes::below(vec![process.pid()]);
        assert_eq!(processes.all().unwrap().len(), 2);
        let alone = Watched::new(process.pid()).usage().unwrap();
        assert!(processes.usage().unwrap().resident > alone.resident);
        assert!(processes.memory().unwrap() > 0);
    }

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("7 (a) b (c)) S 42 7 7 0 -1"), Some(42));
    }
}
