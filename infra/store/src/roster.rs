//! What administration sees of accounts, sessions, devices and invitations, page by page in the order of their ids.

use rusqlite::{OptionalExtension as _, Row, params};
use unhidra_types::{DeviceId, InvitationId, OrgId, Role, SessionId, Timestamp, UserId, Username};

use crate::{Snapshot, StoreError, account::role, column};

/// An account with what there is of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedAccount {
    /// The user.
    pub user: UserId,
    /// Their name; a made-up one once the account is deleted.
    pub username: Username,
    /// Their role.
    pub role: Role,
    /// When the account was opened.
    pub created_at: Timestamp,
    /// When it was disabled.
    pub disabled_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// Devices that are not revoked.
    pub devices: u32,
    /// Sessions that have not ended.
    pub sessions: u32,
}

/// A session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// The session.
    pub session: SessionId,
    /// Its user.
    pub user: UserId,
    /// The user's name.
    pub username: Username,
    /// Its device.
    pub device: DeviceId,
    /// What people call the device.
    pub device_name: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When its tokens were last renewed.
    pub refreshed_at: Timestamp,
}

/// A device with whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDevice {
    /// The device.
    pub device: DeviceId,
    /// Its user.
    pub user: UserId,
    /// The user's name.
    pub username: Username,
    /// What people call it.
    pub name: String,
    /// When the server first saw it.
    pub created_at: Timestamp,
    /// When it last authenticated.
    pub last_seen_at: Option<Timestamp>,
    /// When its user revoked it.
    pub revoked_at: Option<Timestamp>,
    /// When an administrator refused its sessions.
    pub refused_at: Option<Timestamp>,
    /// What it reported of messages that it could not open, as it was kept.
    pub failures: Option<String>,
    /// When it did.
    pub failures_at: Option<Timestamp>,
}

/// An invitation with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedInvitation {
    /// The invitation.
    pub invitation: InvitationId,
    /// The role that the account gets.
    pub role: Role,
    /// Who made it; `None` for the set-up token.
    pub made_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// End of its use.
    pub expires_at: Timestamp,
    /// The account that it opened.
    pub used_by: Option<UserId>,
    /// When it was used.
    pub used_at: Option<Timestamp>,
}

const ACCOUNTS: &str = "SELECT a.user_id, a.username, a.role, a.created_at, a.disabled_at, a.deleted_at,
     (SELECT count(*) FROM device d WHERE d.user_id = a.user_id AND d.revoked_at IS NULL) AS devices,
     (SELECT count(*) FROM session s WHERE s.user_id = a.user_id AND s.ended_at IS NULL) AS sessions
     FROM account a";

