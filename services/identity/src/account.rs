//! Opening an account with an invitation.

use unhidra_audit::{Act, Subject};
use unhidra_keys::{KeyError, token::Bearer};
use unhidra_runtime::{Context, Overloaded, rate::Exceeded};
use unhidra_store::{
    StoreError,
    account::{Account, Naming},
    invitation::Invitation,
};
use unhidra_types::{OrgId, UserId};
use unhidra_wire::rest::{Enrolment, Hidden, OpenAccount};
use zeroize::Zeroizing;

use crate::{
    Caller, Identity, append,
    idempotency::{IdempotencyKey, RepeatError},
    invitation::token_hash,
    password::Guess,
};

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
    /// The idempotency key can't be used.
    #[error(transparent)]
    Repeat(#[from] RepeatError),
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

/// What became of the wish for an account.
enum Opening {
    /// It was opened by the invitation.
    Now(OrgId, Invitation),
    /// The same request had opened it; this is what was kept of the answer.
    Before(Vec<u8>),
}

impl Identity {
    /// Opens an account and logs it in; asked again under the same key, it logs in the account that it opened.
    ///
    /// # Errors
    /// [`AccountError`].
    ///
    /// # Cancellation safety
    /// Dropped, the account may exist; its owner logs in then.
    pub async fn open_account(
        &self,
        caller: &Caller,
        body: OpenAccount,
        key: Option<&IdempotencyKey>,
    ) -> Result<Enrolment, AccountError> {
        let context = caller.context;
        self.0.throttle.open_account(caller.network, context.now)?;
        let hash = token_hash(body.invitation.expose());
        let repeatable = self.repeatable_opening(&hash, key, &body.username);
        let found = self.store().read::<_, AccountError>(move |snapshot| {
            let earlier = snapshot.earlier_answer::<AccountError>(repeatable.as_ref(), context.now)?;
            Ok((earlier, snapshot.open_invitation(&hash, context.now)?))
        });
        let password = Zeroizing::new(body.password.expose().to_owned());
        match found.await? {
            (Some(opened), _) => return self.log_in_opened(caller, &opened, password).await,
            (None, None) => return self.refuse_invitation(caller).await,
            (None, Some(_)) => {}
        }
        if !PASSWORD_BYTES.contains(&password.len()) {
            return Err(AccountError::PasswordUnsuitable);
        }
        let hashed = self.0.hasher.hash(password.clone(), &context).await?;
        let user = UserId::new(context.now, context.random());
        let opened = self.record(caller, Act::AccountOpened, Subject::User(user));
        let mut used = self.record(caller, Act::InvitationUsed, Subject::Nothing);
        let username = body.username;
        let name_hash = self.name_hash(&username);
        let opening = self.store().write(move |tx| {
            // Both looked up again: since the first time someone else, or this request itself, may have used it.
            if let Some(opened) = tx.earlier_answer::<AccountError>(repeatable.as_ref(), context.now)? {
                return Ok(Opening::Before(opened));
            }
            let invitation = tx
                .open_invitation(&hash, context.now)?
                .ok_or(AccountError::InvitationRefused)?;
            let (org, role) = (invitation.org, invitation.role);
            let account = Account {
                user,
                org,
                username,
                role,
                password: hashed,
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
            tx.keep_answer::<AccountError>(repeatable.as_ref(), user.as_bytes(), context.now)?;
            Ok(Opening::Now(org, invitation))
        });
        match opening.await {
            Ok(Opening::Before(opened)) => self.log_in_opened(caller, &opened, password).await,
            Ok(Opening::Now(org, invitation)) => {
                self.0.throttle.opened_account(caller.network);
                if invitation.made_by.is_none() {
                    self.remove_setup_file();
                }
                Ok(self.enrolment(user, org, false, &context)?)
            }
            Err(AccountError::InvitationRefused) => self.refuse_invitation(caller).await,
            Err(error) => Err(error),
        }
    }

    /// Answers a request again that opened an account, for who proves the account's password.
    async fn log_in_opened(
        &self,
        caller: &Caller,
        opened: &[u8],
        password: Zeroizing<String>,
    ) -> Result<Enrolment, AccountError> {
        let context = caller.context;
        let user = UserId::try_from(opened).map_err(|_| StoreError::Corrupt("answer"))?;
        let found = self.store().read(move |snapshot| {
            let account = snapshot
                .account(user)?
                .filter(|account| account.disabled_at.is_none());
            Ok::<_, StoreError>((account, snapshot.chain_head(user)?.is_some()))
        });
        let (account, has_chain) = found.await?;
        let stored = account.as_ref().map(|account| account.password.clone());
        let guess = self.0.hasher.check(password, stored, &context).await?;
        match (account, guess) {
            (Some(account), Guess::Right { .. }) => {
                Ok(self.enrolment(user, account.org, has_chain, &context)?)
            }
            _ => {
                let record = self.record(caller, Act::LoginRefused, Subject::User(user));
                self.note_refusal(&context, self.key_of_caller(caller), record)
                    .await?;
                Err(RepeatError::Reused.into())
            }
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
