//! How far each device has read each log.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use unhidra_types::{ConversationId, DeviceId, UserId};

use crate::{
    Snapshot, StoreError, Tx, column,
    conversation::{Kind, LogNumber},
};

/// A log in which a device is behind or level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The log's number here.
    pub log: LogNumber,
    /// The log.
    pub conversation: ConversationId,
    /// Its kind.
    pub kind: Kind,
    /// What the device has acknowledged.
    pub acknowledged: u64,
    /// The last entry's number.
    pub head: u64,
}

impl Snapshot<'_> {
    /// Every log of a user with the place that `device` has reached, at most `limit`: those of direct conversations
    /// first, which nobody but their two users can make many of.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn positions(&self, user: UserId, device: DeviceId, limit: u32) -> Result<Vec<Position>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT c.log, c.conversation_id, c.kind, c.head, coalesce(p.seq, 0) AS acknowledged
                 FROM member m JOIN conversation c ON c.log = m.log
                 LEFT JOIN cursor p ON p.log = c.log AND p.device_id = ?2
                 WHERE m.user_id = ?1 ORDER BY c.kind, c.log LIMIT ?3",
            )?
            .query_map(params![user.as_bytes(), device.as_bytes(), limit], |row| {
                Ok(position(row))
            })?
            .map(|row| row?)
            .collect()
    }

    /// One log of a user with the place that `device` has reached.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn position(
        &self,
        user: UserId,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<Position>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT c.log, c.conversation_id, c.kind, c.head, coalesce(p.seq, 0) AS acknowledged
                 FROM conversation c JOIN member m ON m.log = c.log AND m.user_id = ?1
                 LEFT JOIN cursor p ON p.log = c.log AND p.device_id = ?2
                 WHERE c.conversation_id = ?3",
            )?
            .query_row(
                [user.as_bytes(), device.as_bytes(), conversation.as_bytes()],
                |row| Ok(position(row)),
            )
            .optional()?
            .transpose()
    }

    /// What a device has acknowledged of a log.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn acknowledged(&self, device: DeviceId, log: LogNumber) -> Result<u64, StoreError> {
        let seq = self
            .connection
            .prepare_cached("SELECT seq FROM cursor WHERE device_id = ?1 AND log = ?2")?
            .query_row(params![device.as_bytes(), log.0], |row| {
                Ok(column::number(row, "seq"))
            })
            .optional()?
            .transpose()?;
        Ok(seq.unwrap_or(0))
    }
}

impl Tx<'_> {
    /// Moves a device's cursor to `seq` if that is forward. In a direct conversation the device's capsules up to there
    /// are deleted, and bodies that no device still waits for; in a control log the entries themselves.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn acknowledge(
        &mut self,
        device: DeviceId,
        log: LogNumber,
        kind: Kind,
        seq: u64,
    ) -> Result<(), StoreError> {
        acknowledge(self.connection, device, log, kind, seq)
    }
}

/// See [`Tx::acknowledge`].
pub(crate) fn acknowledge(
    connection: &Connection,
    device: DeviceId,
    log: LogNumber,
    kind: Kind,
    seq: u64,
) -> Result<(), StoreError> {
    // Only of the other kinds anything goes with what was read.
    let before = match kind {
        Kind::Group => None,
        Kind::Direct | Kind::Control => Some(column::integer(
            Snapshot::new(connection).acknowledged(device, log)?,
        )),
    };
    let seq = column::integer(seq);
    let moved = connection
        .prepare_cached(
            "INSERT INTO cursor (device_id, log, seq) VALUES (?1, ?2, ?3)
             ON CONFLICT (device_id, log) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > cursor.seq",
        )?
        .execute(params![device.as_bytes(), log.0, seq])?;
    let Some(before) = before.filter(|_| moved > 0) else {
        return Ok(());
    };
    connection
        .prepare_cached("DELETE FROM capsule WHERE log = ?1 AND seq > ?2 AND seq <= ?3 AND device_id = ?4")?
        .execute(params![log.0, before, seq, device.as_bytes()])?;
    if kind == Kind::Control {
        connection
            .prepare_cached("DELETE FROM entry WHERE log = ?1 AND seq <= ?2")?
            .execute(params![log.0, seq])?;
    }
    if kind == Kind::Direct {
        connection
            .prepare_cached(
                "UPDATE entry SET body = NULL WHERE log = ?1 AND seq > ?2 AND seq <= ?3 AND body IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM capsule c WHERE c.log = entry.log AND c.seq = entry.seq)",
            )?
            .execute(params![log.0, before, seq])?;
    }
    Ok(())
}

pub(crate) fn position(row: &Row<'_>) -> Result<Position, StoreError> {
    Ok(Position {
        log: LogNumber(column::value(row, "log")?),
        conversation: column::id(row, "conversation_id")?,
        kind: Kind::from_number(column::value(row, "kind")?).ok_or(StoreError::Corrupt("kind"))?,
        acknowledged: column::number(row, "acknowledged")?,
        head: column::number(row, "head")?,
    })
}
