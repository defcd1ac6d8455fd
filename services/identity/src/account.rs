//! Opening an account with an invitation.

use unhidra_audit::{Act, Subject};
use unhidra_keys::{KeyError, token::Bearer};
use unhidra_runtime::{Context, Overloaded, rate::Exceeded};
use unhidra_store::{
    StoreError,
    account::{Account, Naming},
};
use unhidra_types::{OrgId, UserId};
use unhidra_wire::rest::{Enrolment, Hidden, OpenAccount};
use zeroize::Zeroizing;

use crate::{Caller, Identity, append, invitation::token_hash};

/// Bytes that a password may have.
pub const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 10..=1_024;

/// Why no account was opened.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The invitation is unknown, used or expired.
    #[error("invitation is unknown, used or expired")]
    InvitationRefused,
    /// Another account has the name, or had it before it was deleted. Only who has an invitation learns this.
    #[error("name is taken")]
    UsernameTaken,
    /// The password has fewer or more than [`PASSWORD_BYTES`].
    #[error("password is too short or too long")]
    PasswordUnsuitable,
    /// Too much was tried: later.
    #[error(transparent)]
    TooOften(#[from] Exceeded),
    /// Too many passwords wait to be computed.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// No token could be signed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Identity {
    /// Opens an account and logs it in.
    ///
    /// # Errors
    /// [`AccountError`].
    ///
    /// # Cancellation safety
    /// Dropped, the account may exist; its owner logs in then.
    pub async fn open_account(&self, caller: &Caller, body: OpenAccount) -> Result<Enrolment, AccountError> {
        let context = caller.context;
        self.0.throttle.open_account(caller.network, context.now)?;
        let hash = token_hash(body.invitation.expose());
        let found = self
            .store()
            .read(move |snapshot| snapshot.open_invitation(&hash, context.now))
            .await?;
        if found.is_none() {
            return self.refuse_invitation(caller).await;
        }
        let password = Zeroizing::new(body.password.expose().to_owned());
        if !PASSWORD_BYTES.contains(&password.len()) {
            return Err(AccountError::PasswordUnsuitable);
        }
        let password = self.0.hasher.hash(password, &context).await?;
        let user = UserId::new(context.now, context.random());
        let opened = self.record(caller, Act::AccountOpened, Subject::User(user));
        let mut used = self.record(caller, Act::InvitationUsed, Subject::Nothing);
        let username = body.username;
        let name_hash = self.name_hash(&username);
        let opening = self.store().write(move |tx| {
            // Looked up again: since the first time someone else may have used it.
            let invitation = tx
                .open_invitation(&hash, context.now)?
                .ok_or(AccountError::InvitationRefused)?;
            let (org, role) = (invitation.org, invitation.role);
            let account = Account {
                user,
                org,
                username,
                role,
                password,
                disabled_at: None,
            };
            if tx.is_name_reserved(org, &name_hash)?
                || tx.open_account(&account, context.now)? == Naming::Taken
            {
                return Err(AccountError::UsernameTaken);
            }
            tx.spend_invitation(invitation.id, user, context.now)?;
            used.subject = Subject::Invitation(invitation.id);
            let mut opened = opened;
            opened.details.username = Some(account.username.as_str().to_owned());
            append(tx, &context, &used)?;
            append(tx, &context, &opened)?;
            Ok((org, invitation.made_by.is_none()))
        });
        match opening.await {
            Ok((org, was_setup)) => {
                self.0.throttle.opened_account(caller.network);
                if was_setup {
                    self.remove_setup_file();
                }
                Ok(self.enrolment(user, org, false, &context)?)
            }
            Err(AccountError::InvitationRefused) => self.refuse_invitation(caller).await,
            Err(error) => Err(error),
        }
    }

    pub(crate) fn enrolment(
        &self,
        user: UserId,
        org: OrgId,
        has_chain: bool,
        context: &Context,
    ) -> Result<Enrolment, KeyError> {
        let token = self.keys().sign(user, org, Bearer::Enrolling, context)?;
        Ok(Enrolment {
            user_id: user,
            org_id: org,
            enrol_token: Hidden::new(token),
            has_chain,
        })
    }

    async fn refuse_invitation<T>(&self, caller: &Caller) -> Result<T, AccountError> {
        let record = self.record(caller, Act::InvitationRefused, Subject::Nothing);
        self.note_refusal(&caller.context, self.key_of_caller(caller), record)
            .await?;
        Err(AccountError::InvitationRefused)
    }
}
