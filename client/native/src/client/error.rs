//! Why a client could not do what it was asked for.

use unhidra_client::{SubmitError, device::CertifyError, store::StoreError};
use unhidra_pair::{linking::LinkError, recovery::RecoveryError};
use unhidra_types::UserId;
use unhidra_wire::rest::ProblemCode;

use crate::{
    connection::{ConnectError, Disconnect},
    profile::ProfileError,
    rest::RestError,
};

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
    /// The user of this device has blocked them.
    #[error("{0} is blocked")]
    Blocked(UserId),
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
        match self {
            Self::NotLoggedIn
            | Self::Connect(ConnectError::Unauthenticated)
            | Self::Disconnected(Disconnect::Closed(Some(unhidra_wire::close::Close::SessionEnded))) => {
                Remedy::LogIn
            }
            Self::Rest(error) if error.code() == Some(ProblemCode::Unauthenticated) => Remedy::LogIn,
            Self::Rest(error) if error.is_transient() => Remedy::TryLater,
            Self::Rest(error) => Remedy::Text(error.remedy()),
            Self::Connect(_) | Self::Disconnected(_) | Self::TimedOut => Remedy::TryLater,
            Self::NoDevice(_) => Remedy::Text("it can be reached once it has logged in on a device"),
            Self::IdentityChanged(_) => {
                Remedy::Text("compare the digits of `unhidra verify` before you trust it")
            }
            Self::ListWithheld(_) => Remedy::Text("nothing is sent until the server shows it"),
            Self::Blocked(_) => Remedy::Text("`unhidra contacts unblock` lets them in again"),
            Self::OtherAccount => Remedy::Text("use another profile"),
            Self::Certify(_) => Remedy::Text("link from the device that registered the account"),
            Self::Link(_) => Remedy::Text("start again with a new code"),
            Self::Recovery(_) => Remedy::Text("check the 24 words"),
            Self::ChainRefused => {
                Remedy::Text("do not trust this server until its administrator explains it")
            }
            Self::Submit(SubmitError::OtherText { .. }) => {
                Remedy::Text("feed the lines that it had, or name another batch")
            }
            Self::Submit(_) => Remedy::Text("shorten the message"),
            Self::Profile(_) | Self::Store(_) => {
                Remedy::Text("check the profile's folder and the free space")
            }
        }
    }

    /// Whether trying again is of no use: the session is gone, or what answers speaks another
    /// protocol.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        let revoked = Disconnect::Closed(Some(unhidra_wire::close::Close::DeviceRevoked));
        self.remedy() == Remedy::LogIn
            || matches!(
                self,
                Self::Connect(ConnectError::OtherVersion | ConnectError::NotOurServer)
            )
            || matches!(self, Self::Disconnected(Disconnect::Closed(close))
                if matches!(&revoked, Disconnect::Closed(revoked) if close == revoked))
    }
}
