//! Instructions of a process, by callgrind: the same today and tomorrow, whoever else uses the machine.
//!
//! Valgrind runs one thread of the process at a time, and up to fifty times slower than the processor would. It sees the
//! program and not the kernel. Until counting begins it only watches, which is several times faster.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::{install::tool, program::Program};

/// A place for counts of processes.
pub struct Callgrind {
    folder: TempDir,
}

/// The counter of one process, which counts from its beginning.
pub struct Counter {
    pid: u32,
    pipe: PathBuf,
    written: PathBuf,
    readings: u32,
}

impl Callgrind {
    /// Makes one.
    ///
    /// # Errors
    /// When valgrind is missing and can't be installed.
    pub fn new() -> anyhow::Result<Self> {
        tool("valgrind", "valgrind")?;
        let folder = tempfile::Builder::new().prefix("unhidra-count-").tempdir();
        Ok(Self {
            folder: folder.context("make a folder")?,
        })
    }

    /// `program`, whose instructions can be counted while it runs. How many threads the runtime has is fixed: who wakes
    /// whom depends on it.
    #[must_use]
    pub fn program(&self, program: &Path) -> Program {
        let path = |option: &str, path: PathBuf| {
            let mut option = OsString::from(option);
            option.push(path);
            option
        };
        let runner = vec![
            "valgrind".into(),
            "--quiet".into(),
            "--tool=callgrind".into(),
            "--instr-atstart=no".into(),
            "--fair-sched=yes".into(),
            path("--callgrind-out-file=", self.folder.path().join("count.%p")),
            path("--vgdb-prefix=", self.pipe()),
        ];
        Program::at(program)
            .under(runner)
            .with("TOKIO_WORKER_THREADS", "2".into())
    }

    /// Begins to count the process `pid`, a run of [`Callgrind::program`].
    ///
    /// # Errors
    /// When it is none, or has ended.
    pub fn count(&self, pid: u32) -> anyhow::Result<Counter> {
        let counter = Counter {
            pid,
            pipe: self.pipe(),
            written: self.folder.path().join(format!("count.{pid}")),
            readings: 0,
        };
        counter.tell(&["instrumentation", "on"])?;
        Ok(counter)
    }

    fn pipe(&self) -> PathBuf {
        self.folder.path().join("vgdb")
    }
}

impl Counter {
    /// Instructions of all threads since the last reading, or since counting began.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn read(&mut self) -> anyhow::Result<u64> {
        self.readings += 1;
        self.tell(&["dump"])?;
        let path = self
            .written
            .with_extension(format!("{}.{}", self.pid, self.readings));
        let dump = fs::read_to_string(&path).context("read what callgrind wrote")?;
        let total = dump.lines().find_map(|line| line.strip_prefix("totals: "));
        let total = total.and_then(|total| total.trim().parse().ok());
        fs::remove_file(&path).context("remove what callgrind wrote")?;
        total.context("callgrind writes how many instructions there were")
    }

    fn tell(&self, command: &[&str]) -> anyhow::Result<()> {
        let mut prefix = OsString::from("--vgdb-prefix=");
        prefix.push(&self.pipe);
        let mut telling = Command::new("vgdb");
        // Names of pipes contain the user's and the machine's, which the server's environment lacks.
        for name in ["HOST", "HOSTNAME", "LOGNAME", "USER"] {
            telling.env_remove(name);
        }
        let told = telling
            .arg(prefix)
            .arg(format!("--pid={}", self.pid))
            .args(command)
            .stdin(Stdio::null())
            .output()
            .context("run vgdb")?;
        ensure!(
            told.status.success(),
            "callgrind does not listen: {}",
            String::from_utf8_lossy(&told.stderr).trim()
        );
        Ok(())
    }
}
