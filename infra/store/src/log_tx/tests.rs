//! Whatever acts do and however they and their commits end, what is in memory says what the database says.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{prelude::*, sample::Index};
use rusqlite::params;
use unhidra_types::{MsgId, OrgId, Timestamp};

use super::*;
use crate::{entry::Capsule, migration};

const NOW: Timestamp = Timestamp::from_millis(1_000);
const ORG: OrgId = OrgId::from_bytes([9; 16]);
const USERS: [UserId; 2] = [UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16])];
const LOGS: [(ConversationId, Kind); 2] = [
    (ConversationId::from_bytes([5; 16]), Kind::Direct),
    (ConversationId::from_bytes([6; 16]), Kind::Group),
];
const RECEIVER: DeviceId = DeviceId::from_bytes([8; 16]);

#[derive(Clone, Debug)]
enum Step {
    /// In a log, by a device, with a message number.
    Append(Index, u8, u8),
    /// With a capsule that can't be stored.
    Broken(u8, u8),
    /// What a writer of anything does to users, devices and logs; it may fail afterwards.
    Any(Change, bool),
    Acknowledge(u8),
    /// The transaction ends, well or not.
    End(bool),
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Device(u8),
    Revoke(u8),
    Chain(u8),
    Delete,
    Leave,
    Gap,
    /// An append as control logs and restores make it.
    Append(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = prop_oneof![
        (0_u8..4).prop_map(Change::Device),
        (0_u8..4).prop_map(Change::Revoke),
        any::<u8>().prop_map(Change::Chain),
        Just(Change::Delete),
        Just(Change::Leave),
        Just(Change::Gap),
        any::<u8>().prop_map(Change::Append),
    ];
    let step = prop_oneof![
        12 => (any::<Index>(), 0_u8..4, any::<u8>()).prop_map(|(log, device, message)| Step::Append(log, device, message)),
        1 => (0_u8..4, any::<u8>()).prop_map(|(device, message)| Step::Broken(device, message)),
        3 => (change, any::<bool>()).prop_map(|(change, fails)| Step::Any(change, fails)),
        1 => any::<u8>().prop_map(Step::Acknowledge),
        6 => prop::bool::weighted(0.8).prop_map(Step::End),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..120)
}

fn device(number: u8) -> DeviceId {
    DeviceId::from_bytes([100 + number; 16])
}

fn entry(log: usize, sender: u8, message: u8) -> NewEntry {
    let (conversation, kind) = LOGS[log];
    let capsule = Capsule {
        device: RECEIVER,
        kind: 2,
        sealed: Bytes::from_static(b"sealed"),
    };
    NewEntry {
        conversation,
        msg_id: MsgId::from_bytes([message; 16]),
        sender: USERS[0],
        sender_device: device(sender),
        dest: None,
        attempt: 0,
        server_time: NOW,
        recipients: match kind {
            Kind::Direct => Recipients::Capsules(vec![capsule]),
            Kind::Group | Kind::Control => Recipients::Members,
        },
        body: Bytes::from_static(b"body"),
    }
}

/// The database, what the writer keeps of it, and every entry that is in a log: by log, sender and message.
struct Writer {
    connection: Connection,
    hot: Hot,
    events: Vec<Event>,
    logs: Vec<LogNumber>,
    stored: BTreeMap<(usize, u8, u8), u64>,
    durable: BTreeMap<(usize, u8, u8), u64>,
}

impl Writer {
    fn new() -> Self {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.set_prepared_statement_cache_capacity(128);
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        migration::migrate(&mut connection).unwrap();
        connection
            .execute("INSERT INTO organisation VALUES (?1, 0)", [ORG.as_bytes()])
            .unwrap();
        for (user, name) in USERS.iter().zip(["alice", "bob"]) {
            let account = "INSERT INTO account (user_id, org_id, username, role, password, created_at) VALUES (?1, ?2, ?3, 2, '', 0)";
            connection
                .execute(account, params![user.as_bytes(), ORG.as_bytes(), name])
                .unwrap();
        }
        let mut hot = Hot::of(&connection).unwrap();
        let mut events = Vec::new();
        let logs = LOGS.map(|(id, kind)| {
            let open = |tx: &mut Tx<'_>| tx.open_conversation(id, ORG, kind, &USERS, NOW);
            LogTx::new(&connection, &mut hot, &mut events)
                .any(open)
                .unwrap()
                .log
        });
        let mut writer = Self {
            connection,
            hot,
            events,
            logs: logs.to_vec(),
            stored: BTreeMap::new(),
            durable: BTreeMap::new(),
        };
        writer.begin();
        writer
    }

