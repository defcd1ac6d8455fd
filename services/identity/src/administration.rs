//! What an administrator sees and does: accounts, sessions, devices and invitations of the own organisation.
//!
//! A device is revoked by its user's chain alone, which others verify. What an administrator can do is narrower: end the
//! sessions of a device and refuse new ones, at this server.

use std::collections::BTreeMap;

use unhidra_audit::{Act, Record, Subject};
use unhidra_runtime::Context;
use unhidra_store::{
    Event, StoreError, Tx,
    roster::{ListedAccount, ListedDevice, ListedInvitation, ListedSession},
};
use unhidra_types::{DeviceId, InvitationId, OrgId, Role, SessionId, UserId};
use unhidra_wire::rest;

use crate::{Caller, Identity, append};

/// Items on the largest page of a list.
pub const MAX_PAGE: u32 = 256;

/// Why an administrative act was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// There is nothing of this name, or what there is can't be changed in this way any more.
    #[error("no such thing")]
    NotFound,
    /// The account is deleted for good.
    #[error("account is deleted")]
    Deleted,
    /// Nobody else administers the server.
    #[error("account is the last administrator")]
    LastAdministrator,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Lists. Each takes the last item that the caller has and how many more are wanted, at most [`MAX_PAGE`].
impl Identity {
    /// Every account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts(
        &self,
        caller: &Caller,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<rest::Accounts, StoreError> {
        let (org, after) = (self.org_of(caller), after.unwrap_or(UserId::from_bytes([0; 16])));
        let found = self
            .store()
            .read(move |snapshot| snapshot.accounts(org, after, limit + 1));
        let (accounts, next) = page(found.await?, limit, |account| account.user);
        let users = accounts.into_iter().map(account).collect();
        Ok(rest::Accounts { users, next })
    }

    /// One account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account(&self, user: UserId) -> Result<Option<rest::Account>, StoreError> {
        let found = self.store().read(move |snapshot| snapshot.listed_account(user));
        Ok(found.await?.map(account))
    }

    /// The sessions of one user, or everyone's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sessions(
        &self,
        caller: &Caller,
        user: Option<UserId>,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<rest::Sessions, StoreError> {
        let (org, after) = (
            self.org_of(caller),
            after.unwrap_or(SessionId::from_bytes([0; 16])),
        );
        let found = self
            .store()
            .read(move |snapshot| snapshot.live_sessions(org, user, after, limit + 1));
        let (sessions, next) = page(found.await?, limit, |session| session.session);
        let sessions = sessions.into_iter().map(session).collect();
        Ok(rest::Sessions { sessions, next })
    }

    /// The devices of one user, or everyone's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all_devices(
        &self,
        caller: &Caller,
        user: Option<UserId>,
        after: Option<DeviceId>,
        limit: u32,
    ) -> Result<rest::AllDevices, StoreError> {
        let (org, after) = (
            self.org_of(caller),
            after.unwrap_or(DeviceId::from_bytes([0; 16])),
        );
        let found = self
            .store()
            .read(move |snapshot| snapshot.all_devices(org, user, after, limit + 1));
        let (devices, next) = page(found.await?, limit, |device| device.device);
        let devices = devices.into_iter().map(device).collect::<Result<_, _>>()?;
        Ok(rest::AllDevices { devices, next })
    }

    /// Every invitation that was not withdrawn.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn invitations(
        &self,
        caller: &Caller,
        after: Option<InvitationId>,
        limit: u32,
    ) -> Result<rest::Invitations, StoreError> {
        let (org, after) = (
            self.org_of(caller),
            after.unwrap_or(InvitationId::from_bytes([0; 16])),
        );
        let found = self
            .store()
            .read(move |snapshot| snapshot.invitations(org, after, limit + 1));
        let (invitations, next) = page(found.await?, limit, |invitation| invitation.invitation);
        let invitations = invitations.into_iter().map(invitation).collect();
        Ok(rest::Invitations { invitations, next })
    }

    pub(crate) fn org_of(&self, caller: &Caller) -> OrgId {
        caller.principal.org().unwrap_or(self.0.home)
    }
}

/// Acts. Each happens as a whole, with its record, or not; doing it again is no error and leaves no second record.
impl Identity {
    /// Disables an account: its password proves nothing, its sessions end and its connections close.
    ///
    /// # Errors
    /// [`AdministrationError`].
    ///
    /// # Cancellation safety
    /// It happens or not, as a whole.
    pub async fn disable_account(&self, caller: &Caller, user: UserId) -> Result<(), AdministrationError> {
        let context = caller.context;
        let record = self.record(caller, Act::AccountDisabled, Subject::User(user));
        self.store()
            .write(move |tx| {
                let account = tx.account(user)?.ok_or(AdministrationError::NotFound)?;
                if account.disabled_at.is_some() {
                    return Ok(());
                }
                require_another_administrator(tx, account.org, account.role)?;
                tx.disable_account(user, context.now)?;
                for ended in tx.end_sessions_of_user(user, context.now)? {
                    end(tx, &context, &record, ended, "account disabled")?;
                }
                Ok(append(tx, &context, &record)?)
            })
            .await
    }

