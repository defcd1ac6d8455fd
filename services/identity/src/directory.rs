//! Users and devices as others see them, and the facts that the policy decides on.

use unhidra_policy::{Principal, Resource};
use unhidra_store::StoreError;
use unhidra_types::{DeviceId, OrgId, SessionId, Timestamp, UserId, Username};
use unhidra_wire::rest::{self, Devices, Me, OpeningFailures, User};

use crate::{Caller, Identity};

/// The organisation of what does not exist: nobody's.
const NOWHERE: OrgId = OrgId::from_bytes([0; 16]);
const NOBODY: UserId = UserId::from_bytes([0; 16]);

impl Identity {
    /// Who the caller is; `None` unless a session speaks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn me(&self, caller: &Caller) -> Result<Option<Me>, StoreError> {
        let Principal::Device {
            user,
            device,
            session,
            org,
            role,
        } = caller.principal
        else {
            return Ok(None);
        };
        let account = self.store().read(move |snapshot| snapshot.account(user)).await?;
        Ok(account.map(|account| Me {
            user_id: user,
            username: account.username,
            org_id: org,
            role,
            device_id: device,
            session_id: session,
        }))
    }

    /// The user with this name in the caller's organisation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn user_by_name(
        &self,
        caller: &Caller,
        username: Username,
    ) -> Result<Option<User>, StoreError> {
        let Some(org) = caller.principal.org() else {
            return Ok(None);
        };
        let account = self
            .store()
            .read(move |snapshot| snapshot.account_by_name(org, &username))
            .await?;
        Ok(account.map(|account| User {
            user_id: account.user,
            username: account.username,
        }))
    }

    /// A user. Whether the caller may know of them was decided before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn user(&self, user: UserId) -> Result<Option<User>, StoreError> {
        let account = self.store().read(move |snapshot| snapshot.account(user)).await?;
        Ok(account.map(|account| User {
            user_id: account.user,
            username: account.username,
        }))
    }

    /// Every device of a user that was ever certified.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn devices(&self, user: UserId) -> Result<Devices, StoreError> {
        let devices = self
            .store()
            .read(move |snapshot| snapshot.devices_of(user))
            .await?;
        let devices = devices.into_iter().map(|device| rest::Device {
            device_id: device.id,
            name: device.name,
            created_at: device.created_at,
            last_seen_at: device.last_seen_at,
            revoked_at: device.revoked_at,
        });
        Ok(Devices {
            devices: devices.collect(),
        })
    }

    /// Keeps what a device of the caller reports of messages that it could not open.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation safety
    /// The report is kept or not.
    pub async fn report_failures(
        &self,
        device: DeviceId,
        report: OpeningFailures,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let kept = serde_json::to_string(&report.counts).map_err(|_| StoreError::Corrupt("failures"))?;
        self.store()
            .write(move |tx| tx.report_failures(device, &kept, now))
            .await
    }

    /// The facts about a user. A user who does not exist is in nobody's organisation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn user_facts(&self, user: UserId) -> Result<Resource, StoreError> {
        let org = self.store().read(move |snapshot| snapshot.org_of(user)).await?;
        Ok(Resource::User {
            user,
            org: org.unwrap_or(NOWHERE),
        })
    }

    /// The facts about a device.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn device_facts(&self, id: DeviceId) -> Result<Resource, StoreError> {
        let device = self.store().read(move |snapshot| snapshot.device(id)).await?;
        let (user, org) = device.map_or((NOBODY, NOWHERE), |device| (device.user, device.org));
        Ok(Resource::Device {
            device: id,
            user,
            org,
        })
    }

    /// The facts about a session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn session_facts(&self, id: SessionId) -> Result<Resource, StoreError> {
        let session = self.store().read(move |snapshot| snapshot.session(id)).await?;
        let (user, org) = session.map_or((NOBODY, NOWHERE), |session| (session.user, session.org));
        Ok(Resource::Session { user, org })
    }
}
