//! Control logs: what other devices say to one device itself, a log for each device that was ever spoken to.
//!
//! They lie with the conversations, under the device's identifier and with nobody as a member, so that numbers, cursors
//! and retention are those of every log. Their entries go when the device has acknowledged them.

use rusqlite::{OptionalExtension as _, params};
use unhidra_types::{ConversationId, DeviceId, OrgId, Timestamp};

use crate::{
    Snapshot, StoreError, Tx, column,
    conversation::{COLUMNS, Conversation, Kind, LogNumber, conversation},
    cursor::{Position, position},
    entry::{EntryKey, Place, dest_column, place},
};

/// How many entries a control log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Of every sender.
    pub entries: u64,
    /// Of one sending device.
    pub of_sender: u64,
}

impl Snapshot<'_> {
    /// The control log of a device, once there is one.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn control_log(&self, device: DeviceId) -> Result<Option<Conversation>, StoreError> {
        self.connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM conversation c WHERE c.conversation_id = ?1 AND c.kind = 3"
            ))?
            .query_row([device.as_bytes()], |row| Ok(conversation(row)))
            .optional()?
            .transpose()
    }

    /// The place that a device has reached in its control log.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn control_position(&self, device: DeviceId) -> Result<Option<Position>, StoreError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT c.log, c.conversation_id, c.kind, c.head, coalesce(p.seq, 0) AS acknowledged
                 FROM conversation c LEFT JOIN cursor p ON p.log = c.log AND p.device_id = ?1
                 WHERE c.conversation_id = ?1 AND c.kind = 3",
            )?
            .query_row([device.as_bytes()], |row| Ok(position(row)))
            .optional()?
            .transpose()?;
        Ok(found.map(|found| Position {
            conversation: ConversationId::CONTROL,
            ..found
        }))
    }

    /// The place of an envelope that a control log still holds: it is short enough to be looked through.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn control_place_of(&self, log: LogNumber, key: &EntryKey) -> Result<Option<Place>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT seq, server_time FROM entry
                 WHERE log = ?1 AND sender_device = ?2 AND msg_id = ?3 AND dest = ?4 AND attempt = ?5",
            )?
            .query_row(
                params![
                    log.0,
                    key.sender_device.as_bytes(),
                    key.msg_id.as_bytes(),
                    dest_column(key.dest),
                    key.attempt
                ],
                |row| Ok(place(row)),
            )
            .optional()?
            .transpose()
    }

    /// How full a control log is.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn control_entries(&self, log: LogNumber, sender: DeviceId) -> Result<Held, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT count(*) AS entries, coalesce(sum(sender_device = ?2), 0) AS of_sender FROM entry WHERE log = ?1",
            )?
            .query_row(params![log.0, sender.as_bytes()], |row| {
                Ok(held(row))
            })?
    }
}

impl Tx<'_> {
    /// Opens the control log of a device.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, or there is one.
    pub fn open_control_log(
        &mut self,
        device: DeviceId,
        org: OrgId,
        now: Timestamp,
    ) -> Result<Conversation, StoreError> {
        let id = ConversationId::from_bytes(*device.as_bytes());
        self.open_conversation(id, org, Kind::Control, &[], now)
    }

    /// Deletes what was said to a device that is no more.
    pub(crate) fn forget_control(&mut self, device: DeviceId) -> Result<(), StoreError> {
        let Some(log) = self.control_log(device)?.map(|found| found.log) else {
            return Ok(());
        };
        for table in ["capsule", "entry"] {
            self.connection
                .prepare_cached(&format!("DELETE FROM {table} WHERE log = ?1"))?
                .execute([log.0])?;
        }
        Ok(())
    }

    /// Deletes entries of control logs that were taken before `cutoff`, at most `limit`; says whether more may be left.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn expire_control(&mut self, cutoff: Timestamp, limit: u32) -> Result<bool, StoreError> {
        let old = "SELECT e.number FROM conversation c JOIN entry e ON e.log = c.log
                   WHERE c.kind = 3 AND e.server_time < ?1 ORDER BY e.number LIMIT ?2";
        self.connection
            .prepare_cached(&format!(
                "DELETE FROM capsule WHERE (log, seq) IN (SELECT log, seq FROM entry WHERE number IN ({old}))"
            ))?
            .execute(params![column::millis(cutoff), limit])?;
        let deleted = self
            .connection
            .prepare_cached(&format!("DELETE FROM entry WHERE number IN ({old})"))?
            .execute(params![column::millis(cutoff), limit])?;
        Ok(u32::try_from(deleted).is_ok_and(|deleted| deleted >= limit))
    }
}

fn held(row: &rusqlite::Row<'_>) -> Result<Held, StoreError> {
    Ok(Held {
        entries: column::number(row, "entries")?,
        of_sender: column::number(row, "of_sender")?,
    })
}
