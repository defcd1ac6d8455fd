//! `admin`: invitations, and what is in `roster`.

mod roster;

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client_native::{authority::Trust, invitation::InvitationLink};
use unhidra_types::Role;
use unhidra_wire::rest::Invitation;

pub(super) use self::roster::role_name;
pub(crate) use self::roster::{devices, invitations, sessions, users};
use super::{opening::Opening, read::shown_time};
use crate::{arguments::InviteRole, exit::Outcome, output::Output};

#[derive(Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    invitation: &'a Invitation,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

/// Makes an invitation and prints its token once.
pub(crate) async fn invite(
    opening: &Opening,
    role: InviteRole,
    expires: Duration,
    output: Output,
) -> Outcome {
    let mut client = opening.client()?;
    let role = match role {
        InviteRole::Member => Role::Member,
        InviteRole::SuperAdmin => Role::SuperAdmin,
    };
    let invitation = client.invite(role, expires).await?;
    let server = client
        .account()
        .server()
        .map_err(unhidra_client_native::ClientError::from)?;
    let link = InvitationLink {
        authority: match &client.account().trust {
            Trust::Pinned(authority) => Some(*authority),
            Trust::System | Trust::File(_) => None,
        },
        token: invitation.token.clone(),
        server,
    };
    let made = Made {
        invitation: &invitation,
        link: link.to_text(),
    };
    output
        .result(&made, || {
            let how = match &made.link {
                Some(link) => format!("unhidra register --username NAME --invitation {link}"),
                None => format!(
                    "unhidra register --server {} --username NAME --invitation {}",
                    link.server,
                    invitation.token.expose()
                ),
            };
            format!(
                "Good for one account until {}:\n  {how}",
                shown_time(invitation.expires_at)
            )
        })
        .context("print the invitation")?;
    Ok(())
}
