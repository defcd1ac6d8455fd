//! One process of an anchor: under which user it runs, when it is up, and how it ends.

use std::{
    fs::{self, Permissions},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::geteuid;

use crate::{process::Process, wait::until};

/// The account of brokers that know one account only.
pub(super) const USER: &str = "bench";
/// Everybody's.
pub(super) const PASSWORD: &str = "secret";
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// From SIGTERM to the end, before it is killed: none of them keeps anything that is needed afterwards.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// A process that ends with its owner.
pub(super) struct Daemon {
    process: Option<Process>,
    pid: u32,
}

impl Daemon {
    /// Starts `command`, which [`command`] made, and waits until it listens at `address`.
    pub(super) fn start(command: &mut Command, address: SocketAddr) -> anyhow::Result<Self> {
        let mut process = Process::start(command, b"")?;
        let up = until("open port", START_TIMEOUT, || {
            if let Some(status) = process.ended()? {
                bail!("ended with {status}");
            }
            Ok(TcpStream::connect(address).ok())
        });
        if let Err(error) = up {
            let printed = process.printed()?;
            return Err(error.context(format!("start {:?}\n{printed}", command.get_program())));
        }
        Ok(Self {
            pid: process.pid(),
            process: Some(process),
        })
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        // One that has crashed has said so to those who spoke with it. One that does not end is killed.
        let _ended_already = process.ask_to_end();
        let _killed_then = process.wait(END_TIMEOUT);
    }
}

/// `program` in `folder`: as `user` if this process may choose, and dead at the latest when the calling thread is, so
/// that an interrupted run leaves nothing behind.
pub(super) fn command(program: &str, user: &str, folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if geteuid().is_root() {
        command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
    }
    command
        .arg(program)
        .current_dir(folder)
        .env("HOME", folder)
        .env("LC_ALL", "C.UTF-8");
    command
}

/// Lets the users of anchors get to their own folders below `folder`.
///
/// # Errors
/// When the folder is not this user's.
pub fn open_to_all(folder: &Path) -> anyhow::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o755)).context("open a folder to its users")
}

/// A folder at `path` that `user` owns, if this process may give it away.
pub(super) fn folder_of(user: &str, path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path).context("make a folder of an anchor")?;
    if !geteuid().is_root() {
        return Ok(());
    }
    let passwd = fs::read_to_string("/etc/passwd").context("list users")?;
    let ids = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next()? == user;
        let (user, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        is_it.then_some((user, group))
    });
    let (user, group) = ids.with_context(|| format!("there is no user {user}"))?;
    chown(path, Some(user), Some(group)).context("give a folder to its user")
}

/// An address of loopback where nothing listens at the moment.
pub(super) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("look for a free port")?;
    listener.local_addr().context("look for a free port")
}
