//! Who asks, from where, and when.

use std::net::IpAddr;

use unhidra_audit::Actor;
use unhidra_keys::{Scope, TokenError};
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
        let claims = self.keys().verify(token, context.now)?;
        match (claims.scope, claims.sid) {
            (Scope::Full, Some(session)) => {
                let device = claims.did;
                let speaker = self
                    .store()
                    .read(move |snapshot| match snapshot.speaker(session)? {
                        Some(speaker) => Ok(speaker),
                        None => Err(why_over(snapshot, device)?),
                    })
                    .await?;
                if (Some(speaker.device), speaker.user) != (claims.did, claims.sub) {
                    return Err(AuthenticateError::Over);
                }
                let (user, device, org, role) = (speaker.user, speaker.device, speaker.org, speaker.role);
                Ok(Principal::Device {
                    user,
                    device,
                    session,
                    org,
                    role,
                })
            }
            _ => {
                let account = self
                    .store()
                    .read(move |snapshot| snapshot.account(claims.sub))
                    .await?;
                let account = account.filter(|account| account.disabled_at.is_none());
                let account = account.ok_or(AuthenticateError::Over)?;
                Ok(Principal::Enrolling {
                    user: account.user,
                    org: account.org,
                })
            }
        }
    }

    /// Whether a device that was authenticated a moment ago still speaks, and what is left of its prekeys: all that a
    /// connection asks here when it begins, in one look.
    ///
    /// # Errors
    /// [`AuthenticateError`], but for its token: that is not looked at again.
    pub async fn arrive(
        &self,
        session: SessionId,
        device: DeviceId,
        now: Timestamp,
    ) -> Result<Stock, AuthenticateError> {
        self.store()
            .read(move |snapshot| match snapshot.speaker(session)? {
                Some(speaker) if speaker.device == device => Ok(stock(snapshot, device, now)?),
                _ => Err(why_over(snapshot, Some(device))?),
            })
            .await
    }
}

/// Why a session does not speak any more.
fn why_over(snapshot: &Snapshot<'_>, device: Option<DeviceId>) -> Result<AuthenticateError, StoreError> {
    let Some(device) = device else {
        return Ok(AuthenticateError::Over);
    };
    Ok(match snapshot.device(device)? {
        Some(found) if found.revoked_at.is_some() => AuthenticateError::Revoked,
        _ => AuthenticateError::Over,
    })
}
