//! One run of a program: its input, its output, and its end.
//!
//! Output goes to unnamed files and not to pipes, so a run never waits for its reader, and what it printed can be
//! looked at while it runs.

use std::{
    fmt,
    fs::File,
    io::{Seek as _, Write as _},
    os::unix::{fs::FileExt as _, process::ExitStatusExt as _},
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait::until;

/// How long one run may take unless its caller says otherwise.
pub const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// A run that may still be going on. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    shown: String,
    stdout: File,
    stderr: File,
}

/// How a run ended and what it printed.
pub struct Output {
    shown: String,
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Process {
    /// Starts `command` with `input` as its standard input.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(command: &mut Command, input: &[u8]) -> anyhow::Result<Self> {
        let mut stdin = tempfile::tempfile().context("make a file for input")?;
        stdin.write_all(input).context("write input")?;
        stdin.rewind().context("rewind input")?;
        Self::start_reading(command, stdin)
    }

    /// Starts `command` with a file as its standard input.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_reading(command: &mut Command, input: File) -> anyhow::Result<Self> {
        let stdout = tempfile::tempfile().context("make a file for output")?;
        let stderr = tempfile::tempfile().context("make a file for errors")?;
        command
            .stdin(input)
            .stdout(stdout.try_clone().context("share the output file")?)
            .stderr(stderr.try_clone().context("share the error file")?);
        let shown = shown(command);
        let child = command.spawn().with_context(|| format!("start {shown}"))?;
        Ok(Self {
            child,
            shown,
            stdout,
            stderr,
        })
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().context("ask for the end of a process")
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it has not by then; it is killed.
    pub fn wait(mut self, timeout: Duration) -> anyhow::Result<Output> {
        let ended = until("end", timeout, || self.ended());
        let status = match ended {
            Ok(status) => status,
            Err(error) => {
                let printed = self.printed()?;
                bail!("{}: {error:#}\n{printed}", self.shown);
            }
        };
        Ok(Output {
            shown: self.shown.clone(),
            status,
            stdout: everything(&self.stdout)?,
            stderr: everything(&self.stderr)?,
        })
    }

    /// Waits for a line of standard output for which `accept` gives something.
    ///
    /// # Errors
    /// When it has ended without one, or there was none in time.
    pub fn line<T>(
        &mut self,
        timeout: Duration,
        mut accept: impl FnMut(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let found = until("such line", timeout, || {
            // Asked first: what a process printed before its end is in the file when the end is known.
            let ended = self.ended()?;
            let stdout = everything(&self.stdout)?;
            let stdout = String::from_utf8_lossy(&stdout);
            // A line counts when its end has been printed.
            let whole = stdout.rsplit_once('\n').map_or("", |(whole, _begun)| whole);
            match (whole.lines().find_map(&mut accept), ended) {
                (Some(found), _) => Ok(Some(found)),
                (None, Some(status)) => bail!("ended with {status} before"),
                (None, None) => Ok(None),
            }
        });
        match found {
            Ok(found) => Ok(found),
            Err(error) => bail!("{}: {error:#}\n{}", self.shown, self.printed()?),
        }
    }

    /// What it has printed to standard output so far.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn stdout(&self) -> anyhow::Result<Vec<u8>> {
        everything(&self.stdout)
    }

    /// Ends it as a crash of the machine would.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill_nine(&mut self) -> anyhow::Result<()> {
        self.child
            .kill()
            .with_context(|| format!("kill {}", self.shown))?;
        self.child
            .wait()
            .with_context(|| format!("reap {}", self.shown))?;
        Ok(())
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Errors
    /// When it has ended already, or the operating system refuses.
    pub fn ask_to_end(&mut self) -> anyhow::Result<()> {
        // Asking first keeps the number from being another process's by now.
        if let Some(status) = self.ended()? {
            bail!("{} has ended already, with {status}", self.shown);
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).with_context(|| format!("ask {} to end", self.shown))
    }

    /// The ends of its output and of its errors so far.
    pub(crate) fn printed(&self) -> anyhow::Result<String> {
        Ok(format!(
            "stdout: {}\nstderr: {}",
            tail(&everything(&self.stdout)?),
            tail(&everything(&self.stderr)?)
        ))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process has been reaped, which is what they are for.
        let _already_ended = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stdout, stderr) = (tail(&self.stdout), tail(&self.stderr));
        write!(
            f,
            "{} ended with {}\nstdout: {stdout:?}\nstderr: {stderr}",
            self.shown, self.status
        )
    }
}

impl Output {
    /// The exit code; `None` after a signal.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Itself, if it ended with `code`.
    ///
    /// # Errors
    /// The command, how it ended and what it printed.
    pub fn with_code(self, code: i32) -> anyhow::Result<Self> {
        ensure!(
            self.code() == Some(code),
            "{} ended with {}, not with code {code}\nstdout: {}\nstderr: {}",
            self.shown,
            self.status,
            tail(&self.stdout),
            tail(&self.stderr),
        );
        Ok(self)
    }

