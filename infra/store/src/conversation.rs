//! Conversations and who is in them.

use rusqlite::{OptionalExtension as _, params};
use unhidra_types::{ConversationId, DeviceId, OrgId, Timestamp, UserId};

use crate::{Snapshot, StoreError, Tx, column};

/// Number of a conversation inside the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogNumber(pub(crate) i64);

/// Kinds of log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Two users; one body and a capsule for each device.
    Direct,
    /// Members; one body and no capsules.
    Group,
    /// What other devices say to one device itself; capsules and no body. See [`crate::control`].
    Control,
}

/// A conversation as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its number here.
    pub log: LogNumber,
    /// Its identifier.
    pub id: ConversationId,
    /// Its organisation.
    pub org: OrgId,
    /// Its kind.
    pub kind: Kind,
    /// The last entry's number; 0 when empty.
    pub head: u64,
}

impl Kind {
    pub(crate) const fn number(self) -> i64 {
        match self {
            Self::Direct => 1,
            Self::Group => 2,
            Self::Control => 3,
        }
    }

    pub(crate) const fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Direct),
            2 => Some(Self::Group),
            3 => Some(Self::Control),
            _ => None,
        }
    }
}

pub(crate) const COLUMNS: &str = "c.log, c.conversation_id, c.org_id, c.kind, c.head";

impl Snapshot<'_> {
    /// The conversation with this identifier. A device's control log is none.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM conversation c WHERE c.conversation_id = ?1 AND c.kind <> 3"
            ))?
            .query_row([id.as_bytes()], |row| Ok(conversation(row)))
            .optional()?
            .transpose()
    }

    /// The conversation with this identifier, if `user` is a member.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn conversation_of(
        &self,
        id: ConversationId,
        user: UserId,
    ) -> Result<Option<Conversation>, StoreError> {
        self.connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM conversation c JOIN member m ON m.log = c.log AND m.user_id = ?2
                 WHERE c.conversation_id = ?1"
            ))?
            .query_row([id.as_bytes(), user.as_bytes()], |row| Ok(conversation(row)))
            .optional()?
            .transpose()
    }

    /// Whether `user` is in a conversation.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn is_member(&self, log: LogNumber, user: UserId) -> Result<bool, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT 1 FROM member WHERE user_id = ?1 AND log = ?2")?
            .exists(params![user.as_bytes(), log.0])?)
    }

    /// At most `limit` conversations of a user after `after`, in order of their identifiers.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn conversations_of(
        &self,
        user: UserId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<Conversation>, StoreError> {
        self.connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM member m JOIN conversation c ON c.log = m.log
                 WHERE m.user_id = ?1 AND c.conversation_id > ?2 ORDER BY c.conversation_id LIMIT ?3"
            ))?
            .query_map(params![user.as_bytes(), after.as_bytes(), limit], |row| {
                Ok(conversation(row))
            })?
            .map(|row| row?)
            .collect()
    }

    /// Everyone in a conversation, in order of their identifiers.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn members(&self, log: LogNumber) -> Result<Vec<UserId>, StoreError> {
        self.connection
            .prepare_cached("SELECT user_id FROM member WHERE log = ?1 ORDER BY user_id")?
            .query_map([log.0], |row| Ok(column::id(row, "user_id")))?
            .map(|row| row?)
            .collect()
    }
}

impl Tx<'_> {
    /// Opens a conversation with these members.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, or the identifier is taken.
    pub fn open_conversation(
        &mut self,
        id: ConversationId,
        org: OrgId,
        kind: Kind,
        members: &[UserId],
        now: Timestamp,
    ) -> Result<Conversation, StoreError> {
        let log: i64 = self
            .connection
            .prepare_cached(
                "INSERT INTO conversation (conversation_id, org_id, kind, created_at) VALUES (?1, ?2, ?3, ?4) RETURNING log",
            )?
            .query_row(params![id.as_bytes(), org.as_bytes(), kind.number(), column::millis(now)], |row| row.get(0))?;
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO member (user_id, log) VALUES (?1, ?2)")?;
        for member in members {
            insert.execute(params![member.as_bytes(), log])?;
        }
        Ok(Conversation {
            log: LogNumber(log),
            id,
            org,
            kind,
            head: 0,
        })
    }

    /// Lets a new device begin at the head of every log of its user: what was said before was not sealed for it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn begin_cursors_at_head(&mut self, device: DeviceId, user: UserId) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO cursor (device_id, log, seq)
                 SELECT ?1, c.log, c.head FROM member m JOIN conversation c ON c.log = m.log WHERE m.user_id = ?2
                 ON CONFLICT DO NOTHING",
            )?
            .execute([device.as_bytes(), user.as_bytes()])?;
        Ok(())
    }
}

pub(crate) fn conversation(row: &rusqlite::Row<'_>) -> Result<Conversation, StoreError> {
    Ok(Conversation {
        log: LogNumber(column::value(row, "log")?),
        id: column::id(row, "conversation_id")?,
        org: column::id(row, "org_id")?,
        kind: Kind::from_number(column::value(row, "kind")?).ok_or(StoreError::Corrupt("kind"))?,
        head: column::number(row, "head")?,
    })
}
