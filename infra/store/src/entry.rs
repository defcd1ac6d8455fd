//! Entries of a log: a sealed body, and a sealed capsule for each receiving device where the kind has them.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, Rows, params};
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId};

use crate::{Snapshot, StoreError, Tx, accepted, column, conversation::LogNumber};

/// An entry on its way into a log.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The log.
    pub conversation: ConversationId,
    /// Chosen by the sender.
    pub msg_id: MsgId,
    /// The authenticated sender.
    pub sender: UserId,
    /// The authenticated sending device.
    pub sender_device: DeviceId,
    /// The only receiving device, if the envelope is for one alone.
    pub dest: Option<DeviceId>,
    /// 0 for a message, more for repairs.
    pub attempt: u8,
    /// When the server took it.
    pub server_time: Timestamp,
    /// Who can open it.
    pub recipients: Recipients,
    /// The one body.
    pub body: Bytes,
}

/// Who can open an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// Every device of every member but the sending one.
    Members,
    /// The devices that have a capsule.
    Capsules(Vec<Capsule>),
}

/// What one device gets of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capsule {
    /// The receiving device.
    pub device: DeviceId,
    /// The number that says how `sealed` begins.
    pub kind: u8,
    /// Sealed for the device.
    pub sealed: Bytes,
}

/// An entry with its place in the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number in the log, from 1, without gaps.
    pub seq: u64,
    /// What was appended.
    pub entry: NewEntry,
}

/// What makes an envelope of a log that envelope and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryKey {
    /// The authenticated sending device.
    pub sender_device: DeviceId,
    /// Chosen by the sender.
    pub msg_id: MsgId,
    /// The only receiving device, if the envelope is for one alone.
    pub dest: Option<DeviceId>,
    /// 0 for a message, more for repairs.
    pub attempt: u8,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number in the log.
    pub seq: u64,
    /// When the server took it.
    pub server_time: Timestamp,
}

/// Where a page of entries ends, whichever comes first; it holds at least one entry if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Entries.
    pub entries: u32,
    /// Bytes of bodies and capsules after which no further entry is added.
    pub bytes: usize,
}

impl PageLimit {
    /// No end but that of the log.
    pub const NONE: Self = Self {
        entries: u32::MAX,
        bytes: usize::MAX,
    };
}

/// Entries of a log in order. Numbers that it covers and that have no entry are void: a restore left them out.
#[derive(Clone, Debug)]
pub struct EntryPage {
    /// The entries.
    pub entries: Vec<StoredEntry>,
    /// The last number that is covered.
    pub through: u64,
}

/// An entry as one reader sees it.
#[derive(Clone, Debug)]
pub struct StoredEntry {
    /// Its number in the log.
    pub seq: u64,
    /// The message.
    pub msg_id: MsgId,
    /// The authenticated sender.
    pub sender: UserId,
    /// The authenticated sending device.
    pub sender_device: DeviceId,
    /// When the server took it.
    pub server_time: Timestamp,
    /// 0 for a message, more for repairs.
    pub attempt: u8,
    /// The reading device's capsule.
    pub capsule: Option<Capsule>,
    /// The body, unless it was deleted or this reader can't open it.
    pub body: Option<Bytes>,
}

/// How far a sweep for old bodies has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The number of the last entry that was looked at.
    pub through: i64,
    /// Everything through this number is old and has been swept: it need not be looked at again.
    pub settled: i64,
}

impl NewEntry {
    /// What a retry is found by.
    #[must_use]
    pub const fn key(&self) -> EntryKey {
        EntryKey {
            sender_device: self.sender_device,
            msg_id: self.msg_id,
            dest: self.dest,
            attempt: self.attempt,
        }
    }

    /// Bytes of its body and capsules.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let capsules = match &self.recipients {
            Recipients::Members => 0,
            Recipients::Capsules(capsules) => capsules.iter().map(|capsule| capsule.sealed.len()).sum(),
        };
        self.body.len() + capsules
    }
}

