//! Linking channels: a few small messages between a new device and one that certifies it.

use rusqlite::{OptionalExtension as _, params};
use unhidra_types::{DeviceId, OrgId, Timestamp, UserId};

use crate::{Snapshot, StoreError, Tx, column};

/// A channel as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkChannel {
    /// The new device.
    pub device: DeviceId,
    /// Whose it wants to be.
    pub user: UserId,
    /// The user's organisation.
    pub org: OrgId,
    /// When the first message came.
    pub opened_at: Timestamp,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The device that wants to be certified.
    ToNewDevice,
    /// The device that certifies.
    ToCertifier,
}

/// Forgotten channels that go whenever one is opened: more than one, so that the table can't grow.
const PRUNED_PER_CHANNEL: i64 = 16;

impl Direction {
    const fn number(self) -> i64 {
        match self {
            Self::ToNewDevice => 1,
            Self::ToCertifier => 2,
        }
    }
}

impl Snapshot<'_> {
    /// The channel of a new device.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn link_channel(&self, device: DeviceId) -> Result<Option<LinkChannel>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT device_id, user_id, org_id, opened_at FROM link_channel WHERE device_id = ?1",
            )?
            .query_row([device.as_bytes()], |row| Ok(channel(row)))
            .optional()?
            .transpose()
    }

    /// How many channels of a user were opened since `since`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn link_channels_since(&self, user: UserId, since: Timestamp) -> Result<u32, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT count(*) AS channels FROM link_channel WHERE user_id = ?1 AND opened_at > ?2",
            )?
            .query_row(params![user.as_bytes(), column::millis(since)], |row| {
                Ok(column::number(row, "channels"))
            })?
    }

    /// The messages of a channel in one direction after the first `after`, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn link_messages(
        &self,
        device: DeviceId,
        direction: Direction,
        after: u32,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT message FROM link_message WHERE device_id = ?1 AND direction = ?2 AND number > ?3 ORDER BY number",
            )?
            .query_map(params![device.as_bytes(), direction.number(), after], |row| {
                Ok(column::value(row, "message"))
            })?
            .map(|row| row?)
            .collect()
    }
}

impl Tx<'_> {
    /// Opens a channel, and forgets channels of anyone that were opened before `forget_before`, a few each time.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, or the device has a channel.
    pub fn open_link_channel(
        &mut self,
        channel: &LinkChannel,
        forget_before: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "DELETE FROM link_channel WHERE device_id IN
                     (SELECT device_id FROM link_channel WHERE opened_at < ?1 ORDER BY opened_at LIMIT ?2)",
            )?
            .execute([column::millis(forget_before), PRUNED_PER_CHANNEL])?;
        self.connection
            .prepare_cached(
                "INSERT INTO link_channel (device_id, user_id, org_id, opened_at) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                channel.device.as_bytes(),
                channel.user.as_bytes(),
                channel.org.as_bytes(),
                column::millis(channel.opened_at)
            ])?;
        Ok(())
    }

    /// Adds a message to a channel, unless `limit` are there in that direction.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn add_link_message(
        &mut self,
        device: DeviceId,
        direction: Direction,
        message: &[u8],
        limit: u32,
    ) -> Result<bool, StoreError> {
        let added = self
            .connection
            .prepare_cached(
                "INSERT INTO link_message (device_id, direction, number, message)
                 SELECT ?1, ?2, count(*) + 1, ?3 FROM link_message WHERE device_id = ?1 AND direction = ?2
                 HAVING count(*) < ?4",
            )?
            .execute(params![device.as_bytes(), direction.number(), message, limit])?;
        Ok(added > 0)
    }
}

fn channel(row: &rusqlite::Row<'_>) -> Result<LinkChannel, StoreError> {
    Ok(LinkChannel {
        device: column::id(row, "device_id")?,
        user: column::id(row, "user_id")?,
        org: column::id(row, "org_id")?,
        opened_at: column::time(row, "opened_at")?,
    })
}
