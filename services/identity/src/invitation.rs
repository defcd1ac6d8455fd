//! Invitations, and the set-up token that a server without accounts leaves for its first administrator.

use std::{path::PathBuf, time::Duration};

use unhidra_audit::{Act, Details, Subject};
use unhidra_crypto::hash::sha256;
use unhidra_keys::file;
use unhidra_runtime::Context;
use unhidra_store::{StoreError, invitation::Invitation};
use unhidra_types::{InvitationId, Role};
use unhidra_wire::{
    base64,
    rest::{self, Hidden, Invite},
};

use crate::{Caller, Identity, OpenError, append, server_record};

/// Name of the set-up token's file in the data folder.
pub const SETUP_FILE: &str = "setup-token";
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// The longest life of an invitation.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// The life of a set-up token; a restart makes a new one.
const SETUP_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// Whether the server waits for its first administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setup {
    /// There are accounts.
    Done,
    /// The file with the single-use token for the first one, mode 0600.
    Needed(PathBuf),
}

/// Why no invitation was made.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// It would end at once, or live too long.
    #[error("an invitation lives between one second and thirty days")]
    Lifetime,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Identity {
    /// Makes an invitation; its token is shown once.
    ///
    /// # Errors
    /// [`InviteError`].
    ///
    /// # Cancellation safety
    /// Dropped, the invitation may exist; nobody knows its token then.
    pub async fn invite(&self, caller: &Caller, body: Invite) -> Result<rest::Invitation, InviteError> {
        let lifetime = Duration::from_secs(body.expires_in);
        if lifetime.is_zero() || lifetime > MAX_LIFETIME {
            return Err(InviteError::Lifetime);
        }
        let context = caller.context;
        let token = new_token(&context);
        let invitation = Invitation {
            id: InvitationId::new(context.now, context.random()),
            org: caller.principal.org().unwrap_or(self.0.home),
            role: body.role,
            made_by: caller.user(),
            expires_at: context.now.saturating_add(lifetime),
        };
        let (id, expires_at) = (invitation.id, invitation.expires_at);
        let record = self.record(caller, Act::InvitationMade, Subject::Invitation(invitation.id));
        let hash = token_hash(&token);
        self.store()
            .write(move |tx| {
                tx.keep_invitation(&invitation, &hash, context.now)?;
                append(tx, &context, &record)
            })
            .await?;
        Ok(rest::Invitation {
            invitation_id: Some(id),
            token: Hidden::new(token),
            expires_at,
        })
    }

    /// Writes a fresh set-up token while there are no accounts; an older unused one stops working.
    pub(crate) async fn prepare_setup(&self, context: &Context) -> Result<Setup, OpenError> {
        if self.store().read(|snapshot| snapshot.has_accounts()).await? {
            return Ok(Setup::Done);
        }
        let token = new_token(context);
        let invitation = Invitation {
            id: InvitationId::new(context.now, context.random()),
            org: self.0.home,
            role: Role::SuperAdmin,
            made_by: None,
            expires_at: context.now.saturating_add(SETUP_LIFETIME),
        };
        let (context, hash) = (*context, token_hash(&token));
        let details = Details {
            reason: Some("set-up token"),
            ..Details::default()
        };
        let record = server_record(
            &context,
            Act::InvitationMade,
            Subject::Invitation(invitation.id),
            details,
        );
        let withdrawn_and_kept = self.store().write::<_, StoreError, _>(move |tx| {
            tx.withdraw_setup_tokens()?;
            tx.keep_invitation(&invitation, &hash, context.now)?;
            append(tx, &context, &record)
        });
        withdrawn_and_kept.await?;
        file::write_secret(&self.0.setup_file, format!("{token}\n").as_bytes())?;
        Ok(Setup::Needed(self.0.setup_file.clone()))
    }

    /// Deletes the set-up token's file once it is of no use.
    pub(crate) fn remove_setup_file(&self) {
        match std::fs::remove_file(&self.0.setup_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!("the used set-up token can't be deleted: {error}");
            }
            _ => {}
        }
    }
}

pub(crate) fn token_hash(token: &str) -> [u8; 32] {
    sha256(&[token.as_bytes()])
}

fn new_token(context: &Context) -> String {
    base64::encode(&context.random::<TOKEN_BYTES>())
}