    fn begin(&mut self) {
        self.hot.accepted.begin();
        execute(&self.connection, "BEGIN IMMEDIATE").unwrap();
    }

    fn end(&mut self, is_well: bool) {
        self.hot.finish(&self.connection, 1).unwrap();
        if is_well {
            execute(&self.connection, "COMMIT").unwrap();
            self.hot.accepted.committed();
            self.durable = self.stored.clone();
        } else {
            execute(&self.connection, "ROLLBACK").unwrap();
            self.hot.rolled_back();
            self.stored = self.durable.clone();
        }
        self.begin();
    }

    fn tx(&mut self) -> LogTx<'_> {
        LogTx::new(&self.connection, &mut self.hot, &mut self.events)
    }

    fn append(&mut self, log: usize, sender: u8, message: u8) {
        let (number, entry) = (self.logs[log], entry(log, sender, message));
        let found = self.tx().place_of(number, &entry.key()).unwrap();
        let place = self.stored.get(&(log, sender, message)).copied();
        assert_eq!(found.map(|place| place.seq), place);
        if place.is_none() {
            let seq = self.tx().append_entry(number, &entry).unwrap();
            self.stored.insert((log, sender, message), seq);
        }
    }

    fn broken(&mut self, sender: u8, message: u8) {
        let mut broken = entry(0, sender, message);
        if let Recipients::Capsules(capsules) = &mut broken.recipients {
            capsules.push(capsules[0].clone());
        }
        let log = self.logs[0];
        let mut tx = self.tx();
        assert!(tx.append_entry(log, &broken).is_err());
        assert!(!tx.is_spoiled());
    }

    fn any(&mut self, change: Change, fails: bool) {
        let (log, user) = (self.logs[1], USERS[0]);
        let taken =
            |change| matches!(change, Change::Append(message) if self.stored.contains_key(&(1, 9, message)));
        if taken(change) {
            return;
        }
        let mut seq = None;
        let done = self.tx().any(|tx| {
            let db = tx.connection;
            match change {
                Change::Device(number) => db.execute(
                    "INSERT INTO device (device_id, user_id, org_id, name, capabilities, dsk, certificate_hash, not_before, not_after, created_at)
                     VALUES (?1, ?2, ?3, '', 0, x'', x'', 0, 0, 0) ON CONFLICT DO NOTHING",
                    params![device(number).as_bytes(), user.as_bytes(), ORG.as_bytes()],
                )?,
                Change::Revoke(number) => {
                    db.execute("UPDATE device SET revoked_at = 1 WHERE device_id = ?1", [device(number).as_bytes()])?
                }
                Change::Chain(head) => db.execute(
                    "INSERT INTO chain VALUES (?1, ?2, 1, ?3) ON CONFLICT DO UPDATE SET length = length + 1, head_hash = ?3",
                    params![user.as_bytes(), ORG.as_bytes(), [head; 32]],
                )?,
                Change::Delete => db.execute("UPDATE account SET deleted_at = 1 WHERE user_id = ?1", [user.as_bytes()])?,
                Change::Leave => db.execute("DELETE FROM member WHERE user_id = ?1 AND log = ?2", params![user.as_bytes(), log.0])?,
                Change::Gap => db.execute("UPDATE conversation SET head = head + 1000", [])?,
                Change::Append(message) => {
                    seq = Some(tx.append_entry(log, &entry(1, 9, message))?);
                    0
                }
            };
            if fails { Err(StoreError::Closed) } else { Ok(()) }
        });
        assert_eq!(done.is_err(), fails);
        if let (Change::Append(message), Some(seq), false) = (change, seq, fails) {
            self.stored.insert((1, 9, message), seq);
        }
    }

