//! Administration, and one's own sessions and account.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use unhidra_types::{DeviceId, InvitationId, SessionId, Username};

#[derive(Subcommand)]
pub(crate) enum Users {
    /// List all accounts
    List,
    /// Show one account
    Show {
        /// Its name
        user: Username,
    },
    /// Disable an account: its sessions end, and it can't log in
    Disable {
        /// Its name
        user: Username,
    },
    /// Let a disabled account log in again
    Enable {
        /// Its name
        user: Username,
    },
}

#[derive(Subcommand)]
pub(crate) enum AdminSessions {
    /// List everyone's sessions
    List(OfUser),
    /// End a session
    End {
        /// From `admin sessions list`
        session: SessionId,
    },
}

#[derive(Subcommand)]
pub(crate) enum AdminDevices {
    /// List everyone's devices
    List(OfUser),
    /// End the sessions of a device and refuse new ones; only its user can revoke the device itself
    RevokeSessions {
        /// From `admin devices list`
        device: DeviceId,
    },
    /// Allow the sessions of a device again
    AllowSessions {
        /// From `admin devices list`
        device: DeviceId,
    },
}

#[derive(Subcommand)]
pub(crate) enum Invitations {
    /// List all invitations, without their tokens
    List,
    /// Withdraw an invitation that nobody used
    Revoke {
        /// From `admin invitations list`
        invitation: InvitationId,
    },
}

#[derive(Subcommand)]
pub(crate) enum Sessions {
    /// List the account's sessions
    List,
    /// End a session of the account
    End {
        /// From `sessions list`
        session: SessionId,
    },
}

#[derive(Subcommand)]
pub(crate) enum AccountCommand {
    /// Delete the account for good
    Delete(DeleteAccount),
}

#[derive(Args)]
pub(crate) struct DeleteAccount {
    /// The password is the first line of FILE [default: ask]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Do not ask whether to
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args)]
pub(crate) struct OfUser {
    /// Only this user's
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<Username>,
}
