//! Sessions of devices, with the hashes that recognise their refresh tokens.

use rusqlite::{OptionalExtension as _, Row, params};
use unhidra_types::{DeviceId, OrgId, Role, SessionId, Timestamp, UserId};

use crate::{Snapshot, StoreError, Tx, account::role, column};

/// A session as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// Its device.
    pub device: DeviceId,
    /// The device's user.
    pub user: UserId,
    /// The user's organisation.
    pub org: OrgId,
    /// When it began.
    pub created_at: Timestamp,
    /// When its tokens were last renewed.
    pub refreshed_at: Timestamp,
    /// SHA-256 of the refresh token in force.
    pub current_hash: [u8; 32],
    /// SHA-256 of the token that was used to get the current one.
    pub previous_hash: Option<[u8; 32]>,
    /// The refresh token in force, sealed under a server key.
    pub current_token: Vec<u8>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When it came back from a backup, if its device has not presented a refresh token since.
    pub restored_at: Option<Timestamp>,
}

/// Whom a live session speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The user's organisation.
    pub org: OrgId,
    /// The user's role.
    pub role: Role,
}

const COLUMNS: &str =
    "session_id, device_id, user_id, org_id, created_at, refreshed_at, current_hash, previous_hash,
                       current_token, ended_at, restored_at";

impl Snapshot<'_> {
    /// A session, ended or not.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM session WHERE session_id = ?1"))?
            .query_row([id.as_bytes()], |row| Ok(session(row)))
            .optional()?
            .transpose()
    }

    /// When the last session of a device began, ended or not.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn last_session_began(&self, device: DeviceId) -> Result<Option<Timestamp>, StoreError> {
        self.connection
            .prepare_cached("SELECT max(created_at) AS created_at FROM session WHERE device_id = ?1")?
            .query_row([device.as_bytes()], |row| {
                Ok(column::optional_time(row, "created_at"))
            })?
    }

    /// Whom a session speaks for, while it has not ended, its device is neither revoked nor refused and its account not
    /// disabled.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn speaker(&self, id: SessionId) -> Result<Option<Speaker>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT s.user_id, s.device_id, s.org_id, a.role FROM session s
                 JOIN account a ON a.user_id = s.user_id AND a.disabled_at IS NULL
                 JOIN device d ON d.device_id = s.device_id AND d.revoked_at IS NULL AND d.refused_at IS NULL
                 WHERE s.session_id = ?1 AND s.ended_at IS NULL",
            )?
            .query_row([id.as_bytes()], |row| Ok(speaker(row)))
            .optional()?
            .transpose()
    }
}

impl Tx<'_> {
    /// Begins a session.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn begin_session(&mut self, session: &Session) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO session (session_id, device_id, user_id, org_id, created_at, refreshed_at, current_hash,
                                      current_token)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                session.id.as_bytes(),
                session.device.as_bytes(),
                session.user.as_bytes(),
                session.org.as_bytes(),
                column::millis(session.created_at),
                column::millis(session.refreshed_at),
                session.current_hash,
                session.current_token
            ])?;
        Ok(())
    }

    /// Spends an enrolment token, and forgets those that have ended by themselves. Whether it was good.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn spend_enrolment(
        &mut self,
        token_hash: &[u8; 32],
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.connection
            .prepare_cached("DELETE FROM spent_enrolment WHERE expires_at < ?1")?
            .execute([column::millis(now)])?;
        let spent = self
            .connection
            .prepare_cached(
                "INSERT INTO spent_enrolment (token_hash, expires_at) VALUES (?1, ?2)
                 ON CONFLICT (token_hash) DO NOTHING",
            )?
            .execute(params![token_hash, column::millis(expires_at)])?;
        Ok(spent > 0)
    }

    /// Puts the successor of the refresh token `used` in force.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn renew_session(
        &mut self,
        id: SessionId,
        used: &[u8; 32],
        successor_hash: &[u8; 32],
        successor: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE session SET previous_hash = ?5, current_hash = ?2, current_token = ?3, refreshed_at = ?4,
                     restored_at = NULL
                 WHERE session_id = ?1",
            )?
            .execute(params![id.as_bytes(), successor_hash, successor, column::millis(now), used])?;
        Ok(())
    }

    /// Ends a session. `false` when it had ended before.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn end_session(&mut self, id: SessionId, now: Timestamp) -> Result<bool, StoreError> {
        let ended = self
            .connection
            .prepare_cached("UPDATE session SET ended_at = ?2 WHERE session_id = ?1 AND ended_at IS NULL")?
            .execute(params![id.as_bytes(), column::millis(now)])?;
        Ok(ended > 0)
    }

    /// Ends every session of a device and names those that were live.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn end_sessions_of(
        &mut self,
        device: DeviceId,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE session SET ended_at = ?2 WHERE device_id = ?1 AND ended_at IS NULL RETURNING session_id",
            )?
            .query_map(params![device.as_bytes(), column::millis(now)], |row| Ok(column::id(row, "session_id")))?
            .map(|row| row?)
            .collect()
    }

    /// Ends at most `limit` sessions that were not renewed since `idle_since`, or began before `begun_before`, and names
    /// them.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn expire_sessions(
        &mut self,
        idle_since: Timestamp,
        begun_before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE session SET ended_at = ?1 WHERE session_id IN (
                     SELECT session_id FROM session
                     WHERE ended_at IS NULL AND (refreshed_at < ?2 OR created_at < ?3) LIMIT ?4)
                 RETURNING session_id",
            )?
            .query_map(
                params![
                    column::millis(now),
                    column::millis(idle_since),
                    column::millis(begun_before),
                    limit
                ],
                |row| Ok(column::id(row, "session_id")),
            )?
            .map(|row| row?)
            .collect()
    }

    /// Forgets the ended sessions of a device.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn forget_ended_sessions_of(&mut self, device: DeviceId) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("DELETE FROM session WHERE device_id = ?1 AND ended_at IS NOT NULL")?
            .execute([device.as_bytes()])?;
        Ok(())
    }
}

fn session(row: &Row<'_>) -> Result<Session, StoreError> {
    let previous: Option<Vec<u8>> = column::value(row, "previous_hash")?;
    let previous_hash = previous.map(<[u8; 32]>::try_from).transpose();
    Ok(Session {
        id: column::id(row, "session_id")?,
        device: column::id(row, "device_id")?,
        user: column::id(row, "user_id")?,
        org: column::id(row, "org_id")?,
        created_at: column::time(row, "created_at")?,
        refreshed_at: column::time(row, "refreshed_at")?,
        current_hash: column::array(row, "current_hash")?,
        previous_hash: previous_hash.map_err(|_| StoreError::Corrupt("previous_hash"))?,
        current_token: column::value(row, "current_token")?,
        ended_at: column::optional_time(row, "ended_at")?,
        restored_at: column::optional_time(row, "restored_at")?,
    })
}

fn speaker(row: &Row<'_>) -> Result<Speaker, StoreError> {
    Ok(Speaker {
        user: column::id(row, "user_id")?,
        device: column::id(row, "device_id")?,
        org: column::id(row, "org_id")?,
        role: role(row)?,
    })
}
