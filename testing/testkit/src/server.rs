//! A real server that can be killed and started again on the same folder and port.

use std::{
    fs::{self, File, OpenOptions},
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    endpoint::Endpoint,
    http::Http,
    process::{Process, RUN_TIMEOUT},
    program::Program,
    wait::until,
};

/// From start to readiness, also after a crash, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// From SIGTERM to the end: longer than the server's own grace.
const END_TIMEOUT: Duration = Duration::from_secs(30);
/// What it prints before its address.
const ANNOUNCEMENTS: [&str; 2] = ["listening on http://", "listening on https://"];

/// A server in a folder of its own.
///
/// Dropping it asks it to end and waits. Unless it was killed on purpose, a server that had crashed, or that does not
/// end cleanly, fails the test.
#[derive(Debug)]
pub struct Server {
    program: Program,
    folder: PathBuf,
    data: PathBuf,
    settings: Vec<Setting>,
    address: SocketAddr,
    state: State,
}

/// A variable of the server's environment with its value.
pub type Setting = (&'static str, String);

/// What makes a server speak TLS, by an authority that it makes for itself.
#[must_use]
pub fn local_ca() -> Setting {
    ("UNHIDRA_TLS_MODE", "local-ca".to_owned())
}

#[derive(Debug)]
enum State {
    Running(Child),
    /// By the test, which knows why.
    Ended,
}

impl Server {
    /// Starts a server below `folder` on a free port, and waits until it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in time; with the end of its log.
    pub fn start(program: &Program, folder: &Path) -> anyhow::Result<Self> {
        Self::configured(program, folder, Vec::new())
    }

    /// [`Server::start`] with settings that differ from their defaults.
    ///
    /// # Errors
    /// When it ends or is not ready in time; with the end of its log.
    pub fn configured(program: &Program, folder: &Path, settings: Vec<Setting>) -> anyhow::Result<Self> {
        Self::with_data(program, folder, folder.join("data"), settings)
    }

    /// [`Server::configured`] with its data in another place than below `folder`.
    ///
    /// # Errors
    /// When it ends or is not ready in time; with the end of its log.
    pub fn with_data(
        program: &Program,
        folder: &Path,
        data: PathBuf,
        settings: Vec<Setting>,
    ) -> anyhow::Result<Self> {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        fs::create_dir_all(folder.join("log")).context("make the folder of a server")?;
        let mut server = Self {
            program: program.clone(),
            folder: folder.to_owned(),
            data,
            settings,
            address: any,
            state: State::Ended,
        };
        server.launch()?;
        Ok(server)
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    /// When it still runs, ends, or is not ready in time.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        ensure!(matches!(self.state, State::Ended), "the server still runs");
        self.launch()
    }

    /// Ends it as a crash of the machine would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_nine(&mut self) -> anyhow::Result<()> {
        let child = self.running()?;
        child.kill().context("kill the server")?;
        child.wait().context("reap the server")?;
        self.state = State::Ended;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits; the exit status and how long it took.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub fn terminate(&mut self) -> anyhow::Result<(ExitStatus, Duration)> {
        let begin = Instant::now();
        self.ask_to_end()?;
        let ended = self.wait_for_end();
        if ended.is_err() {
            self.kill_nine()?;
        }
        Ok((ended?, begin.elapsed()))
    }

    /// Asks it to end (SIGTERM) and goes on; [`Server::wait_for_end`] waits.
    ///
    /// # Errors
    /// When it does not run.
    pub fn ask_to_end(&mut self) -> anyhow::Result<()> {
        let child = self.running()?;
        if let Some(status) = child.try_wait().context("ask for the server's end")? {
            bail!("the server has ended already, with {status}");
        }
        kill_process(Pid::from_child(child), Signal::TERM).context("ask the server to end")
    }

    /// Asks it to read again what changed (SIGHUP).
    ///
    /// # Errors
    /// When it does not run.
    pub fn hang_up(&mut self) -> anyhow::Result<()> {
        let child = self.running()?;
        if let Some(status) = child.try_wait().context("ask for the server's end")? {
            bail!("the server has ended already, with {status}");
        }
        kill_process(Pid::from_child(child), Signal::HUP).context("ask the server to read again")
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub fn wait_for_end(&mut self) -> anyhow::Result<ExitStatus> {
        let child = self.running()?;
        let status = until("end of the server", END_TIMEOUT, || Ok(child.try_wait()?))?;
        self.state = State::Ended;
        Ok(status)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as commands take it.
    #[must_use]
    pub fn url(&self) -> String {
        self.endpoint().url()
    }

    /// How it is reached: by TLS when it has a local CA.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        let authority = self.data().join("tls/ca.pem");
        Endpoint {
            address: self.address,
            authority: authority.exists().then_some(authority),
        }
    }

    /// What clients know its local CA by.
    ///
    /// # Errors
    /// When it has none.
    pub fn fingerprint(&self) -> anyhow::Result<String> {
        let mut command = self.program.command(&self.folder);
        command.args(["tls", "fingerprint", "--data"]).arg(self.data());
        let printed = Process::start(&mut command, b"")?.wait(RUN_TIMEOUT)?.success()?;
        let printed = String::from_utf8(printed.stdout().to_vec()).context("a fingerprint is text")?;
        Ok(printed.trim().to_owned())
    }

    /// Its process number.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        match &self.state {
            State::Running(child) => Ok(child.id()),
            State::Ended => bail!("the server does not run"),
        }
    }

    /// Where it keeps everything.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Where everything that it prints goes, across restarts.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Everything that it has logged so far.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn log(&self) -> anyhow::Result<String> {
        let log = fs::read(self.logs().join("stderr")).context("read the server's log")?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// The token that opens the first account.
    #[must_use]
    pub fn setup_token_file(&self) -> PathBuf {
        self.data().join("setup-token")
    }

    fn running(&mut self) -> anyhow::Result<&mut Child> {
        match &mut self.state {
            State::Running(child) => Ok(child),
            State::Ended => bail!("the server does not run"),
        }
    }

    fn launch(&mut self) -> anyhow::Result<()> {
        let (stdout, printed_before) = append(&self.logs().join("stdout"))?;
        let (stderr, _) = append(&self.logs().join("stderr"))?;
        let child = self
            .program
            .command(&self.folder)
            .env("UNHIDRA_LOG_FILTER", "debug")
            .envs(self.lifted_limits())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .arg("serve")
            .arg("--data")
            .arg(self.data())
            .arg("--listen")
            .arg(self.address.to_string())
            .stdin(std::process::Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .context("start the server")?;
        self.state = State::Running(child);
        let ready = self.wait_until_ready(printed_before);
        if ready.is_err() {
            self.kill_nine()?;
        }
        ready.with_context(|| format!("the server did not start; its log ends:\n{}", self.evidence()))
    }

    /// A script types faster than people do: unless a test names limits, the rates of what people do are off.
    fn lifted_limits(&self) -> Vec<(&'static str, &'static str)> {
        const RATES: [&str; 4] = [
            "UNHIDRA_LIMITS_CONNECTIONS_PER_NETWORK",
            "UNHIDRA_LIMITS_CONNECTIONS_PER_USER",
            "UNHIDRA_LIMITS_MESSAGES",
            "UNHIDRA_LIMITS_REQUESTS_PER_SESSION",
        ];
        let names_limits = self
            .settings
            .iter()
            .any(|(name, _)| name.starts_with("UNHIDRA_LIMITS_"));
        if names_limits {
            Vec::new()
        } else {
            RATES.map(|name| (name, "off")).to_vec()
        }
    }

    fn wait_until_ready(&mut self, printed_before: u64) -> anyhow::Result<()> {
        let stdout = self.logs().join("stdout");
        let child = self.running()?;
        self.address = until("announcement of an address", START_TIMEOUT, || {
            if let Some(status) = child.try_wait().context("ask for the server's end")? {
                bail!("it ended with {status}");
            }
            announced(&stdout, printed_before)
        })?;
        let http = Http::to(self.endpoint())?;
        until("readiness", START_TIMEOUT, || {
            let answer = http.get("/readyz", None);
            Ok(answer
                .is_ok_and(|answer| (200..300).contains(&answer.status))
                .then_some(()))
        })
    }

    /// The end of what it printed.
    fn evidence(&self) -> String {
        const LINES: usize = 40;
        let mut evidence = String::new();
        for name in ["stdout", "stderr"] {
            let printed = fs::read(self.logs().join(name)).unwrap_or_default();
            let printed = String::from_utf8_lossy(&printed);
            let lines: Vec<_> = printed.lines().collect();
            for line in lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default() {
                evidence.push_str(&format!("  {name}: {line}\n"));
            }
        }
        evidence
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.state, State::Ended) {
            return;
        }
        let ended = self.terminate();
        if thread::panicking() {
            eprintln!("the server's log ends:\n{}", self.evidence());
            return;
        }
        match ended {
            Ok((status, _)) => {
                assert!(
                    status.success(),
                    "the server ended with {status}\n{}",
                    self.evidence()
                );
            }
            Err(error) => assert!(thread::panicking(), "{error:#}\n{}", self.evidence()),
        }
    }
}

