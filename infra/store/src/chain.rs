//! Device chains: signed records by number. They are verified before they come here.

use rusqlite::{OptionalExtension as _, params};
use unhidra_types::{OrgId, UserId};

use crate::{Snapshot, StoreError, Tx, column};

impl Snapshot<'_> {
    /// The number and hash of the last record of a user's chain.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn chain_head(&self, user: UserId) -> Result<Option<(u32, [u8; 32])>, StoreError> {
        self.connection
            .prepare_cached("SELECT length - 1 AS version, head_hash FROM chain WHERE user_id = ?1")?
            .query_row([user.as_bytes()], |row| {
                let read = || {
                    Ok::<_, StoreError>((column::number(row, "version")?, column::array(row, "head_hash")?))
                };
                Ok(read())
            })
            .optional()?
            .transpose()
    }

    /// At most `limit` records of a user's chain from the number `from` on.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn chain_records(&self, user: UserId, from: u32, limit: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT record FROM chain_record WHERE user_id = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3",
            )?
            .query_map(params![user.as_bytes(), from, limit], |row| {
                Ok(column::value(row, "record"))
            })?
            .map(|row| row?)
            .collect()
    }
}

impl Tx<'_> {
    /// Appends records to a user's chain, which has `length` of them now; `head_hash` is that of the last new one.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, or the numbers are taken.
    pub fn extend_chain(
        &mut self,
        user: UserId,
        org: OrgId,
        length: u32,
        records: &[Vec<u8>],
        head_hash: &[u8; 32],
    ) -> Result<(), StoreError> {
        let added = u32::try_from(records.len()).unwrap_or(u32::MAX);
        self.connection
            .prepare_cached(
                "INSERT INTO chain (user_id, org_id, length, head_hash) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (user_id) DO UPDATE SET length = excluded.length, head_hash = excluded.head_hash",
            )?
            .execute(params![user.as_bytes(), org.as_bytes(), length.saturating_add(added), head_hash])?;
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO chain_record (user_id, seq, record) VALUES (?1, ?2, ?3)")?;
        for (seq, record) in (length..).zip(records) {
            insert.execute(params![user.as_bytes(), seq, record])?;
        }
        Ok(())
    }
}
