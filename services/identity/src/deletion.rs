//! Deleting one's own account, for good.
//!
//! What is the user's alone goes: password, sessions, devices, device list, prekeys, the wrapped identity key, what waits
//! for their devices. What stays is the account's number under a made-up name, so that everyone learns that it no longer
//! exists; the entries in the logs of others, sealed; and the audit records. The name is given to nobody else: clients
//! keep names for good.

use unhidra_audit::{Act, Subject};
use unhidra_runtime::{Overloaded, rate::Exceeded};
use unhidra_store::{Event, StoreError};
use unhidra_types::{UserId, Username};
use unhidra_wire::rest::DeleteAccount;
use zeroize::Zeroizing;

use crate::{
    Caller, Identity,
    administration::{AdministrationError, require_another_administrator},
    append,
    password::Guess,
};

/// Why an account was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The password is another.
    #[error("password is wrong")]
    PasswordWrong,
    /// Too many passwords were tried: later.
    #[error(transparent)]
    TooOften(#[from] Exceeded),
    /// The account does not allow it, or is not there.
    #[error(transparent)]
    Administration(#[from] AdministrationError),
    /// Too many passwords wait to be computed.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
}

impl From<StoreError> for DeleteError {
    fn from(error: StoreError) -> Self {
        Self::Administration(error.into())
    }
}

/// Why nothing is known of a user who once was there.
#[derive(Debug, thiserror::Error)]
pub enum ExistsError {
    /// The account was deleted.
    #[error("account was deleted")]
    Deleted,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Identity {
    /// Deletes the caller's account; their connections close.
    ///
    /// # Errors
    /// [`DeleteError`].
    ///
    /// # Cancellation safety
    /// It happens or not, as a whole.
    pub async fn delete_account(&self, caller: &Caller, body: DeleteAccount) -> Result<(), DeleteError> {
        let context = caller.context;
        let user = caller.user().ok_or(AdministrationError::NotFound)?;
        let account = self.store().read(move |snapshot| snapshot.account(user)).await?;
        let account = account.ok_or(AdministrationError::NotFound)?;
        // A guess counts like one at the login.
        let key = self.key_of_name(&account.username);
        let attempt = self.0.throttle.log_in(key, caller.network, context.now)?;
        let password = Zeroizing::new(body.password.expose().to_owned());
        let guess = self
            .0
            .hasher
            .check(password, Some(account.password.clone()), &context);
        let guess = guess
            .await
            .inspect_err(|_overloaded| self.0.throttle.forgive(&attempt))?;
        if matches!(guess, Guess::Wrong) {
            let mut record = self.record(caller, Act::LoginRefused, Subject::User(user));
            record.details.reason = Some("account deletion");
            self.note_refusal(&context, self.key_of_caller(caller), record)
                .await?;
            return Err(DeleteError::PasswordWrong);
        }
        self.0.throttle.succeeded(&attempt);
        let name_hash = self.name_hash(&account.username);
        let record = self.record(caller, Act::AccountDeleted, Subject::User(user));
        let deletion = self.store().write::<_, AdministrationError, _>(move |tx| {
            let account = tx.account(user)?.ok_or(AdministrationError::NotFound)?;
            require_another_administrator(tx, account.org, account.role)?;
            let devices = tx.devices_in_use(user)?;
            tx.delete_account(user, account.org, &name_hash, context.now)?;
            append(tx, &context, &record)?;
            for device in devices {
                tx.emit(Event::DeviceRevoked(device));
            }
            Ok(())
        });
        Ok(deletion.await?)
    }

    /// That a user was not deleted; whether there ever was one is not looked at.
    ///
    /// # Errors
    /// [`ExistsError`].
    pub async fn check_exists(&self, user: UserId) -> Result<(), ExistsError> {
        match self
            .store()
            .read(move |snapshot| snapshot.deleted_at(user))
            .await?
        {
            Some(_) => Err(ExistsError::Deleted),
            None => Ok(()),
        }
    }

    /// That nobody who was deleted had this name.
    ///
    /// # Errors
    /// [`ExistsError`].
    pub async fn check_name_exists(&self, caller: &Caller, username: &Username) -> Result<(), ExistsError> {
        let (org, hash) = (self.org_of(caller), self.name_hash(username));
        match self
            .store()
            .read(move |snapshot| snapshot.is_name_reserved(org, &hash))
            .await?
        {
            true => Err(ExistsError::Deleted),
            false => Ok(()),
        }
    }

    /// What a name is reserved by: the name itself is the user's.
    pub(crate) fn name_hash(&self, username: &Username) -> [u8; 32] {
        self.keys()
            .authenticate(&[b"\x12UNH1/reserved-name".as_slice(), username.as_str().as_bytes()].concat())
    }
}