/// A file to append to, and how much it holds already.
fn append(path: &Path) -> anyhow::Result<(File, u64)> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))?;
    let length = file.metadata().context("measure a log")?.len();
    Ok((file, length))
}

/// The address in the first whole line after `skip` bytes that announces one.
fn announced(stdout: &Path, skip: u64) -> anyhow::Result<Option<SocketAddr>> {
    let mut printed = Vec::new();
    File::open(stdout)
        .context("open the server's output")?
        .read_to_end(&mut printed)
        .context("read the server's output")?;
    let printed = printed.get(usize::try_from(skip)?..).unwrap_or_default();
    let printed = String::from_utf8_lossy(printed);
    for line in printed.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let announced = ANNOUNCEMENTS
            .iter()
            .find_map(|announcement| line.split_once(announcement));
        if let Some((_, rest)) = announced {
            let address = rest.split_whitespace().next().unwrap_or_default();
            return address
                .parse()
                .map(Some)
                .with_context(|| format!("the server announced `{}`", line.trim()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_a_whole_line_of_this_run() {
        let folder = tempfile::tempdir().unwrap();
        let stdout = folder.path().join("stdout");
        let earlier = "listening on http://127.0.0.1:1\n";
        fs::write(
            &stdout,
            format!("{earlier}starting\nlistening on http://127.0.0.1:42"),
        )
        .unwrap();
        let skip = u64::try_from(earlier.len()).unwrap();
        assert_eq!(announced(&stdout, skip).unwrap(), None);
        fs::write(
            &stdout,
            format!("{earlier}starting\nlistening on http://127.0.0.1:42\n"),
        )
        .unwrap();
        assert_eq!(
            announced(&stdout, skip).unwrap(),
            Some(([127, 0, 0, 1], 42).into())
        );
    }

    #[test]
    fn a_program_that_is_no_server_is_reported_with_what_it_printed() {
        let folder = tempfile::tempdir().unwrap();
        let error = Server::start(&Program::at("/bin/echo"), folder.path()).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("stdout: serve --data") && error.contains("ended with"),
            "{error}"
        );
    }
}