    /// Itself, if it ended well.
    ///
    /// # Errors
    /// The command, how it ended and what it printed.
    pub fn success(self) -> anyhow::Result<Self> {
        self.with_code(0)
    }

    /// Itself, if it ended with `code` and one line that says why.
    ///
    /// # Errors
    /// The command, how it ended and what it printed.
    pub fn refusal(self, code: i32) -> anyhow::Result<String> {
        let output = self.with_code(code)?;
        let stderr = String::from_utf8(output.stderr.clone()).context("errors are UTF-8")?;
        let mut lines = stderr.lines();
        match (lines.next(), lines.next()) {
            (Some(line), None) if !line.trim().is_empty() && !line.contains("panicked") => {
                Ok(line.to_owned())
            }
            _ => bail!("{} did not say why in one line, but:\n{stderr}", output.shown),
        }
    }

    /// What it printed to standard output.
    #[must_use]
    pub fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    /// What it printed to standard error.
    #[must_use]
    pub fn stderr(&self) -> &[u8] {
        &self.stderr
    }

    /// The JSON values that it printed, one a line.
    ///
    /// # Errors
    /// When a line is not JSON.
    pub fn json(&self) -> anyhow::Result<Vec<Value>> {
        let text = std::str::from_utf8(&self.stdout)
            .with_context(|| format!("{} did not print UTF-8", self.shown))?;
        text.lines()
            .map(|line| {
                serde_json::from_str(line).with_context(|| format!("{} printed `{line}`", self.shown))
            })
            .collect()
    }
}

fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// All of a file, whatever position its writers are at.
fn everything(file: &File) -> anyhow::Result<Vec<u8>> {
    let length = file.metadata().context("measure an output file")?.len();
    let mut content = vec![0; usize::try_from(length).context("an output file is too long")?];
    file.read_exact_at(&mut content, 0)
        .context("read an output file")?;
    Ok(content)
}

/// The end of an output, enough to see what went wrong.
fn tail(output: &[u8]) -> String {
    const SHOWN: usize = 4_000;
    let from = output.len().saturating_sub(SHOWN);
    String::from_utf8_lossy(output.get(from..).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    fn alive(pid: u32) -> bool {
        std::path::Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn input_output_and_code_are_those_of_the_program() {
        let process = Process::start(&mut shell("cat; echo why >&2; exit 7"), b"{\"a\":1}\n{}\n").unwrap();
        let output = process.wait(SOON).unwrap();
        assert_eq!(output.code(), Some(7));
        assert_eq!(output.json().unwrap().len(), 2);
        assert_eq!(output.refusal(7).unwrap(), "why");
    }

    #[test]
    fn a_refusal_of_two_lines_is_none() {
        let process = Process::start(&mut shell("echo one >&2; echo two >&2; exit 6"), b"").unwrap();
        assert!(process.wait(SOON).unwrap().refusal(6).is_err());
    }

    #[test]
    fn a_run_that_does_not_end_is_killed_and_named() {
        let process = Process::start(&mut shell("echo began; exec sleep 60"), b"").unwrap();
        let pid = process.pid();
        let begin = Instant::now();
        let error = process.wait(Duration::from_millis(200)).unwrap_err().to_string();
        assert!(error.contains("sleep 60") && error.contains("began"), "{error}");
        assert!(begin.elapsed() < SOON && !alive(pid));
    }

    #[test]
    fn a_line_is_seen_while_the_run_goes_on() {
        let mut process = Process::start(&mut shell("echo code 42; exec sleep 60"), b"").unwrap();
        let code = process.line(SOON, |line| line.strip_prefix("code ").map(str::to_owned));
        assert_eq!(code.unwrap(), "42");
        assert!(process.ended().unwrap().is_none());
    }

    #[test]
    fn a_run_that_ends_without_the_line_is_not_waited_for() {
        let mut process = Process::start(&mut shell("echo other"), b"").unwrap();
        let begin = Instant::now();
        assert!(process.line(SOON, |line| (line == "this").then_some(())).is_err());
        assert!(begin.elapsed() < SOON);
    }

    #[test]
    fn dropping_kills_and_reaps() {
        let process = Process::start(&mut shell("exec sleep 60"), b"").unwrap();
        let pid = process.pid();
        drop(process);
        assert!(!alive(pid));
    }

    #[test]
    fn signals_end_a_run_as_asked() {
        let mut asked = Process::start(
            &mut shell("trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"),
            b"",
        )
        .unwrap();
        asked.line(SOON, |line| (line == "up").then_some(())).unwrap();
        asked.ask_to_end().unwrap();
        assert_eq!(asked.wait(SOON).unwrap().code(), Some(3));

        let mut killed = Process::start(&mut shell("exec sleep 60"), b"").unwrap();
        killed.kill_nine().unwrap();
        assert_eq!(killed.wait(SOON).unwrap().signal(), Some(9));
    }
}
