//! Which compiler knows a target, and what Debian has to install.

use std::{
    fmt,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

/// A compiler, the sources of its standard library, and a linker for WebAssembly.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "lld-19"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

pub(super) enum Compiler {
    /// The pinned one, with the target's standard library.
    Rustup,
    /// Debian's, which makes the standard library from its sources.
    Debian,
}

impl Compiler {
    /// The pinned one where it has the target's standard library or can get it.
    pub(super) fn of(root: &Path, target: &str, debian: bool) -> anyhow::Result<Self> {
        if !debian {
            if has_library(root, target)? {
                return Ok(Self::Rustup);
            }
            println!("xtask: rustup target add {target}");
            let _added = succeeds(
                Command::new("rustup")
                    .args(["target", "add", target])
                    .current_dir(root),
            );
            if has_library(root, target)? {
                return Ok(Self::Rustup);
            }
            println!("xtask: rustup can't, so Debian's compiler makes it from sources");
        }
        let sources = "/usr/lib/rustlib/src/rust/library/core";
        if !Path::new(DEBIAN_RUSTC).exists() || !Path::new(sources).exists() || !is_there("wasm-ld-19") {
            install(&DEBIAN_PACKAGES)?;
        }
        Ok(Self::Debian)
    }

    /// A folder of its own: one compiler makes anew what the other made.
    pub(super) const fn folder(&self) -> &'static str {
        match self {
            Self::Rustup => "rustup",
            Self::Debian => "debian",
        }
    }

    pub(super) fn cargo(&self, target: &str, act: &str) -> Command {
        let mut command = Command::new("cargo");
        command
            .args([act, "--target", target])
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS");
        if matches!(self, Self::Debian) {
            let library = if target.contains("-none-") {
                "build-std=core,alloc"
            } else {
                "build-std=std,panic_abort"
            };
            command
                .args(["-Z", library])
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld-19");
        }
        command
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rustup => "rustup's library",
            Self::Debian => "Debian's compiler and sources",
        })
    }
}

fn has_library(root: &Path, target: &str) -> anyhow::Result<bool> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(root)
        .output()
        .context("start rustc")?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success() && Path::new(&folder).exists())
}

fn is_there(program: &str) -> bool {
    succeeds(Command::new(program).arg("--version"))
}

/// Whether it can be started and ends well; what it prints is of no interest.
pub(super) fn succeeds(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

pub(super) fn install(packages: &[&str]) -> anyhow::Result<()> {
    let names = packages.join(" ");
    println!("xtask: apt-get install {names}");
    let status = Command::new("apt-get")
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status();
    let Ok(status) = status else {
        bail!("there is no apt-get here: install {names}");
    };
    ensure!(status.success(), "{names} can't be installed");
    Ok(())
}
