//! Who asks, from where, and when.

use std::net::IpAddr;

use unhidra_audit::Actor;
use unhidra_keys::{Bearer, TokenError, Verified};
use unhidra_policy::Principal;
use unhidra_runtime::Context;
use unhidra_store::{Snapshot, StoreError};
use unhidra_types::{DeviceId, SessionId, Timestamp, UserId};
use unhidra_wire::rest::Stock;

use crate::{Identity, prekey::stock};

/// One request as every use case sees it.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Who asks.
    pub principal: Principal,
    /// When, and under which request id.
    pub context: Context,
    /// From where, for the audit log only.
    pub network: Option<IpAddr>,
}

/// Why a bearer token names nobody.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// The token is not valid.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Its session, device or account is over.
    #[error("session, device or account is over")]
    Over,
    /// Its device was revoked. Only who holds the device's token learns this.
    #[error("device is revoked")]
    Revoked,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Caller {
    /// Whom the audit log names.
    #[must_use]
    pub const fn actor(&self) -> Actor {
        match self.principal {
            Principal::Anonymous => Actor::Anonymous,
            Principal::Enrolling { user, .. } => Actor::User(user),
            Principal::Device { user, device, .. } => Actor::Device { user, device },
        }
    }

    /// The caller's user, once they have authenticated.
    #[must_use]
    pub const fn user(&self) -> Option<UserId> {
        self.principal.user()
    }
}

impl Identity {
    /// Whom a bearer token speaks for, as of now: a session that has ended speaks for nobody.
    ///
    /// # Errors
    /// [`AuthenticateError`].
    pub async fn authenticate(&self, token: &str, context: &Context) -> Result<Principal, AuthenticateError> {
        let nothing = |_: &Snapshot<'_>, _: &Principal| Ok(());
        let (principal, ()) = self.authenticate_and(token, context, nothing).await?;
        Ok(principal)
    }

    /// [`Identity::authenticate`], and what `look` finds for the principal in the same state of the database: one way to
    /// it instead of two.
    ///
    /// # Errors
    /// [`AuthenticateError`].
    pub async fn authenticate_and<T: Send + 'static>(
        &self,
        token: &str,
        context: &Context,
        look: impl FnOnce(&Snapshot<'_>, &Principal) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<(Principal, T), AuthenticateError> {
        let verified = self.keys().verify(token, context.now)?;
        self.store()
            .read(move |snapshot| {
                let principal = principal(snapshot, &verified)?;
                let found = look(snapshot, &principal)?;
                Ok((principal, found))
            })
            .await
    }

    /// Whether a device that was authenticated a moment ago still speaks, what is left of its prekeys, and what `look`
    /// finds: all that a connection asks when it begins.
    ///
    /// # Errors
    /// [`AuthenticateError`], but for its token: that is not looked at again.
    pub async fn arrive_and<T: Send + 'static>(
        &self,
        session: SessionId,
        device: DeviceId,
        now: Timestamp,
        look: impl FnOnce(&Snapshot<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<(Stock, T), AuthenticateError> {
        self.store()
            .read(move |snapshot| match snapshot.speaker(session)? {
                Some(speaker) if speaker.device == device => {
                    Ok((stock(snapshot, device, now)?, look(snapshot)?))
                }
                _ => Err(why_over(snapshot, device)?),
            })
            .await
    }
}

/// Whom a token that holds speaks for.
fn principal(snapshot: &Snapshot<'_>, verified: &Verified) -> Result<Principal, AuthenticateError> {
    let Bearer::Session { device, session } = verified.bearer else {
        let account = snapshot.account(verified.user)?;
        let account = account.filter(|account| account.disabled_at.is_none());
        let account = account.ok_or(AuthenticateError::Over)?;
        return Ok(Principal::Enrolling {
            user: account.user,
            org: account.org,
        });
    };
    let Some(speaker) = snapshot.speaker(session)? else {
        return Err(why_over(snapshot, device)?);
    };
    if (speaker.device, speaker.user) != (device, verified.user) {
        return Err(AuthenticateError::Over);
    }
    Ok(Principal::Device {
        user: speaker.user,
        device: speaker.device,
        session,
        org: speaker.org,
        role: speaker.role,
    })
}

/// Why a session does not speak any more.
fn why_over(snapshot: &Snapshot<'_>, device: DeviceId) -> Result<AuthenticateError, StoreError> {
    Ok(match snapshot.device(device)? {
        Some(found) if found.revoked_at.is_some() => AuthenticateError::Revoked,
        _ => AuthenticateError::Over,
    })
}
