//! `admin`: invitations, and what is in `roster`.

mod roster;

use std::time::Duration;

use anyhow::Context as _;
use unhidra_types::Role;

pub(crate) use self::roster::{devices, invitations, sessions, users};
use super::{opening::Opening, read::shown_time};
use crate::{arguments::InviteRole, exit::Outcome, output::Output};

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
    output
        .result(&invitation, || {
            format!(
                "Good for one account until {}:\n  unhidra register --server {server} --username NAME --invitation {}",
                shown_time(invitation.expires_at),
                invitation.token.expose()
            )
        })
        .context("print the invitation")?;
    Ok(())
}
