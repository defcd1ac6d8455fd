//! Devices: what their newest certificates say, and when they were seen.

use rusqlite::{OptionalExtension as _, Row, params};
use unhidra_types::{DeviceId, OrgId, Timestamp, UserId};

use crate::{Snapshot, StoreError, Tx, column};

/// A device as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device.
    pub id: DeviceId,
    /// Whose it is.
    pub user: UserId,
    /// The user's organisation.
    pub org: OrgId,
    /// What people call it.
    pub name: String,
    /// From its newest certificate.
    pub certified: Certified,
    /// When the server first saw it.
    pub created_at: Timestamp,
    /// When it last authenticated.
    pub last_seen_at: Option<Timestamp>,
    /// When the server learnt that it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// What a certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Capability bits.
    pub capabilities: u32,
    /// The signing key (DSK).
    pub dsk: [u8; 32],
    /// SHA-256 of the certificate.
    pub certificate_hash: [u8; 32],
    /// Its first valid moment.
    pub not_before: Timestamp,
    /// Its last valid moment.
    pub not_after: Timestamp,
}

const COLUMNS: &str =
    "device_id, user_id, org_id, name, capabilities, dsk, certificate_hash, not_before, not_after,
                       created_at, last_seen_at, revoked_at";

impl Snapshot<'_> {
    /// A device that was ever certified.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn device(&self, id: DeviceId) -> Result<Option<Device>, StoreError> {
        self.connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM device WHERE device_id = ?1"))?
            .query_row([id.as_bytes()], |row| Ok(device(row)))
            .optional()?
            .transpose()
    }

    /// Every device of a user that was ever certified, by id.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn devices_of(&self, user: UserId) -> Result<Vec<Device>, StoreError> {
        self.connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM device WHERE user_id = ?1 ORDER BY device_id"
            ))?
            .query_map([user.as_bytes()], |row| Ok(device(row)))?
            .map(|row| row?)
            .collect()
    }

    /// Whether a device was certified and is not revoked. Dates are not looked at.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn is_in_use(&self, id: DeviceId) -> Result<bool, StoreError> {
        Ok(self
            .connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM device WHERE device_id = ?1 AND revoked_at IS NULL)",
            )?
            .query_row([id.as_bytes()], |row| row.get(0))?)
    }

    /// The devices of a user that are not revoked, by id. Dates are not looked at.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn devices_in_use(&self, user: UserId) -> Result<Vec<DeviceId>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT device_id FROM device WHERE user_id = ?1 AND revoked_at IS NULL ORDER BY device_id",
            )?
            .query_map([user.as_bytes()], |row| Ok(column::id(row, "device_id")))?
            .map(|row| row?)
            .collect()
    }
}

impl Tx<'_> {
    /// Keeps a device that is certified for the first time.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, or the identifier is taken.
    pub fn keep_device(&mut self, device: &Device) -> Result<(), StoreError> {
        let certified = &device.certified;
        self.connection
            .prepare_cached(
                "INSERT INTO device (device_id, user_id, org_id, name, capabilities, dsk, certificate_hash, not_before,
                                     not_after, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                device.id.as_bytes(),
                device.user.as_bytes(),
                device.org.as_bytes(),
                device.name,
                certified.capabilities,
                certified.dsk,
                certified.certificate_hash,
                column::millis(certified.not_before),
                column::millis(certified.not_after),
                column::millis(device.created_at)
            ])?;
        Ok(())
    }

    /// Takes over a newer certificate of a device; its keys stay, and with them its prekeys, which name the certificate.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn renew_device(&mut self, id: DeviceId, certified: &Certified) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE device SET capabilities = ?2, certificate_hash = ?3, not_before = ?4, not_after = ?5
                 WHERE device_id = ?1",
            )?
            .execute(params![
                id.as_bytes(),
                certified.capabilities,
                certified.certificate_hash,
                column::millis(certified.not_before),
                column::millis(certified.not_after)
            ])?;
        self.connection
            .prepare_cached("UPDATE prekey_set SET certificate_hash = ?2 WHERE device_id = ?1")?
            .execute(params![id.as_bytes(), certified.certificate_hash])?;
        Ok(())
    }

    /// Marks a device as revoked and forgets its prekeys and what was said to it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn revoke_device(&mut self, id: DeviceId, now: Timestamp) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE device SET revoked_at = ?2 WHERE device_id = ?1 AND revoked_at IS NULL")?
            .execute(params![id.as_bytes(), column::millis(now)])?;
        self.forget_control(id)?;
        self.forget_prekeys(id)
    }

    /// Keeps what a device reports of messages that it could not open, in place of what it reported before.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn report_failures(
        &mut self,
        id: DeviceId,
        failures: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE device SET failures = ?2, failures_at = ?3 WHERE device_id = ?1")?
            .execute(params![id.as_bytes(), failures, column::millis(now)])?;
        Ok(())
    }

    /// Notes that a device has authenticated.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn device_seen(&mut self, id: DeviceId, now: Timestamp) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE device SET last_seen_at = ?2 WHERE device_id = ?1")?
            .execute(params![id.as_bytes(), column::millis(now)])?;
        Ok(())
    }
}

fn device(row: &Row<'_>) -> Result<Device, StoreError> {
    Ok(Device {
        id: column::id(row, "device_id")?,
        user: column::id(row, "user_id")?,
        org: column::id(row, "org_id")?,
        name: column::value(row, "name")?,
        certified: Certified {
            capabilities: column::number(row, "capabilities")?,
            dsk: column::array(row, "dsk")?,
            certificate_hash: column::array(row, "certificate_hash")?,
            not_before: column::time(row, "not_before")?,
            not_after: column::time(row, "not_after")?,
        },
        created_at: column::time(row, "created_at")?,
        last_seen_at: column::optional_time(row, "last_seen_at")?,
        revoked_at: column::optional_time(row, "revoked_at")?,
    })
}
