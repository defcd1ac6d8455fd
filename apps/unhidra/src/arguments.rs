//! What can be typed: commands, options and their help. `docs/cli.md` is the contract.

mod admin;
pub(crate) mod audit;
mod client;
mod load;
mod moment;
mod screen;
mod transport;
mod trust;

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use unhidra_runtime::unit::parse_duration;
use unhidra_types::{ConnectionId, DeviceId, Fingerprint, Username};

use self::transport::Transport;
pub(crate) use self::trust::{Contacts, Identity, Reset, Rotate};
pub(crate) use self::{
    admin::{AccountCommand, AdminDevices, AdminSessions, DeleteAccount, Invitations, Sessions, Users},
    client::{
        Chat, Completions, Export, ExportFormat, Keep, Key, KeyPlace, Man, MoveKey, Prune, Search, Shell,
        Verify,
    },
    load::Load,
    screen::command,
};

/// End-to-end encrypted messaging: server and client in one program.
#[derive(Parser)]
#[command(name = "unhidra", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  unhidra demo                                 see it work on this machine
  unhidra serve --data ./data                  run a server
  unhidra send bob 'hello'                     send a message
  unhidra send bob --lines --batch b1 < file   send every line of a file, each once
  unhidra read --json                          print what is new, for a script

Exit codes: 0 done, 1 failed, 2 usage, 3 configuration, 4 credentials, 5 server unreachable,
6 not found, 7 sending blocked, 8 malformed input, 9 store, 10 version, 11 timed out,
12 server not trusted.";

// Their order puts them behind a command's own options.
#[derive(Args, Clone)]
pub(crate) struct Global {
    /// Which account on this machine
    #[arg(
        long,
        global = true,
        display_order = 901,
        default_value = "default",
        value_name = "NAME"
    )]
    pub(crate) profile: String,
    /// Where profiles lie [default: the user's data folder]
    #[arg(
        long,
        global = true,
        display_order = 902,
        env = "UNHIDRA_HOME",
        value_name = "DIR"
    )]
    pub(crate) home: Option<PathBuf>,
    /// Where data folders lie, by the desktop's convention
    #[arg(long, global = true, display_order = 903, env = "XDG_DATA_HOME", hide = true)]
    pub(crate) data_home: Option<PathBuf>,
    /// Opens the profile's store [default: the keyring, or store.key in the profile]
    #[arg(
        long,
        global = true,
        display_order = 904,
        value_name = "FILE",
        conflicts_with = "passphrase_file"
    )]
    pub(crate) key_file: Option<PathBuf>,
    /// Opens the profile's store by a passphrase: the first line of FILE
    #[arg(long, global = true, display_order = 905, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// How old the last look at the server's audit log may be
    #[arg(long, global = true, display_order = 906, env = "UNHIDRA_WATCH_AUDIT", value_parser = parse_duration, default_value = "1h", hide = true)]
    pub(crate) watch_audit: Duration,
    /// Print one JSON object a line
    #[arg(long, global = true, display_order = 907)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a server until it is told to stop
    Serve(ServerOptions),
    /// A server, two people and three devices on this machine
    Demo(Demo),
    /// Open an account with an invitation, and certify this device
    #[command(
        after_help = "Examples:\n  unhidra register --username alice --invitation unhidra://chat.example.org/#...\n  unhidra register --server http://127.0.0.1:9000 --username alice --invitation TOKEN"
    )]
    Register(Register),
    /// Log this profile in; a new device is then linked
    #[command(
        after_help = "Examples:\n  unhidra login --server http://127.0.0.1:9000 --username alice   on a new device\n  unhidra login                                                   again, after a logout"
    )]
    Login(Login),
    /// End this session; the keys stay
    Logout,
    /// Show user, device, session and role
    Whoami,
    /// List and end the account's sessions
    #[command(subcommand)]
    Sessions(Sessions),
    /// Delete the account
    #[command(subcommand)]
    Account(AccountCommand),
    /// List, link and revoke the account's devices
    #[command(subcommand)]
    Devices(Devices),
    /// Show, replace or reset the account's identity key
    #[command(subcommand)]
    Identity(Identity),
    /// Show what to compare with a user, or record that it matches
    Verify(Verify),
    /// Accept changed identities and requests, block people
    #[command(subcommand)]
    Contacts(Contacts),
    /// Send a message, or every line of a file
    #[command(
        after_help = "Examples:\n  unhidra send bob 'hello'\n  unhidra send bob --lines --batch b1 < file"
    )]
    Send(Send),
    /// Print messages that arrived, new ones once
    Read(Read),
    /// Print messages as they arrive, until interrupted
    Listen,
    /// Talk to a user, line by line
    Chat(Chat),
    /// Find messages that hold a text
    Search(Search),
    /// Write every message to a file or to standard output
    Export(Export),
    /// Delete old messages from this device
    Prune(Prune),
    /// Show or move the key that opens this profile
    #[command(subcommand)]
    Key(Key),
    /// Administer the server
    #[command(subcommand)]
    Admin(Admin),
    /// Export, check and search the tamper-evident log
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Check configuration, data folder, machine and port
    Doctor(Doctor),
    /// Copy a server's data into one file, also while it serves
    #[command(after_help = "Example:\n  unhidra backup --data ./data --out /backups")]
    Backup(Backup),
    /// Restore a backup into an empty data folder
    #[command(after_help = "Example:\n  unhidra restore /backups/unhidra-20261121T020000Z.tar --data ./data")]
    Restore(Restore),
    /// Try how much a server carries, with accounts made for it
    #[command(
        after_help = "Examples:\n  unhidra load --check                      until the first limit\n  unhidra load --groups 10 --rate 2 --for 5m   one rate, for long"
    )]
    Load(Load),
    /// Show configuration
    #[command(subcommand)]
    Config(Config),
    /// Print the REST interface as an OpenAPI document
    Openapi,
    /// Print a completion script
    Completions(Completions),
    /// Print the manual page
    Man(Man),
    /// Show what clients trust this server by
    #[command(subcommand)]
    Tls(Tls),
}

