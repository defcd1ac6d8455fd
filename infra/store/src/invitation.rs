//! Invitations: single use, stored as the hash of their token.

use rusqlite::{OptionalExtension as _, params};
use unhidra_types::{InvitationId, OrgId, Role, Timestamp, UserId};

use crate::{
    Snapshot, StoreError, Tx,
    account::{role, role_number},
    column,
};

/// An invitation as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Its identifier.
    pub id: InvitationId,
    /// The organisation invited to.
    pub org: OrgId,
    /// The role that the account gets.
    pub role: Role,
    /// Who made it; `None` for the set-up token.
    pub made_by: Option<UserId>,
    /// End of its use.
    pub expires_at: Timestamp,
}

impl Snapshot<'_> {
    /// The invitation with this token, while it can be used.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn open_invitation(
        &self,
        token_hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<Invitation>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT invitation_id, org_id, role, made_by, expires_at FROM invitation
                 WHERE token_hash = ?1 AND used_at IS NULL AND expires_at > ?2",
            )?
            .query_row(params![token_hash, column::millis(now)], |row| {
                Ok(invitation(row))
            })
            .optional()?
            .transpose()
    }
}

impl Tx<'_> {
    /// Keeps a new invitation.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn keep_invitation(
        &mut self,
        invitation: &Invitation,
        token_hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO invitation (invitation_id, org_id, token_hash, role, made_by, created_at, expires_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                invitation.id.as_bytes(),
                invitation.org.as_bytes(),
                token_hash,
                role_number(invitation.role),
                invitation.made_by.map(|user| *user.as_bytes()),
                column::millis(now),
                column::millis(invitation.expires_at)
            ])?;
        Ok(())
    }

    /// Spends an invitation that [`Snapshot::open_invitation`] found in the same transaction.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn spend_invitation(
        &mut self,
        id: InvitationId,
        by: UserId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE invitation SET used_by = ?2, used_at = ?3 WHERE invitation_id = ?1")?
            .execute(params![id.as_bytes(), by.as_bytes(), column::millis(now)])?;
        Ok(())
    }

    /// Withdraws the set-up tokens that nobody used.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn withdraw_setup_tokens(&mut self) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("DELETE FROM invitation WHERE made_by IS NULL AND used_at IS NULL")?
            .execute([])?;
        Ok(())
    }
}

fn invitation(row: &rusqlite::Row<'_>) -> Result<Invitation, StoreError> {
    Ok(Invitation {
        id: column::id(row, "invitation_id")?,
        org: column::id(row, "org_id")?,
        role: role(row)?,
        made_by: column::optional_id(row, "made_by")?,
        expires_at: column::time(row, "expires_at")?,
    })
}
