//! Organisations and accounts.

use rusqlite::{OptionalExtension as _, Row, params};
use unhidra_types::{OrgId, Role, SessionId, Timestamp, UserId, Username};

use crate::{Event, Snapshot, StoreError, Tx, column};

/// An account as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: UserId,
    /// Their organisation.
    pub org: OrgId,
    /// Their name.
    pub username: Username,
    /// Their role.
    pub role: Role,
    /// The password's PHC string.
    pub password: String,
    /// When the account was disabled.
    pub disabled_at: Option<Timestamp>,
}

/// What became of the wish for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The account exists under it.
    Given,
    /// Another account of the organisation has it.
    Taken,
}

const COLUMNS: &str = "user_id, org_id, username, role, password, disabled_at";

impl Snapshot<'_> {
    /// The organisation of this server; the oldest when there are several.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn home_organisation(&self) -> Result<Option<OrgId>, StoreError> {
        self.connection
            .prepare_cached("SELECT org_id FROM organisation ORDER BY created_at, org_id LIMIT 1")?
            .query_row([], |row| Ok(column::id(row, "org_id")))
            .optional()?
            .transpose()
    }

    /// Whether anyone has an account.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn has_accounts(&self) -> Result<bool, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM account)")?
            .query_row([], |row| row.get(0))?)
    }

    /// The account of a user.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn account(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        self.connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM account WHERE user_id = ?1"))?
            .query_row([user.as_bytes()], |row| Ok(account(row)))
            .optional()?
            .transpose()
    }

    /// The account with this name in an organisation.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn account_by_name(&self, org: OrgId, username: &Username) -> Result<Option<Account>, StoreError> {
        self.connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM account WHERE org_id = ?1 AND username = ?2"
            ))?
            .query_row(params![org.as_bytes(), username.as_str()], |row| Ok(account(row)))
            .optional()?
            .transpose()
    }

    /// The organisation of a user.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn org_of(&self, user: UserId) -> Result<Option<OrgId>, StoreError> {
        self.connection
            .prepare_cached("SELECT org_id FROM account WHERE user_id = ?1")?
            .query_row([user.as_bytes()], |row| Ok(column::id(row, "org_id")))
            .optional()?
            .transpose()
    }
}

impl Tx<'_> {
    /// Founds an organisation.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn found_organisation(&mut self, org: OrgId, now: Timestamp) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT INTO organisation (org_id, created_at) VALUES (?1, ?2)")?
            .execute(params![org.as_bytes(), column::millis(now)])?;
        Ok(())
    }

    /// Opens an account, unless the name is taken.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn open_account(&mut self, account: &Account, now: Timestamp) -> Result<Naming, StoreError> {
        let inserted = self
            .connection
            .prepare_cached(
                "INSERT INTO account (user_id, org_id, username, role, password, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (org_id, username) DO NOTHING",
            )?
            .execute(params![
                account.user.as_bytes(),
                account.org.as_bytes(),
                account.username.as_str(),
                role_number(account.role),
                account.password,
                column::millis(now)
            ])?;
        Ok(if inserted == 0 {
            Naming::Taken
        } else {
            Naming::Given
        })
    }

    /// Replaces a password's PHC string if it still is `before`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn replace_password(&mut self, user: UserId, before: &str, after: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE account SET password = ?3 WHERE user_id = ?1 AND password = ?2")?
            .execute(params![user.as_bytes(), before, after])?;
        Ok(())
    }

    /// Disables an account: its password proves nothing from now on, and its sessions end. Names those that were live;
    /// their connections are told.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn disable_account(&mut self, user: UserId, now: Timestamp) -> Result<Vec<SessionId>, StoreError> {
        self.connection
            .prepare_cached("UPDATE account SET disabled_at = ?2 WHERE user_id = ?1 AND disabled_at IS NULL")?
            .execute(params![user.as_bytes(), column::millis(now)])?;
        let ended: Vec<SessionId> = self
            .connection
            .prepare_cached(
                "UPDATE session SET ended_at = ?2 WHERE ended_at IS NULL
                 AND device_id IN (SELECT device_id FROM device WHERE user_id = ?1) RETURNING session_id",
            )?
            .query_map(params![user.as_bytes(), column::millis(now)], |row| {
                Ok(column::id(row, "session_id"))
            })?
            .map(|row| row?)
            .collect::<Result<_, StoreError>>()?;
        for session in &ended {
            self.emit(Event::SessionEnded(*session));
        }
        Ok(ended)
    }
}

pub(crate) const fn role_number(role: Role) -> i64 {
    match role {
        Role::SuperAdmin => 1,
        Role::Member => 2,
    }
}

pub(crate) fn role(row: &Row<'_>) -> Result<Role, StoreError> {
    match column::value(row, "role")? {
        1 => Ok(Role::SuperAdmin),
        2 => Ok(Role::Member),
        _ => Err(StoreError::Corrupt("role")),
    }
}

fn account(row: &Row<'_>) -> Result<Account, StoreError> {
    let username: String = column::value(row, "username")?;
    Ok(Account {
        user: column::id(row, "user_id")?,
        org: column::id(row, "org_id")?,
        username: username.parse().map_err(|_| StoreError::Corrupt("username"))?,
        role: role(row)?,
        password: column::value(row, "password")?,
        disabled_at: column::optional_time(row, "disabled_at")?,
    })
}