#[derive(Args, Clone, Default)]
pub(crate) struct ServerOptions {
    /// Configuration file [default: unhidra.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data folder [default: the configuration's, or ./data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address and port [default: the configuration's, or 127.0.0.1:9000]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) transport: Transport,
    /// Believe this machine's clock, though the last audit record is far from it
    #[arg(long)]
    pub(crate) trust_clock: bool,
}

#[derive(Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// Read the database's indexes and references as well: minutes for each GiB
    #[arg(long)]
    pub(crate) full: bool,
    /// Do what is safe: release the reserve of a full disk, remove unfinished files, take in the database's log
    #[arg(long)]
    pub(crate) recover: bool,
}

/// Which server's data is meant.
#[derive(Args, Clone)]
pub(crate) struct DataOptions {
    /// Configuration file [default: unhidra.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data folder [default: the configuration's, or ./data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

impl From<DataOptions> for ServerOptions {
    fn from(DataOptions { config, data }: DataOptions) -> Self {
        Self {
            config,
            data,
            ..Self::default()
        }
    }
}

#[derive(Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) server: DataOptions,
    /// The new file, or a folder that gets one named by the time
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Args)]
pub(crate) struct Restore {
    /// A file that `unhidra backup` made
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) server: DataOptions,
    /// Only read the file to its end and say what is in it
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Args)]
pub(crate) struct Demo {
    /// Folder for server and profiles [default: a new one]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address and port; loopback only
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// End after the conversation instead of serving on
    #[arg(long)]
    pub(crate) exit: bool,
}

#[derive(Args)]
pub(crate) struct Register {
    /// The server's address; an invitation that is a link has it
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    #[command(flatten)]
    pub(crate) authority: Authority,
    /// The wanted name: 2 to 32 of a-z, 0-9, `.`, `_`, `-`
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Username,
    /// An invitation from an administrator: a link, or the token in it
    #[arg(
        long,
        value_name = "LINK",
        required_unless_present = "setup_token_file",
        allow_hyphen_values = true
    )]
    pub(crate) invitation: Option<String>,
    /// The file that the server wrote at its first start
    #[arg(long, value_name = "FILE", conflicts_with = "invitation")]
    pub(crate) setup_token_file: Option<PathBuf>,
    /// The password is the first line of FILE [default: ask]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// What people call this device [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) device_name: Option<String>,
    #[command(flatten)]
    pub(crate) keep: Keep,
}

/// Who vouches for a server, unless it is an authority that this machine knows.
#[derive(Args, Clone)]
pub(crate) struct Authority {
    /// Trust the authorities in FILE (PEM), and no others
    #[arg(long, value_name = "FILE", conflicts_with = "ca_fingerprint")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Trust the server's own authority: what `unhidra tls fingerprint` prints there
    #[arg(long, value_name = "HEX")]
    pub(crate) ca_fingerprint: Option<Fingerprint>,
}

