//! Identity keys, wrapped by their users' recovery keys.

use rusqlite::{OptionalExtension as _, params};
use unhidra_types::{OrgId, Timestamp, UserId};

use crate::{Snapshot, StoreError, Tx, column};

impl Snapshot<'_> {
    /// A user's wrapped identity key.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn recovery(&self, user: UserId) -> Result<Option<Vec<u8>>, StoreError> {
        self.connection
            .prepare_cached("SELECT wrapped FROM recovery WHERE user_id = ?1")?
            .query_row([user.as_bytes()], |row| Ok(column::value(row, "wrapped")))
            .optional()?
            .transpose()
    }
}

impl Tx<'_> {
    /// Keeps a user's wrapped identity key in place of an earlier one.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn keep_recovery(
        &mut self,
        user: UserId,
        org: OrgId,
        wrapped: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO recovery (user_id, org_id, wrapped, updated_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (user_id) DO UPDATE SET wrapped = excluded.wrapped, updated_at = excluded.updated_at",
            )?
            .execute(params![user.as_bytes(), org.as_bytes(), wrapped, column::millis(now)])?;
        Ok(())
    }
}