    /// Another program opens the file.
    fn reopen(&mut self) {
        self.end(true);
        execute(&self.connection, "ROLLBACK").unwrap();
        self.hot.accepted = Accepted::load(&self.connection).unwrap();
        self.hot.pending.forget();
        self.hot.facts.forget();
        self.begin();
    }

    fn check(&mut self) {
        for (log, (id, _)) in LOGS.iter().enumerate() {
            let kept = self.tx().log(*id).unwrap().unwrap();
            let db = Snapshot::new(&self.connection);
            assert_eq!(kept.members, db.members(self.logs[log]).unwrap());
            let in_memory = self.hot.pending.head(&self.connection, self.logs[log]).unwrap();
            let last: Option<i64> = self
                .connection
                .query_row(
                    "SELECT max(seq) FROM entry WHERE log = ?1",
                    [self.logs[log].0],
                    |row| row.get(0),
                )
                .unwrap();
            assert!(in_memory >= last.unwrap_or(0));
        }
        for user in USERS {
            let kept = self.tx().user(user).unwrap();
            let db = Snapshot::new(&self.connection);
            let read = UserFacts {
                chain_head: db.chain_head(user).unwrap(),
                is_deleted: db.deleted_at(user).unwrap().is_some(),
                devices: db.devices_in_use(user).unwrap(),
            };
            assert_eq!(*kept, read);
        }
        for (&(log, sender, message), &seq) in &self.stored {
            let key = entry(log, sender, message).key();
            let found = self.hot.accepted.place_of(&self.connection, self.logs[log], &key);
            assert_eq!(found.unwrap().map(|place| place.seq), Some(seq));
        }
    }

    fn entries(&self) -> usize {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, u32>(0);
        let sql = "SELECT count(*) FROM entry";
        self.connection.query_row(sql, [], count).unwrap() as usize
    }

    fn written_head(&self, log: usize) -> u64 {
        let db = Snapshot::new(&self.connection);
        db.conversation(LOGS[log].0).unwrap().unwrap().head
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn memory_says_what_the_database_says(steps in steps()) {
        let mut writer = Writer::new();
        for step in steps {
            match step {
                Step::Append(log, sender, message) => writer.append(log.index(LOGS.len()), sender, message),
                Step::Broken(sender, message) => writer.broken(sender, message),
                Step::Any(change, fails) => writer.any(change, fails),
                Step::Acknowledge(seq) => {
                    let log = writer.logs[0];
                    writer.tx().acknowledge(RECEIVER, log, Kind::Direct, u64::from(seq)).unwrap();
                }
                Step::End(is_well) => writer.end(is_well),
                Step::Reopen => writer.reopen(),
            }
            writer.check();
        }
        writer.end(true);
        prop_assert_eq!(writer.entries(), writer.stored.len());
        for log in 0..LOGS.len() {
            let last = writer.stored.iter().filter(|((of, ..), _)| *of == log).map(|(_, seq)| *seq).max();
            prop_assert!(writer.written_head(log) >= last.unwrap_or(0));
        }
    }
}

#[test]
fn entries_join_the_table_in_batches_and_are_found_all_the_while() {
    let mut writer = Writer::new();
    for message in 0..200 {
        writer.append(1, 0, message);
        if message % 3 == 0 {
            writer.end(message % 2 == 0);
        }
        writer.check();
    }
    writer.end(true);
    let through: i64 = writer
        .connection
        .query_row("SELECT number FROM accepted_through", [], |row| row.get(0))
        .unwrap();
    assert!(through > 0);
    writer.reopen();
    writer.check();
}

#[test]
fn two_entries_with_one_fingerprint_are_told_apart() {
    let mut writer = Writer::new();
    for message in 1..=2 {
        writer.append(1, 0, message);
    }
    let other = accepted::of_key(writer.logs[1], &entry(1, 0, 2).key());
    writer.hot.accepted.add(other, 1);
    writer.check();
}
