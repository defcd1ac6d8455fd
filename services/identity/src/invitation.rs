//! Invitations, and the set-up token that a server without accounts leaves for its first administrator.

use std::{path::PathBuf, time::Duration};

use unhidra_audit::{Act, Details, Subject};
use unhidra_crypto::hash::sha256;
use unhidra_keys::{KeyError, file};
use unhidra_runtime::Context;
use unhidra_store::{StoreError, invitation::Invitation};
use unhidra_types::{InvitationId, Role};
use unhidra_wire::{
    base64,
    rest::{self, Hidden, Invite},
};

use zeroize::Zeroizing;

use crate::{
    Caller, Identity, OpenError, append,
    idempotency::{IdempotencyKey, RepeatError},
    server_record,
};

/// Name of the set-up token's file in the data folder.
pub const SETUP_FILE: &str = "setup-token";
const SEAL_LABEL: &[u8] = b"\x1bUNH1/idempotency/invitation";
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
    /// The idempotency key can't be used.
    #[error(transparent)]
    Repeat(#[from] RepeatError),
    /// The answer could not be sealed or opened.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Identity {
    /// Makes an invitation; its token is shown once, and again to who asks again under the same key.
    ///
    /// # Errors
    /// [`InviteError`].
    ///
    /// # Cancellation safety
    /// Dropped, the invitation may exist; nobody knows its token then.
    pub async fn invite(
        &self,
        caller: &Caller,
        body: Invite,
        key: Option<&IdempotencyKey>,
    ) -> Result<rest::Invitation, InviteError> {
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
        let made = rest::Invitation {
            invitation_id: Some(invitation.id),
            token: Hidden::new(token.clone()),
            expires_at: invitation.expires_at,
        };
        let repeatable = self.repeatable(caller, "invite", key, &body);
        let sealed = match &repeatable {
            Some(asked) => self.seal_invitation(&asked.key, &made)?,
            None => Vec::new(),
        };
        let record = self.record(caller, Act::InvitationMade, Subject::Invitation(invitation.id));
        let hash = token_hash(&token);
        let earlier = self.store().write::<_, InviteError, _>(move |tx| {
            if let Some(earlier) = tx.earlier_answer::<InviteError>(repeatable.as_ref(), context.now)? {
                return Ok(Some(earlier).zip(repeatable));
            }
            tx.keep_invitation(&invitation, &hash, context.now)?;
            append(tx, &context, &record)?;
            tx.keep_answer::<InviteError>(repeatable.as_ref(), &sealed, context.now)?;
            Ok(None)
        });
        match earlier.await? {
            Some((sealed, asked)) => self.open_invitation(&asked.key, &sealed),
            None => Ok(made),
        }
    }

    fn seal_invitation(&self, key: &[u8; 32], made: &rest::Invitation) -> Result<Vec<u8>, InviteError> {
        let json = Zeroizing::new(serde_json::to_vec(made).map_err(|_| KeyError::Unusable)?);
        Ok(self.keys().seal(&[SEAL_LABEL, key].concat(), &json)?)
    }

    fn open_invitation(&self, key: &[u8; 32], sealed: &[u8]) -> Result<rest::Invitation, InviteError> {
        let json = self.keys().open_sealed(&[SEAL_LABEL, key].concat(), sealed)?;
        Ok(serde_json::from_slice(&json).map_err(|_| KeyError::Unusable)?)
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
