//! What went wrong in the client, as an exit code and one line with the remedy.

use unhidra_client::SubmitError;
use unhidra_client_native::{
    client::{ClientError, Remedy},
    connection::{ConnectError, Disconnect},
    profile::ProfileError,
    rest::RestError,
    store::OpenError,
};
use unhidra_wire::{close::Close, rest::ProblemCode};

use crate::exit::{Exit, Failure};

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = exit_of(&error);
        let remedy = match error.remedy() {
            _ if matches!(
                error,
                ClientError::Profile(ProfileError::Open(OpenError::OtherProtection("passphrase")))
            ) =>
            {
                Some("name the file that it is in by --passphrase-file")
            }
            _ if matches!(
                error,
                ClientError::Profile(ProfileError::Open(OpenError::Keyring(_)))
            ) =>
            {
                Some(
                    "run it in the desktop session that the keyring belongs to; `unhidra key move --to file` there makes \
                 the profile open without one",
                )
            }
            // These say themselves what is wrong and what to do.
            _ if matches!(
                error,
                ClientError::Profile(ProfileError::Open(_)) | ClientError::Submit(SubmitError::ToOneself)
            ) =>
            {
                None
            }
            Remedy::LogIn => Some("log in with `unhidra login`"),
            Remedy::TryLater if exit == Exit::TimedOut => Some("what was queued is kept"),
            Remedy::TryLater if is_unreached(&error) => {
                Some("check the address and that the server runs there; what was queued is kept")
            }
            Remedy::TryLater => Some("try again later; what was queued is kept"),
            Remedy::Text("") => None,
            Remedy::Text(text) => Some(text),
        };
        let is_unreached = is_unreached(&error);
        let error = anyhow::Error::from(error);
        let said = if is_unreached {
            // What lies between names layers of the network code.
            format!("{error}: {}", error.root_cause())
        } else {
            format!("{error:#}")
        };
        let error = match remedy {
            Some(remedy) => anyhow::anyhow!("{said}: {remedy}"),
            None => error,
        };
        Self { exit, error }
    }
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        ClientError::from(error).into()
    }
}

/// Whether nothing answers at the server's address.
const fn is_unreached(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Rest(RestError::Unreachable(_)) | ClientError::Connect(ConnectError::Unreachable(_))
    )
}

fn exit_of(error: &ClientError) -> Exit {
    if error.mismatch().is_some() {
        return Exit::Version;
    }
    if error.untrusted().is_some() {
        return Exit::Untrusted;
    }
    match error {
        ClientError::NotLoggedIn
        | ClientError::OtherAccount
        | ClientError::Recovery(_)
        | ClientError::Revoked
        | ClientError::IdentityReset => Exit::Credentials,
        ClientError::NoDevice(_)
        | ClientError::IdentityChanged(_)
        | ClientError::ListWithheld(_)
        | ClientError::ChainOfPeer(_)
        | ClientError::Blocked(_)
        | ClientError::Submit(SubmitError::Blocked) => Exit::Blocked,
        ClientError::TimedOut => Exit::TimedOut,
        ClientError::Profile(_) | ClientError::Store(_) => Exit::Store,
        ClientError::Rest(error) => exit_of_rest(error),
        ClientError::Connect(ConnectError::Unauthenticated) => Exit::Credentials,
        ClientError::Authority(_) => Exit::Untrusted,
        ClientError::Connect(_) => Exit::Unreachable,
        ClientError::Disconnected(Disconnect::Closed(Some(Close::SessionEnded | Close::DeviceRevoked))) => {
            Exit::Credentials
        }
        ClientError::Disconnected(_) => Exit::Unreachable,
        ClientError::Submit(SubmitError::Store(_)) => Exit::Store,
        ClientError::Submit(_) => Exit::Input,
        _ => Exit::Failed,
    }
}

fn exit_of_rest(error: &RestError) -> Exit {
    match error.code() {
        Some(
            ProblemCode::Unauthenticated
            | ProblemCode::Forbidden
            | ProblemCode::InvitationRefused
            | ProblemCode::PasswordWrong
            | ProblemCode::DeviceRefused
            | ProblemCode::DeviceRevoked,
        ) => Exit::Credentials,
        Some(ProblemCode::NotFound | ProblemCode::AccountDeleted) => Exit::NotFound,
        Some(ProblemCode::TlsRequired) => Exit::Untrusted,
        Some(ProblemCode::Malformed | ProblemCode::PasswordUnsuitable | ProblemCode::TooLarge) => Exit::Input,
        Some(ProblemCode::RateLimited | ProblemCode::Unavailable | ProblemCode::Internal) => {
            Exit::Unreachable
        }
        Some(_) => Exit::Failed,
        // What was no mismatch either.
        None => Exit::Unreachable,
    }
}
