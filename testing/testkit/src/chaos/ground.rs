//! Where the storm takes place: a network that can be cut, and a disk that can be full.
//!
//! In a namespace of its own the real thing is done, by the operating system: the loopback interface goes down, and
//! the server's data lies on a small file system. That takes `unshare --net --mount`, which not every machine allows; a
//! proxy that stops passing bytes needs nothing. Either way no connection is told that it was cut.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::{Server, proxy::Proxy, server::Setting};

/// Room for a run of 20 000 lines and the server's reserve, and for what comes back from the backup beside it.
const DISK_MIB: u32 = 512;
/// Written at once while a disk is filled.
static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];

/// The network between clients and server.
#[derive(Debug)]
pub enum Network {
    /// Everything passes a proxy.
    Proxy(Proxy),
    /// The loopback interface of this process's own namespace.
    Namespace,
}

/// A small file system of its own; goes with the mount namespace.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl Network {
    /// A proxy.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn proxy() -> anyhow::Result<Self> {
        Proxy::start().map(Self::Proxy)
    }

    /// The namespace that this process runs in, which must be its own.
    ///
    /// # Errors
    /// When its interface can't be brought up.
    pub fn namespace() -> anyhow::Result<Self> {
        set_loopback("up")?;
        Ok(Self::Namespace)
    }

    /// What the server must know about the way to it.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        match self {
            Self::Proxy(proxy) => vec![("UNHIDRA_IDENTITY_ISSUER", proxy.url())],
            Self::Namespace => Vec::new(),
        }
    }

    /// How clients reach `server`, which may have just been started.
    #[must_use]
    pub fn way_to(&self, server: &Server) -> String {
        match self {
            Self::Proxy(proxy) => {
                proxy.lead_to(server.address());
                proxy.url()
            }
            Self::Namespace => server.url(),
        }
    }

    /// Lets nothing pass.
    ///
    /// # Errors
    /// When the interface can't be taken down.
    pub fn cut(&self) -> anyhow::Result<()> {
        match self {
            Self::Proxy(proxy) => {
                proxy.cut();
                Ok(())
            }
            Self::Namespace => set_loopback("down"),
        }
    }

    /// Lets everything pass again.
    ///
    /// # Errors
    /// When the interface can't be brought up.
    pub fn mend(&self) -> anyhow::Result<()> {
        match self {
            Self::Proxy(proxy) => {
                proxy.mend();
                Ok(())
            }
            Self::Namespace => set_loopback("up"),
        }
    }
}

impl SmallDisk {
    /// Mounts one.
    ///
    /// # Errors
    /// When this process may not mount.
    pub fn mount() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("unhidra-disk-")
            .tempdir()
            .context("make a folder")?;
        let options = format!("size={DISK_MIB}m");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path());
        done(&mut mount)?;
        Ok(Self { folder })
    }

    /// Where the server's data goes.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Leaves no byte free.
    ///
    /// # Errors
    /// When it fails for another reason than that.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut filler = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.filler())
            .context("make a filler")?;
        let mut block: &[u8] = &BLOCK;
        // Halved when it no longer fits, so that the last byte is taken too.
        while !block.is_empty() {
            match filler.write(block) {
                Ok(0) => bail!("the filler takes nothing"),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                    block = block.get(..block.len() / 2).unwrap_or_default();
                }
                Err(error) => return Err(error).context("fill the disk"),
            }
        }
        Ok(())
    }

    /// Gives back what [`SmallDisk::fill`] took.
    ///
    /// # Errors
    /// When it is not full.
    pub fn free(&self) -> anyhow::Result<()> {
        fs::remove_file(self.filler()).context("remove the filler")
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A busy one goes with the namespace.
        let _still_busy = done(Command::new("umount").arg(self.folder.path()));
    }
}

fn set_loopback(state: &str) -> anyhow::Result<()> {
    done(Command::new(ip()).args(["link", "set", "lo", state])).context(
        "change the loopback interface: the storm needs a network namespace and the package iproute2",
    )
}

/// Administrators' programs are not on every PATH.
fn ip() -> &'static Path {
    let places = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].map(Path::new);
    places
        .into_iter()
        .find(|place| place.exists())
        .unwrap_or(Path::new("ip"))
}

fn done(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| format!("run {shown}"))?;
    ensure!(
        output.status.success(),
        "{shown} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
