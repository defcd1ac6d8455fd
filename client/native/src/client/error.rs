//! Why a client could not do what it was asked for.

use unhidra_client::{
    SubmitError,
    device::{CertifyError, RotateError},
    store::StoreError,
};
use unhidra_pair::{linking::LinkError, recovery::RecoveryError};
use unhidra_types::UserId;
use unhidra_wire::rest::ProblemCode;

use crate::{
    authority::{AuthorityError, Untrusted},
    connection::{ConnectError, Disconnect},
    profile::ProfileError,
    rest::RestError,
};

/// What a revoked device is told.
const NEW_PROFILE: &str =
    "it can't come back, and what it has it still reads; log in with a new profile (`--profile NAME`)";

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The profile has no account, device or session.
    #[error("not logged in")]
    NotLoggedIn,
    /// The profile holds another account's device.
    #[error("the profile belongs to another account")]
    OtherAccount,
    /// No device of the user can get messages yet.
    #[error("{0} has no device yet")]
    NoDevice(UserId),
    /// The user has another identity key than the one that was pinned.
    #[error("{0} has a new identity key")]
    IdentityChanged(UserId),
    /// The server shows a device list of the user that does not follow the one that is known.
    #[error("the server shows a false device list of {0}")]
    ChainOfPeer(UserId),
    /// The user of this device has blocked them.
    #[error("{0} is blocked")]
    Blocked(UserId),
    /// This device was revoked, for good.
    #[error("this device was revoked")]
    Revoked,
    /// The account's identity was replaced by one that this device's identity has not signed.
    #[error("the account's identity was reset without this device")]
    IdentityReset,
    /// The profile's device is part of the identity that was to be given up.
    #[error("this profile still belongs to the account's identity")]
    StillKnown,
    /// The server hides a device list that is known to exist.
    #[error("the server withholds the device list of {0}")]
    ListWithheld(UserId),
    /// It took too long.
    #[error("timed out")]
    TimedOut,
    /// The profile can't be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A request has no answer.
    #[error(transparent)]
    Rest(#[from] RestError),
    /// The authorities that vouch for the server can't be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended.
    #[error(transparent)]
    Disconnected(#[from] Disconnect),
    /// A message was not taken.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// No certificate was made.
    #[error(transparent)]
    Certify(#[from] CertifyError),
    /// The identity was not replaced.
    #[error(transparent)]
    Rotate(#[from] RotateError),
    /// Linking ended.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The recovery key does not open the identity key.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The server's answer about the own devices does not hold.
    #[error("the server shows another device list than expected")]
    ChainRefused,
}

/// Why this client and what it talks to can't understand each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// An Unhidra server that speaks another version.
    OtherVersion,
    /// No Unhidra server at all.
    NotOurServer,
}

/// What can be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Log in again.
    LogIn,
    /// Nothing: it goes away by itself, and what was queued is kept.
    TryLater,
    /// What the text says.
    Text(&'static str),
}

impl ClientError {
    /// Whether the two sides can't understand each other, which no retry changes.
    #[must_use]
    pub fn mismatch(&self) -> Option<Mismatch> {
        match self {
            Self::Connect(ConnectError::OtherVersion)
            | Self::Disconnected(Disconnect::Malformed(_))
            | Self::Rest(RestError::Unreadable(_)) => Some(Mismatch::OtherVersion),
            Self::Rest(error) if error.code() == Some(ProblemCode::UnsupportedVersion) => {
                Some(Mismatch::OtherVersion)
            }
            Self::Connect(ConnectError::NotOurServer) | Self::Rest(RestError::TooLong) => {
                Some(Mismatch::NotOurServer)
            }
            Self::Rest(error @ RestError::NotOurServer(_)) if !error.is_transient() => {
                Some(Mismatch::NotOurServer)
            }
            _ => None,
        }
    }

    /// Why the server is not trusted, if that is what went wrong. No retry changes it.
    #[must_use]
    pub const fn untrusted(&self) -> Option<&Untrusted> {
        match self {
            Self::Connect(ConnectError::Untrusted(untrusted))
            | Self::Rest(RestError::Untrusted(untrusted)) => Some(untrusted),
            _ => None,
        }
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self.mismatch() {
            Some(Mismatch::OtherVersion) => {
                return Remedy::Text("install the version that the server runs; what was queued is kept");
            }
            Some(Mismatch::NotOurServer) => {
                return Remedy::Text("check the server's address, and any proxy in between");
            }
            None => {}
        }
        if let Some(untrusted) = self.untrusted() {
            return Remedy::Text(untrusted.remedy());
        }
        match self {
            Self::NotLoggedIn
            | Self::Connect(ConnectError::Unauthenticated)
            | Self::Disconnected(Disconnect::Closed(Some(unhidra_wire::close::Close::SessionEnded))) => {
                Remedy::LogIn
            }
            Self::Rest(error) if error.code() == Some(ProblemCode::Unauthenticated) => Remedy::LogIn,
            _ if self.is_revoked() => Remedy::Text(NEW_PROFILE),
            Self::Rest(error) if error.is_transient() => Remedy::TryLater,
            Self::Rest(error) => Remedy::Text(error.remedy()),
            Self::Connect(_) | Self::Disconnected(_) | Self::TimedOut => Remedy::TryLater,
            Self::NoDevice(_) => Remedy::Text("it can be reached once it has logged in on a device"),
            Self::IdentityChanged(_) => {
                Remedy::Text("compare the digits of `unhidra contacts accept` before you trust it")
            }
            Self::ChainOfPeer(_) => Remedy::Text("nothing is sent until it shows the right one"),
            Self::Blocked(_) => Remedy::Text("`unhidra contacts unblock` lets them in again"),
            Self::Revoked => Remedy::Text(NEW_PROFILE),
            Self::IdentityReset => Remedy::Text(
                "what it has it still reads; if you did not reset it, whoever did knows your password: tell your \
                 contacts and the administrator. Otherwise log in with a new profile (`--profile NAME`)",
            ),
            Self::StillKnown => Remedy::Text(
                "`unhidra identity rotate` replaces the identity without losing contacts; to give it up all the same, \
                 use a new profile (`--profile NAME`)",
            ),
            Self::ListWithheld(_) => Remedy::Text("nothing is sent until the server shows it"),
            Self::OtherAccount => Remedy::Text("use another profile"),
            Self::Certify(_) | Self::Rotate(RotateError::NotACertifier) => {
                Remedy::Text("`unhidra identity show` names the devices that hold it")
            }
            Self::Rotate(_) => Remedy::Text("`unhidra devices list` names the devices in use"),
            Self::Link(_) => Remedy::Text("start again with a new code"),
            Self::Recovery(_) => Remedy::Text("check the 24 words"),
            Self::ChainRefused => {
                Remedy::Text("do not trust this server until its administrator explains it")
            }
            Self::Submit(SubmitError::OtherText { .. }) => {
                Remedy::Text("feed the lines that it had, or name another batch")
            }
            Self::Authority(_) => {
                Remedy::Text("name the file of its authority with --ca-file, and log in again")
            }
            Self::Submit(_) => Remedy::Text("shorten the message"),
            Self::Profile(_) | Self::Store(_) => {
                Remedy::Text("check the profile's folder and the free space")
            }
        }
    }

    /// Whether the server says that this device is revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        match self {
            Self::Revoked => true,
            Self::Rest(error) => error.code() == Some(ProblemCode::DeviceRevoked),
            Self::Disconnected(Disconnect::Closed(close)) => {
                *close == Some(unhidra_wire::close::Close::DeviceRevoked)
            }
            _ => false,
        }
    }

    /// Whether trying again is of no use: the session is gone, or what answers speaks another
    /// protocol.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        self.remedy() == Remedy::LogIn
            || self.is_revoked()
            || self.untrusted().is_some()
            || matches!(
                self,
                Self::Connect(ConnectError::OtherVersion | ConnectError::NotOurServer)
            )
    }
}
