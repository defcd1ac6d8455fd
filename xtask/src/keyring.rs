//! Tests against a real keyring: a session bus and GNOME Keyring of their own, in a folder that is deleted after.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, bail, ensure};

/// What has to be there, and the Debian package that it comes from.
const PROGRAMS: [(&str, &str); 2] = [
    ("dbus-run-session", "dbus-daemon"),
    ("gnome-keyring-daemon", "gnome-keyring"),
];

/// Starts bus and keyring, opens the keyring with an empty password, and runs what needs one.
const SESSION: &str = r#"
    set -eu
    printf '\n' | HOME="$KEYRING_HOME" XDG_DATA_HOME="$KEYRING_HOME/data" XDG_RUNTIME_DIR="$KEYRING_HOME" \
        gnome-keyring-daemon --unlock --components=secrets --control-directory="$KEYRING_HOME" > /dev/null
    exec cargo nextest run -p unhidra --run-ignored ignored-only keyring
"#;

/// Runs the tests that need a keyring, after installing what they need if that can be done.
///
/// # Errors
/// When a program is missing and can't be installed, or a test fails.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    for (program, package) in PROGRAMS {
        if !is_there(program) {
            install(program, package)?;
        }
    }
    let home = root.join("target/keyring");
    if home.exists() {
        fs::remove_dir_all(&home).context("delete the last keyring")?;
    }
    fs::create_dir_all(&home).context("make a folder for a keyring")?;
    let status = Command::new("dbus-run-session")
        .args(["--", "sh", "-c", SESSION])
        .env("KEYRING_HOME", &home)
        .current_dir(root)
        .status()
        .context("run a session bus")?;
    fs::remove_dir_all(&home).context("delete the keyring")?;
    ensure!(status.success(), "the tests that need a keyring failed");
    Ok(())
}

fn is_there(program: &str) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "where programs lie is not configuration of the product"
    )]
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).exists())
}

fn install(program: &str, package: &str) -> anyhow::Result<()> {
    println!("xtask: {program} is missing: apt-get install {package}");
    let status = Command::new("apt-get")
        .args(["install", "--yes", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status();
    match status {
        Ok(status) if status.success() && is_there(program) => Ok(()),
        _ => bail!("{program} is missing and can't be installed: install the package {package}"),
    }
}
