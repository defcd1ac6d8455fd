//! `admin users`, `sessions`, `devices` and `invitations`.

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client_native::{Client, client::Whose};
use unhidra_types::{DeviceId, InvitationId, Timestamp, UserId, Username};
use unhidra_wire::rest::{Account, ListedInvitation, OwnedDevice, Role};

use crate::{
    arguments::{AdminDevices, AdminSessions, Invitations, Users},
    command::{
        account,
        opening::{Opening, user_named},
        read::shown_time,
    },
    exit::Outcome,
    output::Output,
};

/// Lists, shows, disables and enables accounts.
pub(crate) async fn users(opening: &Opening, command: Users, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Changed {
        user_id: UserId,
        username: Username,
        disabled: bool,
    }
    let mut client = opening.client()?;
    let (user, disabled) = match command {
        Users::List => return accounts(output, &client.accounts().await?),
        Users::Show { user } => {
            let id = user_named(&mut client, &user).await?;
            return accounts(output, &[client.account_of(id).await?]);
        }
        Users::Disable { user } => (user, true),
        Users::Enable { user } => (user, false),
    };
    let id = user_named(&mut client, &user).await?;
    let text = if disabled {
        client.disable_account(id).await?;
        format!("Disabled {user}: every session has ended, and nobody logs in as {user}.")
    } else {
        client.enable_account(id).await?;
        format!("Enabled {user}: its devices log in again.")
    };
    let changed = Changed {
        user_id: id,
        username: user,
        disabled,
    };
    output.result(&changed, || text).context("print the result")?;
    Ok(())
}

/// Lists and ends everyone's sessions.
pub(crate) async fn sessions(opening: &Opening, command: AdminSessions, output: Output) -> Outcome {
    let mut client = opening.client()?;
    match command {
        AdminSessions::List(of) => {
            let whose = match of_user(&mut client, of.user.as_ref()).await? {
                Some(user) => Whose::Of(user),
                None => Whose::All,
            };
            account::list(output, &client.sessions(whose).await?)
        }
        AdminSessions::End { session } => {
            client.end_session(session).await?;
            account::ended(output, session)
        }
    }
}

/// Lists everyone's devices, and refuses or allows their sessions.
pub(crate) async fn devices(opening: &Opening, command: AdminDevices, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Changed {
        device_id: DeviceId,
        refused: bool,
        ended: u32,
    }
    let mut client = opening.client()?;
    let (changed, text) = match command {
        AdminDevices::List(of) => {
            let user = of_user(&mut client, of.user.as_ref()).await?;
            return all_devices(output, &client.all_devices(user).await?);
        }
        AdminDevices::RevokeSessions { device } => {
            let ended = client.revoke_sessions(device).await?.ended;
            let text = format!(
                "Ended {ended} of the sessions of {device}; the server refuses new ones.\n\
                 The device stays on its user's list: only they can revoke it, with `unhidra devices revoke`."
            );
            (changed(device, true, ended), text)
        }
        AdminDevices::AllowSessions { device } => {
            client.allow_sessions(device).await?;
            (changed(device, false, 0), format!("{device} may log in again."))
        }
    };
    output.result(&changed, || text).context("print the result")?;
    return Ok(());

    const fn changed(device_id: DeviceId, refused: bool, ended: u32) -> Changed {
        Changed {
            device_id,
            refused,
            ended,
        }
    }
}

/// Lists and withdraws invitations.
pub(crate) async fn invitations(opening: &Opening, command: Invitations, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Revoked {
        revoked: InvitationId,
    }
    let mut client = opening.client()?;
    match command {
        Invitations::List => all_invitations(output, &client.invitations().await?),
        Invitations::Revoke { invitation } => {
            client.revoke_invitation(invitation).await?;
            output
                .result(&Revoked { revoked: invitation }, || {
                    format!("Withdrew {invitation}: its token opens no account.")
                })
                .context("print the result")?;
            Ok(())
        }
    }
}

async fn of_user(
    client: &mut Client,
    name: Option<&Username>,
) -> Result<Option<UserId>, crate::exit::Failure> {
    match name {
        Some(name) => user_named(client, name).await.map(Some),
        None => Ok(None),
    }
}

fn accounts(output: Output, accounts: &[Account]) -> Outcome {
    output
        .list(
            ["NAME", "ROLE", "STANDING", "DEVICES", "SESSIONS", "SINCE", "ID"],
            accounts,
            |account| {
                [
                    account.username.to_string(),
                    role_name(account.role).to_owned(),
                    standing(account),
                    account.devices.to_string(),
                    account.sessions.to_string(),
                    shown_time(account.created_at),
                    account.user_id.to_string(),
                ]
            },
        )
        .context("print the accounts")?;
    Ok(())
}

fn all_devices(output: Output, devices: &[OwnedDevice]) -> Outcome {
    output
        .list(
            ["DEVICE", "USER", "NAME", "SEEN", "STANDING", "NOT OPENED"],
            devices,
            |device| {
                [
                    device.device_id.to_string(),
                    device.username.to_string(),
                    device.name.clone(),
                    shown_or(device.last_seen_at, "never"),
                    match (device.revoked_at, device.refused_at) {
                        (Some(at), _) => format!("revoked by its user {}", shown_time(at)),
                        (None, Some(at)) => format!("sessions refused {}", shown_time(at)),
                        (None, None) => "in use".to_owned(),
                    },
                    failures(device),
                ]
            },
        )
        .context("print the devices")?;
    Ok(())
}

/// As `3 bad_tag, 1 no_session`.
fn failures(device: &OwnedDevice) -> String {
    let counts: Vec<_> = device
        .failures
        .iter()
        .map(|(reason, count)| format!("{count} {}", reason.name()))
        .collect();
    match counts.as_slice() {
        [] => "-".to_owned(),
        some => some.join(", "),
    }
}

fn all_invitations(output: Output, invitations: &[ListedInvitation]) -> Outcome {
    output
        .list(
            ["INVITATION", "ROLE", "MADE BY", "EXPIRES", "USED"],
            invitations,
            |invitation| {
                [
                    invitation.invitation_id.to_string(),
                    role_name(invitation.role).to_owned(),
                    invitation
                        .made_by
                        .map_or_else(|| "the server's set-up".to_owned(), |user| user.to_string()),
                    shown_time(invitation.expires_at),
                    shown_or(invitation.used_at, "no"),
                ]
            },
        )
        .context("print the invitations")?;
    Ok(())
}

fn standing(account: &Account) -> String {
    match (account.deleted_at, account.disabled_at) {
        (Some(at), _) => format!("deleted {}", shown_time(at)),
        (None, Some(at)) => format!("disabled {}", shown_time(at)),
        (None, None) => "active".to_owned(),
    }
}

fn shown_or(time: Option<Timestamp>, otherwise: &str) -> String {
    time.map_or_else(|| otherwise.to_owned(), shown_time)
}

/// A role as options name it.
pub(in crate::command) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::SuperAdmin => "super-admin",
        Role::Member => "member",
    }
}
