//! Requests that made something and may come again: found by their key, answered as the first time.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, Row, params};
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

/// Why a request with a key is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepeatError {
    /// The key stands for another request.
    #[error("idempotency key stands for another request")]
    Reused,
    /// The owner has [`MAX_KEYS`] already.
    #[error("too many idempotency keys within a day")]
    Full,
}

impl Snapshot<'_> {
    /// What the answer to the same request under the same key was made of, within [`RETENTION`]; none without a key.
    ///
    /// # Errors
    /// [`RepeatError::Reused`] when something else was asked under the key; [`StoreError`] when the database fails.
    pub fn earlier_answer<E: From<StoreError> + From<RepeatError>>(
        &self,
        asked: Option<&Repeatable>,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, E> {
        let Some(asked) = asked else { return Ok(None) };
        match self.kept_under(&asked.key, now)? {
            None => Ok(None),
            Some(kept) if kept.request == asked.request => Ok(Some(kept.answer)),
            Some(_) => Err(RepeatError::Reused.into()),
        }
    }

    fn kept_under(&self, key: &[u8; 32], now: Timestamp) -> Result<Option<Kept>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT request_hash, answer FROM idempotency WHERE key_hash = ?1 AND created_at > ?2",
            )?
            .query_row(
                params![key, column::millis(now.saturating_sub(RETENTION))],
                |row| Ok(kept(row)),
            )
            .optional()?
            .transpose()
    }

    fn answers_of(&self, owner: &[u8; 16]) -> Result<u32, StoreError> {
        self.connection
            .prepare_cached("SELECT count(*) AS n FROM idempotency WHERE owner = ?1")?
            .query_row([owner], |row| Ok(column::number(row, "n")))?
    }
}

impl Tx<'_> {
    /// Keeps what the answer to a request is made of, in the transaction of what it made; nothing without a key.
    ///
    /// # Errors
    /// [`RepeatError::Full`]; [`StoreError`] when the database fails.
    pub fn keep_answer<E: From<StoreError> + From<RepeatError>>(
        &mut self,
        asked: Option<&Repeatable>,
        answer: &[u8],
        now: Timestamp,
    ) -> Result<(), E> {
        let Some(asked) = asked else { return Ok(()) };
        if self.answers_of(&asked.owner)? >= MAX_KEYS {
            return Err(RepeatError::Full.into());
        }
        Ok(self.keep(asked, answer, now)?)
    }

    fn keep(&mut self, asked: &Repeatable, answer: &[u8], now: Timestamp) -> Result<(), StoreError> {
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
        Ok(())
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

/// What one key stands for.
struct Kept {
    request: [u8; 32],
    answer: Vec<u8>,
}

fn kept(row: &Row<'_>) -> Result<Kept, StoreError> {
    Ok(Kept {
        request: column::array(row, "request_hash")?,
        answer: column::value(row, "answer")?,
    })
}
