//! Where a process spends its processor time, by `perf record`.
//!
//! The clock of the processor is sampled (`cpu-clock`), which virtual machines have too. A sample takes the upper end of
//! the stack along, and stacks are followed afterwards by the tables for unwinding that every program has: nothing is
//! built in another way for it, only the names of functions have to be in the program.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use unhidra_load::measure::Watched;

use super::stacks::Stacks;
use crate::{install::tool, wait::until};

/// Samples in a second of processor time. A prime number: work that is done every so many milliseconds is not hit, or
/// missed, each time.
const FREQUENCY: &str = "997";
/// How stacks are followed, and bytes of a stack that a sample takes: futures of the server and their runtime need most
/// of them.
const STACKS: &str = "dwarf,32768";
const BEGIN_TIMEOUT: Duration = Duration::from_secs(10);
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// A process that is being recorded. Dropping it ends the recording.
pub struct Recording {
    recorder: Child,
    samples: PathBuf,
    _folder: TempDir,
}

impl Recording {
    /// Records all threads of `process` from now on, also those that it starts later.
    ///
    /// # Errors
    /// When `perf` is missing and can't be installed, or may not look at the process.
    pub fn begin(process: Watched) -> anyhow::Result<Self> {
        tool("perf", "linux-perf")?;
        let folder = tempfile::tempdir().context("make a folder")?;
        let samples = folder.path().join("samples");
        let recorder = Command::new("perf")
            .args(["record", "--quiet", "--event", "cpu-clock"])
            .args(["--freq", FREQUENCY, "--call-graph", STACKS])
            .args(["--pid", &process.pid().to_string()])
            .arg("--output")
            .arg(&samples)
            .stdin(Stdio::null())
            .spawn()
            .context("start perf")?;
        let mut recording = Self {
            recorder,
            samples,
            _folder: folder,
        };
        until("recording of perf", BEGIN_TIMEOUT, || {
            let ended = recording.recorder.try_wait().context("ask for the end of perf")?;
            ensure!(
                ended.is_none(),
                "perf does not record: may this user look at other processes (kernel.perf_event_paranoid)?"
            );
            let written = fs::metadata(&recording.samples).is_ok_and(|file| file.len() > 0);
            Ok(written.then_some(()))
        })?;
        Ok(recording)
    }

    /// Ends the recording; what was on the processor.
    ///
    /// # Errors
    /// When `perf` fails, or nothing was recorded.
    pub fn end(mut self) -> anyhow::Result<Stacks> {
        kill_process(Pid::from_child(&self.recorder), Signal::INT).context("ask perf to end")?;
        until("end of perf", END_TIMEOUT, || Ok(self.recorder.try_wait()?))?;
        let told = Command::new("perf")
            .args(["script", "--fields", "comm,ip,sym", "--no-inline", "--input"])
            .arg(&self.samples)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .context("read what perf recorded")?;
        ensure!(told.status.success(), "perf can't read what it recorded");
        let stacks = Stacks::read(&String::from_utf8_lossy(&told.stdout));
        ensure!(stacks.samples() > 0, "perf saw the process doing nothing");
        Ok(stacks)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Ok(None) = self.recorder.try_wait() {
            // It may end at this moment by itself.
            drop(self.recorder.kill());
            drop(self.recorder.wait());
        }
    }
}
