//! Whether accounts and devices may be used: disabled, enabled, refused, deleted.

use rusqlite::{OptionalExtension as _, params};
use unhidra_types::{DeviceId, InvitationId, OrgId, SessionId, Timestamp, UserId};

use crate::{Snapshot, StoreError, Tx, column};

impl Snapshot<'_> {
    /// When a user's account was deleted.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn deleted_at(&self, user: UserId) -> Result<Option<Timestamp>, StoreError> {
        let deleted = self
            .connection
            .prepare_cached("SELECT deleted_at FROM account WHERE user_id = ?1")?
            .query_row([user.as_bytes()], |row| {
                Ok(column::optional_time(row, "deleted_at"))
            })
            .optional()?
            .transpose()?;
        Ok(deleted.flatten())
    }

    /// Whether a deleted account of an organisation had the name with this keyed hash.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn is_name_reserved(&self, org: OrgId, name_hash: &[u8; 32]) -> Result<bool, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT 1 FROM reserved_name WHERE org_id = ?1 AND name_hash = ?2")?
            .exists(params![org.as_bytes(), name_hash])?)
    }

    /// How many accounts administer an organisation and are not disabled.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn administrators(&self, org: OrgId) -> Result<u32, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT count(*) AS n FROM account WHERE org_id = ?1 AND role = 1 AND disabled_at IS NULL",
            )?
            .query_row([org.as_bytes()], |row| Ok(column::number(row, "n")))?
    }

    /// Whether an administrator refuses the sessions of a device.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn is_refused(&self, device: DeviceId) -> Result<bool, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT 1 FROM device WHERE device_id = ?1 AND refused_at IS NOT NULL")?
            .exists([device.as_bytes()])?)
    }
}

impl Tx<'_> {
    /// Lets an account be used again. `false` when it was not disabled, or is deleted.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn enable_account(&mut self, user: UserId) -> Result<bool, StoreError> {
        let enabled = self
            .connection
            .prepare_cached(
                "UPDATE account SET disabled_at = NULL
                 WHERE user_id = ?1 AND disabled_at IS NOT NULL AND deleted_at IS NULL",
            )?
            .execute([user.as_bytes()])?;
        Ok(enabled > 0)
    }

    /// Ends every session of a user and names those that were live.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn end_sessions_of_user(
        &mut self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE session SET ended_at = ?2 WHERE user_id = ?1 AND ended_at IS NULL RETURNING session_id",
            )?
            .query_map(params![user.as_bytes(), column::millis(now)], |row| {
                Ok(column::id(row, "session_id"))
            })?
            .map(|row| row?)
            .collect()
    }

    /// Refuses the sessions of a device from now on. `false` when they were refused before.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn refuse_device(&mut self, device: DeviceId, now: Timestamp) -> Result<bool, StoreError> {
        let refused = self
            .connection
            .prepare_cached("UPDATE device SET refused_at = ?2 WHERE device_id = ?1 AND refused_at IS NULL")?
            .execute(params![device.as_bytes(), column::millis(now)])?;
        Ok(refused > 0)
    }

    /// Allows the sessions of a device again. `false` when they were allowed.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn allow_device(&mut self, device: DeviceId) -> Result<bool, StoreError> {
        let allowed = self
            .connection
            .prepare_cached(
                "UPDATE device SET refused_at = NULL WHERE device_id = ?1 AND refused_at IS NOT NULL",
            )?
            .execute([device.as_bytes()])?;
        Ok(allowed > 0)
    }

    /// Withdraws an invitation that nobody used. `false` when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn withdraw_invitation(&mut self, org: OrgId, id: InvitationId) -> Result<bool, StoreError> {
        let withdrawn = self
            .connection
            .prepare_cached(
                "DELETE FROM invitation WHERE org_id = ?1 AND invitation_id = ?2 AND used_at IS NULL",
            )?
            .execute(params![org.as_bytes(), id.as_bytes()])?;
        Ok(withdrawn > 0)
    }

    /// Deletes everything that is one user's alone and reserves the name. What stays is the number of the account under a
    /// made-up name, the entries that others have in their logs, and the audit records.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn delete_account(
        &mut self,
        user: UserId,
        org: OrgId,
        name_hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for device in self.devices_of(user)? {
            self.forget_prekeys(device.id)?;
            for table in ["capsule", "cursor", "last_accepted", "bundle_taken"] {
                self.connection
                    .prepare_cached(&format!("DELETE FROM {table} WHERE device_id = ?1"))?
                    .execute([device.id.as_bytes()])?;
            }
        }
        self.connection
            .prepare_cached("DELETE FROM bundle_taken WHERE requester = ?1")?
            .execute([user.as_bytes()])?;
        self.connection
            .prepare_cached("DELETE FROM invitation WHERE made_by = ?1 AND used_at IS NULL")?
            .execute([user.as_bytes()])?;
        for table in [
            "former_chain_record",
            "former_chain",
            "link_channel",
            "session",
            "device",
            "recovery",
            "chain_record",
            "chain",
        ] {
            self.connection
                .prepare_cached(&format!("DELETE FROM {table} WHERE user_id = ?1"))?
                .execute([user.as_bytes()])?;
        }
        self.connection
            .prepare_cached("DELETE FROM idempotency WHERE owner = ?1")?
            .execute([user.as_bytes()])?;
        self.connection
            .prepare_cached(
                "INSERT INTO reserved_name (org_id, name_hash) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute(params![org.as_bytes(), name_hash])?;
        let unnamed = format!("deleted-{}", hex_end(user));
        self.connection
            .prepare_cached(
                "UPDATE account SET username = ?2, password = '', role = 2, deleted_at = ?3,
                        disabled_at = coalesce(disabled_at, ?3) WHERE user_id = ?1",
            )?
            .execute(params![user.as_bytes(), unnamed, column::millis(now)])?;
        Ok(())
    }
}

/// The last 24 digits of an identifier: those that are random.
fn hex_end(user: UserId) -> String {
    let text = user.to_string();
    let digits = text.chars().rev().take(24).collect::<Vec<_>>();
    digits.into_iter().rev().collect()
}
