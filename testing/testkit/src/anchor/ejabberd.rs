//! ejabberd with PostgreSQL: accounts and an archive of every message in SQL, rooms, passwords by SASL PLAIN.
//!
//! The database syncs each transaction, as it comes. Passwords are stored plain, which is the cheapest that ejabberd
//! offers: what is compared is the login and not a key derivation.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, ensure};

use super::{
    Running,
    daemon::{Daemon, PASSWORD, command, folder_of, free_address, open_to_all},
    dialect::Dialect,
};

const DATABASE_USER: &str = "postgres";
const CHAT_USER: &str = "ejabberd";
const SCHEMA: &str = "/usr/share/ejabberd/sql/pg.sql";
/// Where Debian's Erlang applications lie.
const LIBRARIES: &str = "/usr/lib";
/// Connections that it may hold, as file descriptors and as Erlang ports.
const PORTS: &str = "32000";

/// Starts both, with `accounts` people who are called as [`super::dialect::Name`] calls them.
pub(super) fn start(folder: &Path, accounts: u32) -> anyhow::Result<Running> {
    // Both users have to get to what is theirs.
    fs::create_dir_all(folder).context("make the folder of ejabberd")?;
    open_to_all(folder)?;
    let database = free_address()?;
    let postgres = postgres(&folder.join("postgres"), database)?;
    let people = format!(
        "insert into users (username, password) select 'u' || n, '{PASSWORD}' from generate_series(0, {accounts}) n"
    );
    succeeded(
        Command::new("psql")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &database.port().to_string(),
                "-U",
                "bench",
                "-q",
            ])
            .args(["-v", "ON_ERROR_STOP=1", "-f", SCHEMA, "-c", &people, "postgres"])
            .output(),
    )
    .context("make the tables of ejabberd")?;
    let address = free_address()?;
    let ejabberd = ejabberd(&folder.join("ejabberd"), database, address)?;
    Ok(Running {
        address,
        dialect: Dialect::Xmpp,
        daemons: vec![ejabberd, postgres],
    })
}

fn postgres(folder: &Path, address: SocketAddr) -> anyhow::Result<Daemon> {
    folder_of(DATABASE_USER, folder)?;
    let programs = database_programs()?;
    let program = |name: &str| programs.join(name).display().to_string();
    let data = folder.join("data");
    succeeded(
        command(&program("initdb"), DATABASE_USER, folder)
            .args([
                "-U",
                "bench",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .output(),
    )
    .context("make a database")?;
    let mut server = command(&program("postgres"), DATABASE_USER, folder);
    server
        .arg("-D")
        .arg(&data)
        .arg("-k")
        .arg(folder)
        .args(["-p", &address.port().to_string()])
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=on"]);
    Daemon::start(&mut server, address)
}

fn ejabberd(folder: &Path, database: SocketAddr, address: SocketAddr) -> anyhow::Result<Daemon> {
    folder_of(CHAT_USER, folder)?;
    let configuration = folder.join("ejabberd.yml");
    fs::write(&configuration, settings(database, address)).context("write the configuration of ejabberd")?;
    let mut server = command("erl", CHAT_USER, folder);
    server
        .env("EJABBERD_CONFIG_PATH", &configuration)
        .env("EJABBERD_LOG_PATH", folder.join("ejabberd.log"))
        .env("ERL_CRASH_DUMP_BYTES", "0")
        .env("ERL_MAX_PORTS", PORTS)
        .env("ERL_LIBS", applications()?)
        .args(["-noinput", "+K", "true", "+P", "250000", "-mnesia", "dir"])
        .arg(format!("{:?}", folder.join("tables")))
        .args(["-s", "ejabberd"]);
    Daemon::start(&mut server, address)
}

/// Rooms and archive as a company that keeps its history would have them; no limit slows anything down.
fn settings(database: SocketAddr, address: SocketAddr) -> String {
    format!(
        r#"loglevel: warning
hosts: ["localhost"]
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    access: all
    starttls: false
    backlog: 1024
auth_method: sql
auth_password_format: plain
sql_type: pgsql
sql_server: "127.0.0.1"
sql_port: {database}
sql_username: "bench"
sql_password: "none"
sql_database: "postgres"
sql_pool_size: 10
default_db: sql
modules:
  mod_muc:
    host: "conference.localhost"
    access: all
    access_create: all
    access_mam: all
    history_size: 0
    max_users: 5000
    default_room_options:
      mam: true
      persistent: true
      max_users: 5000
  mod_mam:
    default: always
"#,
        port = address.port(),
        database = database.port(),
    )
}

/// Where the programs of the newest PostgreSQL lie: Debian does not put `initdb` on the path.
fn database_programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("look for PostgreSQL")?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .collect();
    found.sort();
    found
        .pop()
        .map(|(_, path)| path)
        .context("PostgreSQL is not installed")
}

/// The folder below [`LIBRARIES`] that holds ejabberd, which is that of the architecture.
fn applications() -> anyhow::Result<PathBuf> {
    let folders = fs::read_dir(LIBRARIES).context("look for ejabberd")?;
    let holds_it = |folder: &PathBuf| {
        fs::read_dir(folder).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("ejabberd-"))
            })
        })
    };
    folders
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(holds_it)
        .context("ejabberd is not installed")
}

fn succeeded(run: std::io::Result<Output>) -> anyhow::Result<()> {
    let output = run.context("start a program")?;
    ensure!(
        output.status.success(),
        "it ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
