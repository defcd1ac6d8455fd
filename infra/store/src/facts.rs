//! What every append asks, kept in memory by the writer: who is in a conversation, and which devices speak for whom.
//!
//! It is forgotten, all of it, as soon as anything it was read from changes: triggers on those tables, which only the
//! writing connection has, set a mark whatever statement it was. So it is never older than the transaction that asks.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::{Connection, functions::FunctionFlags};
use unhidra_types::{ConversationId, DeviceId, OrgId, UserId};

use crate::{
    Snapshot, StoreError,
    conversation::{Kind, LogNumber},
};

/// Members and devices in memory, 16 bytes each, with those that are in something counted once more for it. Beyond it
/// everything is forgotten.
const CAPACITY: usize = 131_072;

/// A conversation and who is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFacts {
    /// Its number here.
    pub log: LogNumber,
    /// Its identifier.
    pub id: ConversationId,
    /// Its organisation.
    pub org: OrgId,
    /// Its kind.
    pub kind: Kind,
    /// Everyone in it, in order.
    pub members: Vec<UserId>,
}

/// A user as others seal for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFacts {
    /// Number and SHA-256 of the last record of the chain, if there is one.
    pub chain_head: Option<(u32, [u8; 32])>,
    /// The account was deleted.
    pub is_deleted: bool,
    /// The devices that are not revoked, in order.
    pub devices: Vec<DeviceId>,
}

#[derive(Debug, Default)]
pub(crate) struct Facts {
    logs: HashMap<ConversationId, Arc<LogFacts>>,
    users: HashMap<UserId, Arc<UserFacts>>,
    held: usize,
    /// Something that was read has changed since.
    is_stale: Arc<AtomicBool>,
}

/// Every table that is read below, and the columns that are.
const WATCHED: [(&str, &str); 5] = [
    ("conversation", "conversation_id, org_id, kind"),
    ("member", "user_id, log"),
    ("chain", "user_id, length, head_hash"),
    ("account", "user_id, deleted_at"),
    ("device", "device_id, user_id, revoked_at"),
];

impl Facts {
    /// Watches the tables on the connection that writes them.
    pub(crate) fn watch(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let facts = Self::default();
        let is_stale = Arc::clone(&facts.is_stale);
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        connection.create_scalar_function("facts_changed", 0, flags, move |_| {
            is_stale.store(true, Ordering::Relaxed);
            Ok(0)
        })?;
        for (table, columns) in WATCHED {
            for (name, event) in [
                ("insert", "INSERT".to_owned()),
                ("delete", "DELETE".to_owned()),
                ("update", format!("UPDATE OF {columns}")),
            ] {
                connection.execute_batch(&format!(
                    "CREATE TEMP TRIGGER {table}_{name} AFTER {event} ON main.{table}
                     BEGIN SELECT facts_changed(); END"
                ))?;
            }
        }
        Ok(facts)
    }

    /// After anything that may have written to the watched tables.
    pub(crate) fn refresh(&mut self) {
        if self.is_stale.swap(false, Ordering::Relaxed) {
            self.forget();
        }
    }

    /// What was read may never have been stored.
    pub(crate) fn forget(&mut self) {
        self.logs.clear();
        self.users.clear();
        self.held = 0;
    }

    /// A conversation; never a device's control log.
    pub(crate) fn log(
        &mut self,
        connection: &Connection,
        id: ConversationId,
    ) -> Result<Option<Arc<LogFacts>>, StoreError> {
        if let Some(known) = self.logs.get(&id) {
            return Ok(Some(Arc::clone(known)));
        }
        let db = Snapshot::new(connection);
        let Some(found) = db.conversation(id)? else {
            return Ok(None);
        };
        let facts = Arc::new(LogFacts {
            log: found.log,
            id: found.id,
            org: found.org,
            kind: found.kind,
            members: db.members(found.log)?,
        });
        self.make_room(facts.members.len());
        self.logs.insert(id, Arc::clone(&facts));
        Ok(Some(facts))
    }

    /// A user; one that does not exist has no chain and no devices.
    pub(crate) fn user(&mut self, connection: &Connection, id: UserId) -> Result<Arc<UserFacts>, StoreError> {
        if let Some(known) = self.users.get(&id) {
            return Ok(Arc::clone(known));
        }
        let db = Snapshot::new(connection);
        let facts = Arc::new(UserFacts {
            chain_head: db.chain_head(id)?,
            is_deleted: db.deleted_at(id)?.is_some(),
            devices: db.devices_in_use(id)?,
        });
        self.make_room(facts.devices.len());
        self.users.insert(id, Arc::clone(&facts));
        Ok(facts)
    }

    fn make_room(&mut self, members: usize) {
        if self.held > CAPACITY.saturating_sub(members) {
            self.forget();
        }
        self.held += members + 4;
    }
}
