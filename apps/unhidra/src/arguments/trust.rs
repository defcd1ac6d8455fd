//! Commands about identities and about other people.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use unhidra_types::{DeviceId, Username};

use super::{Authority, client::Keep};

#[derive(Subcommand)]
pub(crate) enum Identity {
    /// Show the identity key and the devices that hold it
    Show,
    /// Replace the identity key by one that it signs; contacts are told
    #[command(
        after_help = "This device certifies all others anew, and only it holds the new key. The words before are void."
    )]
    Rotate(Rotate),
    /// Everything is lost: begin a new identity, which every contact must accept
    #[command(
        after_help = "Revokes every device of the account. Run it with a new --profile; once a day at most."
    )]
    Reset(Reset),
    /// Print new recovery words for the same identity; the words before are void
    RecoveryKey,
}

#[derive(Args)]
pub(crate) struct Rotate {
    /// Leave out a device that is lost: it is revoked
    #[arg(long, value_name = "DEVICE")]
    pub(crate) without: Vec<DeviceId>,
    /// Begin another chain under the same key: for a chain that is full
    #[arg(long, conflicts_with = "without")]
    pub(crate) keep_key: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args)]
pub(crate) struct Reset {
    /// The server's address
    #[arg(long, value_name = "URL")]
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) authority: Authority,
    /// The account's name
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Username,
    /// The password is the first line of FILE [default: ask]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// What people call this device [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) device_name: Option<String>,
    #[command(flatten)]
    pub(crate) keep: Keep,
    /// The account's name once more: every device and the trust of every contact is given up
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Username,
}

#[derive(Subcommand)]
pub(crate) enum Contacts {
    /// List everyone this device knows: verified, blocked, asking, changed
    List,
    /// Accept the new identity of a user, once the digits were compared
    Accept {
        /// Whose identity
        user: Username,
        /// The new 60 digits, as the other person reads them out
        #[arg(long, value_name = "DIGITS")]
        digits: Option<String>,
        /// Do not ask; needs --digits
        #[arg(long, requires = "digits")]
        yes: bool,
    },
    /// List people who wrote and were never written to
    Requests,
    /// Accept such a request: receipts go out
    AcceptRequest {
        /// Who asks
        user: Username,
    },
    /// Drop everything from a user, silently, and refuse to send
    Block {
        /// Whom
        user: Username,
    },
    /// Let a user in again
    Unblock {
        /// Whom
        user: Username,
    },
    /// Show texts that failed because an identity was replaced
    Unsent {
        /// To whom
        user: Username,
        /// Send them anew, for the identity of now
        #[arg(long, conflicts_with = "forget")]
        send: bool,
        /// Forget them
        #[arg(long)]
        forget: bool,
    },
}