    /// Lets a disabled account be used again; its devices log in again.
    ///
    /// # Errors
    /// [`AdministrationError`].
    ///
    /// # Cancellation safety
    /// It happens or not, as a whole.
    pub async fn enable_account(&self, caller: &Caller, user: UserId) -> Result<(), AdministrationError> {
        let context = caller.context;
        let record = self.record(caller, Act::AccountEnabled, Subject::User(user));
        self.store()
            .write(move |tx| {
                if tx.deleted_at(user)?.is_some() {
                    return Err(AdministrationError::Deleted);
                }
                if tx.enable_account(user)? {
                    append(tx, &context, &record)?;
                }
                Ok(())
            })
            .await
    }

    /// Ends the sessions of a device and refuses new ones. The device stays on its user's list, where only that user can
    /// revoke it.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation safety
    /// It happens or not, as a whole.
    pub async fn refuse_device(
        &self,
        caller: &Caller,
        device: DeviceId,
    ) -> Result<rest::EndedSessions, StoreError> {
        let context = caller.context;
        let record = self.record(caller, Act::DeviceRefused, Subject::Device(device));
        self.store()
            .write(move |tx| {
                let mut ended = 0;
                if tx.refuse_device(device, context.now)? {
                    append(tx, &context, &record)?;
                }
                for session in tx.end_sessions_of(device, context.now)? {
                    end(tx, &context, &record, session, "device refused")?;
                    ended += 1;
                }
                Ok(rest::EndedSessions { ended })
            })
            .await
    }

    /// Allows the sessions of a device again.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation safety
    /// It happens or not, as a whole.
    pub async fn allow_device(&self, caller: &Caller, device: DeviceId) -> Result<(), StoreError> {
        let context = caller.context;
        let record = self.record(caller, Act::DeviceAllowed, Subject::Device(device));
        self.store()
            .write(move |tx| {
                if tx.allow_device(device)? {
                    append(tx, &context, &record)?;
                }
                Ok(())
            })
            .await
    }

    /// Withdraws an invitation that nobody has used.
    ///
    /// # Errors
    /// [`AdministrationError::NotFound`] when there is none, or somebody has.
    ///
    /// # Cancellation safety
    /// It happens or not, as a whole.
    pub async fn revoke_invitation(
        &self,
        caller: &Caller,
        id: InvitationId,
    ) -> Result<(), AdministrationError> {
        let (context, org) = (caller.context, self.org_of(caller));
        let record = self.record(caller, Act::InvitationRevoked, Subject::Invitation(id));
        self.store()
            .write(move |tx| {
                if !tx.withdraw_invitation(org, id)? {
                    return Err(AdministrationError::NotFound);
                }
                Ok(append(tx, &context, &record)?)
            })
            .await
    }
}

/// Fails when the account that goes is the only one that administers its organisation.
pub(crate) fn require_another_administrator(
    tx: &Tx<'_>,
    org: OrgId,
    role: Role,
) -> Result<(), AdministrationError> {
    if role == Role::SuperAdmin && tx.administrators(org)? <= 1 {
        return Err(AdministrationError::LastAdministrator);
    }
    Ok(())
}

fn end(
    tx: &mut Tx<'_>,
    context: &Context,
    because: &Record,
    session: SessionId,
    reason: &'static str,
) -> Result<(), StoreError> {
    let mut record = because.clone();
    record.act = Act::SessionEnded;
    record.subject = Subject::Session(session);
    record.details.reason = Some(reason);
    append(tx, context, &record)?;
    tx.emit(Event::SessionEnded(session));
    Ok(())
}

/// The first `limit` items, and where the next page begins when there were more.
fn page<T, K>(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> K) -> (Vec<T>, Option<K>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if items.len() <= limit {
        return (items, None);
    }
    items.truncate(limit);
    let next = items.last().map(key);
    (items, next)
}

fn account(found: ListedAccount) -> rest::Account {
    rest::Account {
        user_id: found.user,
        username: found.username,
        role: found.role,
        created_at: found.created_at,
        disabled_at: found.disabled_at,
        deleted_at: found.deleted_at,
        devices: found.devices,
        sessions: found.sessions,
    }
}

fn session(found: ListedSession) -> rest::Session {
    rest::Session {
        session_id: found.session,
        user_id: found.user,
        username: found.username,
        device_id: found.device,
        device_name: found.device_name,
        created_at: found.created_at,
        refreshed_at: found.refreshed_at,
    }
}

fn device(found: ListedDevice) -> Result<rest::OwnedDevice, StoreError> {
    let failures = match found.failures {
        Some(kept) => serde_json::from_str(&kept).map_err(|_| StoreError::Corrupt("failures"))?,
        None => BTreeMap::new(),
    };
    Ok(rest::OwnedDevice {
        device_id: found.device,
        user_id: found.user,
        username: found.username,
        name: found.name,
        created_at: found.created_at,
        last_seen_at: found.last_seen_at,
        revoked_at: found.revoked_at,
        refused_at: found.refused_at,
        failures,
        failures_at: found.failures_at,
    })
}

fn invitation(found: ListedInvitation) -> rest::ListedInvitation {
    rest::ListedInvitation {
        invitation_id: found.invitation,
        role: found.role,
        made_by: found.made_by,
        created_at: found.created_at,
        expires_at: found.expires_at,
        used_by: found.used_by,
        used_at: found.used_at,
    }
}