impl Snapshot<'_> {
    /// The last message that the server accepted from a device in a log whose entries have capsules.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn last_accepted(&self, device: DeviceId) -> Result<Option<MsgId>, StoreError> {
        self.connection
            .prepare_cached("SELECT msg_id FROM last_accepted WHERE device_id = ?1")?
            .query_row([device.as_bytes()], |row| Ok(column::id(row, "msg_id")))
            .optional()?
            .transpose()
    }

    /// Entries `from..=to` of a log as `device` sees them, a page of them: bodies come only with a capsule of that device.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn entries_for_device(
        &self,
        log: LogNumber,
        device: DeviceId,
        from: u64,
        to: u64,
        limit: PageLimit,
    ) -> Result<EntryPage, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT e.seq, e.msg_id, e.sender, e.sender_device, e.server_time, e.attempt,
                        iif(c.kind IS NULL, NULL, e.body) AS body, c.kind, c.sealed
                 FROM entry e LEFT JOIN capsule c ON c.log = e.log AND c.seq = e.seq AND c.device_id = ?2
                 WHERE e.log = ?1 AND e.seq BETWEEN ?3 AND ?4 ORDER BY e.seq LIMIT ?5",
        )?;
        let rows = query.query(params![
            log.0,
            device.as_bytes(),
            column::integer(from),
            column::integer(to),
            limit.entries
        ])?;
        page(rows, Some(device), to, limit)
    }

    /// How many devices have not collected their capsule of an entry.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn capsules(&self, log: LogNumber, seq: u64) -> Result<usize, StoreError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT count(*) AS n FROM capsule WHERE log = ?1 AND seq = ?2")?;
        query.query_row(params![log.0, column::integer(seq)], |row| {
            Ok(column::number(row, "n"))
        })?
    }

    /// Entries `from..=to` of a log with their bodies and no capsules, a page of them.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn entries(
        &self,
        log: LogNumber,
        from: u64,
        to: u64,
        limit: PageLimit,
    ) -> Result<EntryPage, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT seq, msg_id, sender, sender_device, server_time, attempt, body
                 FROM entry WHERE log = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq LIMIT ?4",
        )?;
        let rows = query.query(params![
            log.0,
            column::integer(from),
            column::integer(to),
            limit.entries
        ])?;
        page(rows, None, to, limit)
    }

    /// The number of the first entry after `seq`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn next_entry(&self, log: LogNumber, seq: u64) -> Result<Option<u64>, StoreError> {
        self.connection
            .prepare_cached("SELECT seq FROM entry WHERE log = ?1 AND seq > ?2 ORDER BY seq LIMIT 1")?
            .query_row(params![log.0, column::integer(seq)], |row| {
                Ok(column::number(row, "seq"))
            })
            .optional()?
            .transpose()
    }
}

impl Tx<'_> {
    /// The place of an envelope that a log of a conversation holds already.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn place_of(&self, log: LogNumber, key: &EntryKey) -> Result<Option<Place>, StoreError> {
        self.hot.accepted.place_of(self.connection, log, key)
    }

    /// Appends an entry at the head of its log. The caller has looked for an earlier one by [`Tx::place_of`] or
    /// [`Snapshot::control_place_of`].
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn append_entry(&mut self, log: LogNumber, entry: &NewEntry) -> Result<u64, StoreError> {
        let head = read_head(self.connection, log)?;
        let seq = head.checked_add(1).ok_or(StoreError::Corrupt("head"))?;
        let number = insert(self.connection, log, seq, entry)?;
        keep_head(self.connection, log, seq)?;
        if let Recipients::Capsules(capsules) = &entry.recipients {
            keep_capsules(self.connection, log, seq, capsules)?;
            keep_last_accepted(self.connection, entry.sender_device, entry.msg_id)?;
        }
        if entry.conversation != ConversationId::CONTROL {
            self.hot.accepted.add(accepted::of_key(log, &entry.key()), number);
        }
        u64::try_from(seq).map_err(|_| StoreError::Corrupt("head"))
    }

    /// Deletes bodies and capsules of entries taken before `cutoff`, at most `limit` entries after number `after`.
    /// Answers with how far it has come, or `None` when none of these is older.
    ///
    /// Numbers follow the order of the log, not the time: a clock that was wrong for a while leaves newer dates before
    /// older ones. Each entry goes by its own date.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn expire_bodies(
        &mut self,
        after: i64,
        cutoff: Timestamp,
        limit: u32,
    ) -> Result<Option<Swept>, StoreError> {
        let cutoff = column::millis(cutoff);
        let mut swept = Swept {
            through: after,
            settled: after,
        };
        let (mut found, mut all_old) = (false, true);
        let mut window = self.connection.prepare_cached(
            "SELECT number, server_time FROM entry WHERE number > ?1 ORDER BY number LIMIT ?2",
        )?;
        let mut rows = window.query(params![after, limit])?;
        while let Some(row) = rows.next()? {
            let (number, taken_at): (i64, i64) = (row.get(0)?, row.get(1)?);
            let is_old = taken_at < cutoff;
            found |= is_old;
            all_old &= is_old;
            swept.through = number;
            if all_old {
                swept.settled = number;
            }
        }
        if !found {
            return Ok(None);
        }
        self.connection
            .prepare_cached(
                "DELETE FROM capsule WHERE (log, seq) IN
                   (SELECT e.log, e.seq FROM entry e JOIN conversation c ON c.log = e.log
                    WHERE e.number > ?1 AND e.number <= ?2 AND e.server_time < ?3 AND c.kind = 1)",
            )?
            .execute([after, swept.through, cutoff])?;
        self.connection
            .prepare_cached(
                "UPDATE entry SET body = NULL
                 WHERE number > ?1 AND number <= ?2 AND server_time < ?3 AND body IS NOT NULL
                 AND log IN (SELECT log FROM conversation WHERE kind = 1)",
            )?
            .execute([after, swept.through, cutoff])?;
        Ok(Some(swept))
    }
}