impl Snapshot<'_> {
    /// At most `limit` accounts of an organisation after `after`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn accounts(&self, org: OrgId, after: UserId, limit: u32) -> Result<Vec<ListedAccount>, StoreError> {
        self.connection
            .prepare_cached(&format!(
                "{ACCOUNTS} WHERE a.org_id = ?1 AND a.user_id > ?2 ORDER BY a.user_id LIMIT ?3"
            ))?
            .query_map(params![org.as_bytes(), after.as_bytes(), limit], |row| {
                Ok(account(row))
            })?
            .map(|row| row?)
            .collect()
    }

    /// One account as the list has it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn listed_account(&self, user: UserId) -> Result<Option<ListedAccount>, StoreError> {
        self.connection
            .prepare_cached(&format!("{ACCOUNTS} WHERE a.user_id = ?1"))?
            .query_row([user.as_bytes()], |row| Ok(account(row)))
            .optional()?
            .transpose()
    }

    /// At most `limit` sessions of an organisation, or of one of its users, after `after`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn live_sessions(
        &self,
        org: OrgId,
        user: Option<UserId>,
        after: SessionId,
        limit: u32,
    ) -> Result<Vec<ListedSession>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT s.session_id, s.user_id, a.username, s.device_id, d.name, s.created_at, s.refreshed_at
                 FROM session s JOIN account a ON a.user_id = s.user_id JOIN device d ON d.device_id = s.device_id
                 WHERE s.org_id = ?1 AND s.session_id > ?2 AND s.ended_at IS NULL AND (?3 IS NULL OR s.user_id = ?3)
                 ORDER BY s.session_id LIMIT ?4",
            )?
            .query_map(
                params![org.as_bytes(), after.as_bytes(), user.map(|user| *user.as_bytes()), limit],
                |row| Ok(session(row)),
            )?
            .map(|row| row?)
            .collect()
    }

    /// At most `limit` devices of an organisation, or of one of its users, after `after`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn all_devices(
        &self,
        org: OrgId,
        user: Option<UserId>,
        after: DeviceId,
        limit: u32,
    ) -> Result<Vec<ListedDevice>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT d.device_id, d.user_id, a.username, d.name, d.created_at, d.last_seen_at, d.revoked_at,
                        d.refused_at, d.failures, d.failures_at
                 FROM device d JOIN account a ON a.user_id = d.user_id
                 WHERE d.org_id = ?1 AND d.device_id > ?2 AND (?3 IS NULL OR d.user_id = ?3)
                 ORDER BY d.device_id LIMIT ?4",
            )?
            .query_map(
                params![org.as_bytes(), after.as_bytes(), user.map(|user| *user.as_bytes()), limit],
                |row| Ok(device(row)),
            )?
            .map(|row| row?)
            .collect()
    }

    /// At most `limit` invitations of an organisation after `after`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn invitations(
        &self,
        org: OrgId,
        after: InvitationId,
        limit: u32,
    ) -> Result<Vec<ListedInvitation>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT invitation_id, role, made_by, created_at, expires_at, used_by, used_at FROM invitation
                 WHERE org_id = ?1 AND invitation_id > ?2 ORDER BY invitation_id LIMIT ?3",
            )?
            .query_map(params![org.as_bytes(), after.as_bytes(), limit], |row| {
                Ok(invitation(row))
            })?
            .map(|row| row?)
            .collect()
    }
}

fn account(row: &Row<'_>) -> Result<ListedAccount, StoreError> {
    Ok(ListedAccount {
        user: column::id(row, "user_id")?,
        username: name(row)?,
        role: role(row)?,
        created_at: column::time(row, "created_at")?,
        disabled_at: column::optional_time(row, "disabled_at")?,
        deleted_at: column::optional_time(row, "deleted_at")?,
        devices: column::number(row, "devices")?,
        sessions: column::number(row, "sessions")?,
    })
}

fn session(row: &Row<'_>) -> Result<ListedSession, StoreError> {
    Ok(ListedSession {
        session: column::id(row, "session_id")?,
        user: column::id(row, "user_id")?,
        username: name(row)?,
        device: column::id(row, "device_id")?,
        device_name: column::value(row, "name")?,
        created_at: column::time(row, "created_at")?,
        refreshed_at: column::time(row, "refreshed_at")?,
    })
}

fn device(row: &Row<'_>) -> Result<ListedDevice, StoreError> {
    Ok(ListedDevice {
        device: column::id(row, "device_id")?,
        user: column::id(row, "user_id")?,
        username: name(row)?,
        name: column::value(row, "name")?,
        created_at: column::time(row, "created_at")?,
        last_seen_at: column::optional_time(row, "last_seen_at")?,
        revoked_at: column::optional_time(row, "revoked_at")?,
        refused_at: column::optional_time(row, "refused_at")?,
        failures: column::value(row, "failures")?,
        failures_at: column::optional_time(row, "failures_at")?,
    })
}

fn invitation(row: &Row<'_>) -> Result<ListedInvitation, StoreError> {
    Ok(ListedInvitation {
        invitation: column::id(row, "invitation_id")?,
        role: role(row)?,
        made_by: column::optional_id(row, "made_by")?,
        created_at: column::time(row, "created_at")?,
        expires_at: column::time(row, "expires_at")?,
        used_by: column::optional_id(row, "used_by")?,
        used_at: column::optional_time(row, "used_at")?,
    })
}

fn name(row: &Row<'_>) -> Result<Username, StoreError> {
    let name: String = column::value(row, "username")?;
    name.parse().map_err(|_| StoreError::Corrupt("username"))
}
