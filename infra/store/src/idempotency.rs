//! Requests that made something and may come again: found by their key, answered as the first time.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};
use unhidra_types::{OrgId, Timestamp};

use crate::{Snapshot, StoreError, Tx, column};

/// How long an answer is kept.
pub const RETENTION: Duration = Duration::from_secs(86_400);
/// Answers that are kept for one owner; one more is refused until the oldest is a day old.
pub const MAX_KEYS: u32 = 1_024;

/// A request that names a key, as far as it can be told from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeatable {
    /// SHA-256 over who asks, for what and under which key.
    pub key: [u8; 32],
    /// SHA-256 of what is asked, without its secrets.
    pub request: [u8; 32],
    /// Whose keys are counted.
    pub owner: [u8; 16],
    /// The owner's organisation.
    pub org: OrgId,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// Nothing: this is the first time.
    None,
    /// The same was asked; this is what its answer is made of.
    Same(Vec<u8>),
    /// Something else was asked under the key.
    Other,
}

/// Whether an answer was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Keeping {
    /// It was.
    Kept,
    /// The owner has [`MAX_KEYS`] already.
    Full,
}

impl Snapshot<'_> {
    /// What was answered under the key of a request within [`RETENTION`].
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn earlier(&self, asked: &Repeatable, now: Timestamp) -> Result<Earlier, StoreError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT request_hash, answer FROM idempotency WHERE key_hash = ?1 AND created_at > ?2",
            )?
            .query_row(
                params![asked.key, column::millis(now.saturating_sub(RETENTION))],
                |row| {
                    let read = || {
                        Ok::<_, StoreError>((
                            column::array::<32>(row, "request_hash")?,
                            column::value::<Vec<u8>>(row, "answer")?,
                        ))
                    };
                    Ok(read())
                },
            )
            .optional()?
            .transpose()?;
        Ok(match found {
            None => Earlier::None,
            Some((request, answer)) if request == asked.request => Earlier::Same(answer),
            Some(_) => Earlier::Other,
        })
    }
}

impl Tx<'_> {
    /// Keeps what the answer to a request is made of, in the transaction of what it made.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn keep_answer(
        &mut self,
        asked: &Repeatable,
        answer: &[u8],
        now: Timestamp,
    ) -> Result<Keeping, StoreError> {
        let kept: u32 = self
            .connection
            .prepare_cached("SELECT count(*) AS n FROM idempotency WHERE owner = ?1")?
            .query_row([asked.owner], |row| Ok(column::number(row, "n")))??;
        if kept >= MAX_KEYS {
            return Ok(Keeping::Full);
        }
        self.connection
            .prepare_cached(
                "INSERT INTO idempotency (key_hash, org_id, owner, request_hash, answer, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (key_hash) DO UPDATE SET request_hash = excluded.request_hash, answer = excluded.answer,
                     created_at = excluded.created_at",
            )?
            .execute(params![
                asked.key,
                asked.org.as_bytes(),
                asked.owner,
                asked.request,
                answer,
                column::millis(now)
            ])?;
        Ok(Keeping::Kept)
    }

    /// Forgets at most `limit` answers that are older than [`RETENTION`].
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn forget_answers(&mut self, limit: u32, now: Timestamp) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "DELETE FROM idempotency WHERE key_hash IN
                     (SELECT key_hash FROM idempotency WHERE created_at <= ?1 ORDER BY created_at LIMIT ?2)",
            )?
            .execute(params![column::millis(now.saturating_sub(RETENTION)), limit])?;
        Ok(())
    }
}
