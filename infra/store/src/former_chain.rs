//! Chains whose identity was replaced.

use rusqlite::{OptionalExtension as _, params};
use unhidra_types::{OrgId, Timestamp, UserId};

use crate::{Snapshot, StoreError, Tx, column};

/// What put another chain in the place of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplacedBy {
    /// A genesis that the replaced identity key signed.
    Rotation,
    /// A genesis that nothing vouches for but the account's password.
    Reset,
}

impl ReplacedBy {
    const fn number(self) -> u8 {
        match self {
            Self::Rotation => 1,
            Self::Reset => 2,
        }
    }
}

impl Snapshot<'_> {
    /// The times, newest first, at which a user's identity was replaced in this way since `since`; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn replacements(
        &self,
        user: UserId,
        by: ReplacedBy,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<Timestamp>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT replaced_at FROM former_chain WHERE user_id = ?1 AND replaced_by = ?2 AND replaced_at > ?3
                 ORDER BY replaced_at DESC LIMIT ?4",
            )?
            .query_map(
                params![user.as_bytes(), by.number(), column::millis(since), limit],
                |row| Ok(column::time(row, "replaced_at")),
            )?
            .map(|row| row?)
            .collect()
    }

    /// Whether a user's chain began with this genesis once.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn is_former_genesis(&self, user: UserId, genesis_hash: &[u8; 32]) -> Result<bool, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT 1 FROM former_chain WHERE user_id = ?1 AND genesis_hash = ?2")?
            .query_row(params![user.as_bytes(), genesis_hash], |_| Ok(()))
            .optional()?
            .is_some())
    }
}

impl Tx<'_> {
    /// Puts a user's chain away, so that another one can begin; `genesis_hash` is that of its first record.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn retire_chain(
        &mut self,
        user: UserId,
        org: OrgId,
        genesis_hash: &[u8; 32],
        by: ReplacedBy,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO former_chain (user_id, genesis_hash, org_id, replaced_by, replaced_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                user.as_bytes(),
                genesis_hash,
                org.as_bytes(),
                by.number(),
                column::millis(now)
            ])?;
        self.connection
            .prepare_cached(
                "INSERT INTO former_chain_record (user_id, genesis_hash, seq, record)
                 SELECT user_id, ?2, seq, record FROM chain_record WHERE user_id = ?1",
            )?
            .execute(params![user.as_bytes(), genesis_hash])?;
        self.connection
            .prepare_cached("DELETE FROM chain_record WHERE user_id = ?1")?
            .execute([user.as_bytes()])?;
        self.connection
            .prepare_cached("DELETE FROM chain WHERE user_id = ?1")?
            .execute([user.as_bytes()])?;
        Ok(())
    }
}