#[derive(Args)]
pub(crate) struct Login {
    /// The server's address [default: the profile's]
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    #[command(flatten)]
    pub(crate) authority: Authority,
    /// The account's name [default: the profile's]
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<Username>,
    /// The password is the first line of FILE [default: ask]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// What people call this device [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) device_name: Option<String>,
    /// Certify this device by the 24 words in FILE instead of by another device
    #[arg(long, value_name = "FILE")]
    pub(crate) recovery_key_file: Option<PathBuf>,
    /// Take the six digits as compared: do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Show the linking code as text only
    #[arg(long)]
    pub(crate) no_qr: bool,
    #[command(flatten)]
    pub(crate) keep: Keep,
}

#[derive(Subcommand)]
pub(crate) enum Devices {
    /// List the account's devices
    List,
    /// Certify the device that shows CODE
    Link {
        /// What the new device shows
        code: String,
        /// Take the six digits as compared: do not ask
        #[arg(long)]
        yes: bool,
        /// What people call the new device
        #[arg(long, value_name = "NAME", default_value = "linked device")]
        name: String,
    },
    /// Revoke a device for good
    Revoke {
        /// From `devices list`
        device: DeviceId,
    },
}

#[derive(Args)]
pub(crate) struct Send {
    /// To whom
    pub(crate) user: Username,
    /// The text [default: all of standard input as one message]
    #[arg(conflicts_with_all = ["lines", "batch"], allow_hyphen_values = true)]
    pub(crate) text: Option<String>,
    /// Send each line of standard input as a message
    #[arg(long)]
    pub(crate) lines: bool,
    /// Feeding the same lines under the same ID again sends only what is missing
    #[arg(long, value_name = "ID", requires = "lines")]
    pub(crate) batch: Option<String>,
    /// Return when every message has come this far
    #[arg(long, value_enum, default_value_t = Reach::Sent)]
    pub(crate) wait: Reach,
    /// Give up waiting; what is queued is kept
    #[arg(long, value_parser = parse_duration, default_value = "30s", value_name = "TIME")]
    pub(crate) timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reach {
    /// The server has it.
    Sent,
    /// A device of the other user has opened and stored it.
    Delivered,
}

#[derive(Args)]
pub(crate) struct Read {
    /// Only the conversation with this user
    #[arg(long, value_name = "USER")]
    pub(crate) from: Option<Username>,
    /// Everything that this device has, not only what is new
    #[arg(long)]
    pub(crate) all: bool,
    /// At most so many messages, the oldest first
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Subcommand)]
pub(crate) enum Admin {
    /// Make an invitation
    Invite {
        /// What the invited account may do
        #[arg(long, value_enum, default_value_t = InviteRole::Member)]
        role: InviteRole,
        /// When the invitation ends
        #[arg(long, value_parser = parse_expiry, default_value = "7d", value_name = "TIME")]
        expires: Duration,
    },
    /// List, show, disable and enable accounts
    #[command(subcommand)]
    Users(Users),
    /// List and end everyone's sessions
    #[command(subcommand)]
    Sessions(AdminSessions),
    /// List everyone's devices; end and refuse their sessions
    #[command(subcommand)]
    Devices(AdminDevices),
    /// List and withdraw invitations
    #[command(subcommand)]
    Invitations(Invitations),
    /// See who is connected, and close connections
    #[command(subcommand)]
    Connections(Connections),
}

#[derive(Subcommand)]
pub(crate) enum Connections {
    /// List connections, the oldest first
    List,
    /// Close a connection; its session stays
    Close {
        /// From `admin connections list`
        connection: ConnectionId,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InviteRole {
    Member,
    SuperAdmin,
}

#[derive(Subcommand)]
pub(crate) enum Config {
    /// Print every key with its meaning, unit and default
    Example,
    /// Print what every key is set to, and by what
    Show(Box<ServerOptions>),
}

/// How long an invitation may live.
fn parse_expiry(text: &str) -> Result<Duration, String> {
    const LIFETIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);
    let expires = parse_duration(text).map_err(|error| error.to_string())?;
    if LIFETIMES.contains(&expires) {
        Ok(expires)
    } else {
        Err("an invitation lives between 1s and 30d".to_owned())
    }
}

#[derive(Subcommand)]
pub(crate) enum Tls {
    /// Print the fingerprint of the local CA
    Fingerprint(ServerOptions),
}
