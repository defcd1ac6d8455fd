//! Logging in: a name and a password for a token that enrols or proves a device.

use unhidra_audit::{Act, Subject};
use unhidra_keys::KeyError;
use unhidra_runtime::{Overloaded, rate::Exceeded};
use unhidra_store::StoreError;
use unhidra_wire::rest::{Enrolment, LogIn};
use zeroize::Zeroizing;

use crate::{Caller, Identity, append, password::Guess};

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such account, the password is another, or the account is disabled: which one is not told.
    #[error("name or password is wrong")]
    Refused,
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
    /// Proves a password. Every refusal takes one lookup, one computation and one record; what comes too often takes
    /// neither of the first two.
    ///
    /// # Errors
    /// [`LoginError`].
    ///
    /// # Cancellation safety
    /// Dropped, at most a record or a rehashed password remains.
    pub async fn log_in(&self, caller: &Caller, body: LogIn) -> Result<Enrolment, LoginError> {
        let (context, home) = (caller.context, self.0.home);
        let key = self.key_of_name(&body.username);
        let attempt = match self.0.throttle.log_in(key, caller.network, context.now) {
            Ok(attempt) => attempt,
            Err(exceeded) => {
                let mut record = self.record(caller, Act::LoginRefused, Subject::Nothing);
                record.details.reason = Some("rate-limited");
                self.note_refusal(&context, key, record).await?;
                return Err(exceeded.into());
            }
        };
        let username = body.username.clone();
        let found = self.store().read(move |snapshot| {
            let account = snapshot.account_by_name(home, &username)?;
            let chain = account
                .as_ref()
                .map(|account| snapshot.chain_head(account.user))
                .transpose()?;
            Ok::<_, StoreError>((account, chain.flatten().is_some()))
        });
        let (account, has_chain) = found.await?;
        let password = Zeroizing::new(body.password.expose().to_owned());
        let stored = account.as_ref().map(|account| account.password.clone());
        let guess = self.0.hasher.check(password, stored, &context).await;
        let guess = guess.inspect_err(|_overloaded| self.0.throttle.forgive(&attempt))?;

        let (account, rehashed) = match (account, guess) {
            (Some(account), Guess::Right { rehashed }) if account.disabled_at.is_none() => {
                (account, rehashed)
            }
            (account, _) => {
                let subject = account.map_or(Subject::Nothing, |account| Subject::User(account.user));
                let record = self.record(caller, Act::LoginRefused, subject);
                self.note_refusal(&context, key, record).await?;
                return Err(LoginError::Refused);
            }
        };
        self.0.throttle.succeeded(&attempt);
        let (user, org) = (account.user, account.org);
        let record = self.record(caller, Act::LoginAccepted, Subject::User(user));
        self.store()
            .write::<_, StoreError, _>(move |tx| {
                if let Some(rehashed) = rehashed {
                    tx.replace_password(user, &account.password, &rehashed)?;
                }
                append(tx, &context, &record)
            })
            .await?;
        Ok(self.enrolment(user, org, has_chain, &context)?)
    }
}
