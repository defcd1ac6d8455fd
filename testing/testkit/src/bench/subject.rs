//! The servers that are measured, each a process of its own.

use std::{fs, net::SocketAddr, path::Path, process::Command, sync::Arc};

use anyhow::{Context as _, ensure};
use rustls::client::Resumption;
use tempfile::TempDir;
use unhidra_load::{
    Progress, Target,
    flow::{self, Connected, Flow, Plan},
    measure::Watched,
    population::{Host, Population},
    seat::Lane,
};

use super::Bench;
use crate::{
    process::{Process, RUN_TIMEOUT},
    program::Program,
    server::{Server, Setting, local_ca},
};

/// The server itself.
pub const OURS: &str = "unhidra";
/// The server itself, by TLS.
pub const OURS_TLS: &str = "unhidra, TLS";
/// Another revision of the server.
pub const OTHER: &str = "other revision";
/// The relay.
pub const LIMIT: &str = "limit";
/// The relay that stores.
pub const LIMIT_FSYNC: &str = "limit+fsync";
/// The server itself, by TLS with tickets of earlier connections.
pub const OURS_RESUMED: &str = "unhidra, TLS resumed";

/// What differs from the defaults. No limit is off: each message pays for its check, but one connection may send more
/// than a person does, and the administrator may invite faster. Accounts come from addresses of their own.
const SETTINGS: [(&str, &str); 6] = [
    ("UNHIDRA_LOG_FILTER", "info"),
    ("UNHIDRA_IDENTITY_PASSWORD_HASHING", "cheap"),
    ("UNHIDRA_LIMITS_MESSAGES", "1000000/s burst 1000000"),
    ("UNHIDRA_LIMITS_REQUESTS_PER_SESSION", "100000/s burst 100000"),
    ("UNHIDRA_LIMITS_SOCKETS", "14000"),
    ("UNHIDRA_SERVER_MAX_CONNECTIONS", "12000"),
];

/// Whether a server speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// It does not.
    Plain,
    /// It does.
    Tls,
}

/// The real server with accounts on it.
pub struct Ours {
    /// Its process. It comes first, so that it ends before its folder goes.
    pub server: Server,
    /// Its accounts.
    pub population: Population,
    /// Where it is.
    pub target: Target,
    _folder: TempDir,
}

/// A reference server.
pub struct Reference {
    process: Process,
    target: Target,
    _folder: TempDir,
}

impl Ours {
    /// Starts the server of this revision, with an administrator.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(bench: &Bench, transport: Transport) -> anyhow::Result<Self> {
        Self::start_program(bench, &bench.options.program, transport, Vec::new())
    }

    /// [`Ours::start`] of any program, with further settings.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_program(
        bench: &Bench,
        program: &Path,
        transport: Transport,
        further: Vec<Setting>,
    ) -> anyhow::Result<Self> {
        Self::start_as(bench, &Program::at(program), transport, further)
    }

    /// [`Ours::start_program`], run in another way than by its name.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_as(
        bench: &Bench,
        program: &Program,
        transport: Transport,
        further: Vec<Setting>,
    ) -> anyhow::Result<Self> {
        let folder = folder()?;
        let mut settings: Vec<Setting> = SETTINGS.map(|(name, value)| (name, value.to_owned())).to_vec();
        settings.extend(further);
        if transport == Transport::Tls {
            settings.push(local_ca());
        }
        let server = Server::configured(program, folder.path(), settings)?;
        let endpoint = server.endpoint();
        let target = match transport {
            Transport::Plain => Target::plain(endpoint.address),
            Transport::Tls => {
                let mut tls = endpoint.tls()?;
                // Each device is a stranger: what a generator resumes would be one device's.
                tls.resumption = Resumption::disabled();
                Target::tls(endpoint.address, Arc::new(tls))
            }
        };
        let setup = fs::read_to_string(server.setup_token_file()).context("read the set-up token")?;
        let host = Host::SetupToken(setup.trim().to_owned());
        let population = bench.runtime.block_on(Population::begin(&target, host))?;
        Ok(Self {
            server,
            population,
            target,
            _folder: folder,
        })
    }

    /// Ends it in order and starts it again, where it was.
    ///
    /// # Errors
    /// When it does not end, or does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.server.restart()
    }

    /// Ends it in order: what it has stored lies in its folder then, and in no journal.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let (status, _) = self.server.terminate()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// Bytes of everything that it keeps.
    ///
    /// # Errors
    /// When its folder can't be read.
    pub fn stored(&self) -> anyhow::Result<u64> {
        bytes_below(&self.server.data())
    }

    /// The same server, reached by TLS with the tickets of earlier connections.
    ///
    /// # Errors
    /// When its authority can't be read.
    pub fn resuming(&self) -> anyhow::Result<Target> {
        let endpoint = self.server.endpoint();
        Ok(Target::tls(endpoint.address, Arc::new(endpoint.tls()?)))
    }

    /// Its process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn watched(&self) -> anyhow::Result<Watched> {
        Ok(Watched::new(self.server.pid()?))
    }
}

impl Reference {
    /// Starts `limit`, or `limit+fsync`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(bench: &Bench, name: &str) -> anyhow::Result<Self> {
        let folder = folder()?;
        let mut command = Command::new(&bench.options.reference);
        command.arg("reference");
        if name == LIMIT_FSYNC {
            command.arg("--log").arg(folder.path().join("log"));
        }
        let mut process = Process::start(&mut command, b"")?;
        let address: SocketAddr = process.line(RUN_TIMEOUT, |line| {
            line.strip_prefix("listening on http://")?.parse().ok()
        })?;
        Ok(Self {
            process,
            target: Target::plain(address),
            _folder: folder,
        })
    }

    /// Lanes of its rooms, with `listeners` each.
    #[must_use]
    pub fn lanes(&self, lanes: u32, listeners: u32) -> Vec<Lane> {
        (0..lanes)
            .map(|number| Lane::reference(&self.target, number, listeners))
            .collect()
    }

    /// Its process.
    #[must_use]
    pub fn watched(&self) -> Watched {
        Watched::new(self.process.pid())
    }

    /// Where it is.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }
}

/// Opens the connections of `lanes` and runs one flow through them.
///
/// # Errors
/// When a connection fails or the server refuses.
pub fn flow(bench: &Bench, lanes: &[Lane], plan: Plan, server: Watched) -> anyhow::Result<Flow> {
    let progress: &Progress = &bench.progress;
    bench.runtime.block_on(async {
        let connected = Connected::open(lanes, progress).await?;
        flow::run(connected, plan, Some(server), progress).await
    })
}

fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).context("list the data")? {
        let entry = entry.context("list the data")?;
        let kind = entry.file_type().context("list the data")?;
        bytes += match kind.is_dir() {
            true => bytes_below(&entry.path())?,
            false => entry.metadata().context("measure the data")?.len(),
        };
    }
    Ok(bytes)
}

fn folder() -> anyhow::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("unhidra-bench-")
        .tempdir()
        .context("make a folder")
}
