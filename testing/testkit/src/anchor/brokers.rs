//! NATS and Mosquitto: one process each.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};

use super::{
    Running,
    daemon::{Daemon, PASSWORD, USER, command, folder_of, free_address},
    dialect::Dialect,
};

/// Whether NATS keeps messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    None,
    OnDisk,
}

/// Starts `nats-server`. The stream itself is made by the first link that publishes.
pub(super) fn nats(folder: &Path, stream: Stream) -> anyhow::Result<Running> {
    let user = "nats";
    folder_of(user, folder)?;
    let address = free_address()?;
    let mut command = command("nats-server", user, folder);
    command
        .args(["-a", "127.0.0.1", "-p", &address.port().to_string()])
        .args(["--user", USER, "--pass", PASSWORD]);
    if stream == Stream::OnDisk {
        command.args(["-js", "-sd"]).arg(folder.join("stream"));
    }
    let dialect = match stream {
        Stream::None => Dialect::Nats,
        Stream::OnDisk => Dialect::JetStream,
    };
    Ok(Running {
        daemons: vec![Daemon::start(&mut command, address)?],
        address,
        dialect,
    })
}

/// Starts `mosquitto`, which neither drops nor throttles messages of quality of service 1.
pub(super) fn mosquitto(folder: &Path) -> anyhow::Result<Running> {
    let user = "mosquitto";
    folder_of(user, folder)?;
    let address = free_address()?;
    let passwords = folder.join("passwords");
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&passwords)
        .args([USER, PASSWORD])
        .status()
        .context("run mosquitto_passwd")?;
    ensure!(made.success(), "mosquitto_passwd failed");
    folder_of(user, folder)?;
    let configuration = folder.join("mosquitto.conf");
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous false\npassword_file {}\npersistence true\n\
         persistence_location {}/\nmax_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\n\
         log_type error\n",
        address.port(),
        passwords.display(),
        folder.display(),
    );
    fs::write(&configuration, text).context("write the configuration of mosquitto")?;
    make_readable(&passwords)?;
    let mut command = command("mosquitto", user, folder);
    command.arg("-c").arg(&configuration);
    Ok(Running {
        daemons: vec![Daemon::start(&mut command, address)?],
        address,
        dialect: Dialect::Mqtt,
    })
}

/// The password is that of a measurement, and printed in this repository.
fn make_readable(file: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).context("let mosquitto read its passwords")
}