pub(crate) fn read_head(connection: &Connection, log: LogNumber) -> Result<i64, StoreError> {
    Ok(connection
        .prepare_cached("SELECT head FROM conversation WHERE log = ?1")?
        .query_row([log.0], |row| row.get(0))?)
}

pub(crate) fn keep_head(connection: &Connection, log: LogNumber, head: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE conversation SET head = ?2 WHERE log = ?1")?
        .execute([log.0, head])?;
    Ok(())
}

/// Answers with the number of the entry.
pub(crate) fn insert(
    connection: &Connection,
    log: LogNumber,
    seq: i64,
    entry: &NewEntry,
) -> Result<i64, StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO entry (log, seq, msg_id, sender, sender_device, dest, attempt, server_time, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    Ok(insert.insert(params![
        log.0,
        seq,
        entry.msg_id.as_bytes(),
        entry.sender.as_bytes(),
        entry.sender_device.as_bytes(),
        dest_column(entry.dest),
        entry.attempt,
        column::millis(entry.server_time),
        entry.body.as_ref(),
    ])?)
}

pub(crate) fn keep_capsules(
    connection: &Connection,
    log: LogNumber,
    seq: i64,
    capsules: &[Capsule],
) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO capsule (log, seq, device_id, kind, sealed) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for capsule in capsules {
        insert.execute(params![
            log.0,
            seq,
            capsule.device.as_bytes(),
            capsule.kind,
            capsule.sealed.as_ref()
        ])?;
    }
    Ok(())
}

/// Of entries with capsules only: these spend a key of the sender, which is what it asks about. A group's entries may come
/// from programs that keep no such state.
pub(crate) fn keep_last_accepted(
    connection: &Connection,
    device: DeviceId,
    msg_id: MsgId,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO last_accepted (device_id, msg_id) VALUES (?1, ?2)
             ON CONFLICT (device_id) DO UPDATE SET msg_id = excluded.msg_id",
        )?
        .execute([device.as_bytes(), msg_id.as_bytes()])?;
    Ok(())
}

fn page(
    mut rows: Rows<'_>,
    device: Option<DeviceId>,
    to: u64,
    limit: PageLimit,
) -> Result<EntryPage, StoreError> {
    let mut entries: Vec<StoredEntry> = Vec::new();
    let mut bytes = 0;
    while bytes < limit.bytes {
        let Some(row) = rows.next()? else {
            // The query ended by itself: at its limit, or because there is nothing more.
            let full = u32::try_from(entries.len()).is_ok_and(|count| count >= limit.entries);
            let through = entries.last().filter(|_| full).map_or(to, |last| last.seq);
            return Ok(EntryPage { entries, through });
        };
        let entry = stored_entry(row, device)?;
        bytes +=
            entry.body.as_ref().map_or(0, Bytes::len) + entry.capsule.as_ref().map_or(0, |c| c.sealed.len());
        entries.push(entry);
    }
    let through = entries.last().map_or(to, |last| last.seq);
    Ok(EntryPage { entries, through })
}

pub(crate) fn dest_column(dest: Option<DeviceId>) -> [u8; 16] {
    dest.map_or([0; 16], |device| *device.as_bytes())
}

pub(crate) fn place(row: &Row<'_>) -> Result<Place, StoreError> {
    Ok(Place {
        seq: column::number(row, "seq")?,
        server_time: column::time(row, "server_time")?,
    })
}

/// The columns stand in the order of the fields, those of the capsule last.
fn stored_entry(row: &Row<'_>, device: Option<DeviceId>) -> Result<StoredEntry, StoreError> {
    let capsule = match device {
        None => None,
        Some(device) => row
            .get::<_, Option<u8>>(7)?
            .map(|kind| {
                let sealed: Vec<u8> = row.get(8)?;
                Ok::<_, StoreError>(Capsule {
                    device,
                    kind,
                    sealed: sealed.into(),
                })
            })
            .transpose()?,
    };
    Ok(StoredEntry {
        seq: column::number_at(row, 0, "seq")?,
        msg_id: column::id_at(row, 1, "msg_id")?,
        sender: column::id_at(row, 2, "sender")?,
        sender_device: column::id_at(row, 3, "sender_device")?,
        server_time: column::number_at(row, 4, "server_time").map(Timestamp::from_millis)?,
        attempt: column::number_at(row, 5, "attempt")?,
        capsule,
        body: row.get::<_, Option<Vec<u8>>>(6)?.map(Bytes::from),
    })
}
