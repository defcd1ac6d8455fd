//! The audit log on a real database: what an attacker with the file can change is found and located.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::prelude::*;
use rusqlite::{Connection, params, types::Value};
use tempfile::TempDir;
use unhidra_audit::{
    Act, Actor, Details, Record, Report, Subject,
    check::{Fault, Place},
};
use unhidra_keys::{Keys, KeysConfig};
use unhidra_runtime::Clock;
use unhidra_store::{Store, StoreError, Tx, audit_check::check_audit};
use unhidra_tree::{Head, SignedHead, verify_consistency, verify_inclusion};
use unhidra_types::{OrgId, Timestamp, UserId};

/// Tables with their columns beside `number`.
const TABLES: [(&str, &[&str]); 4] = [
    ("audit_record", &["org_id", "at", "act", "header", "commitment"]),
    ("audit_payload", &["salt", "payload"]),
    ("audit_node", &["hashes"]),
    ("audit_head", &["size", "root", "at", "log_id", "signature"]),
];

/// A server's log, stopped.
struct Log {
    folder: TempDir,
    keys: Keys,
    records: u64,
}

fn keys(folder: &Path) -> Keys {
    let config = KeysConfig {
        file: "keys.sealed".into(),
        sealing_key: "sealing.key".into(),
        token_lifetime: Duration::from_secs(600),
        rotation: Duration::from_secs(86_400),
        overlap: Duration::from_secs(86_400),
    };
    Keys::open(&config, folder, "https://chat.example", &Clock::System.context()).unwrap()
}

fn record(number: u64) -> Record {
    Record {
        at: Timestamp::from_millis(1_000_000 + number),
        org: (!number.is_multiple_of(3)).then(|| OrgId::from_bytes([9; 16])),
        actor: Actor::User(UserId::from_bytes([u8::try_from(number % 250).unwrap(); 16])),
        act: if number.is_multiple_of(2) {
            Act::LoginAccepted
        } else {
            Act::LoginRefused
        },
        subject: Subject::Server,
        request: [7; 16],
        details: Details {
            count: Some(number),
            username: Some(format!("user-{number}")),
            ..Details::default()
        },
    }
}

fn erasure(number: u64) -> Record {
    Record {
        act: Act::PayloadErased,
        subject: Subject::AuditRecord(number),
        ..record(number)
    }
}

fn salt(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

fn sign(tx: &mut Tx<'_>, keys: &Keys) -> Result<SignedHead, StoreError> {
    let size = tx.audit_size()?;
    let head = Head {
        log: keys.audit_log(),
        size,
        at: Timestamp::from_millis(2_000_000 + size),
        root: tx.audit_root(size)?,
    };
    let signature = keys.sign_tree_head(&head.signed_bytes());
    let signed = SignedHead { head, signature };
    tx.append_audit_head(&signed)?;
    Ok(signed)
}

impl Log {
    /// `count` records, a head after each number in `heads`, and the payload of each in `erased` erased at the end.
    fn write(count: u64, heads: &[u64], erased: &[u64]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let records = runtime.block_on(async {
            let (store, _feed) = Store::open(&folder.path().join("unhidra.db"), 1).unwrap();
            let (heads, erased) = (heads.to_vec(), erased.to_vec());
            let signer = keys.clone();
            let act = move |tx: &mut Tx<'_>| -> Result<u64, StoreError> {
                for number in 1..=count {
                    tx.append_audit(&record(number), salt(number))?;
                    if heads.contains(&number) {
                        sign(tx, &signer)?;
                    }
                }
                for number in erased {
                    assert!(tx.erase_audit_payload(number)?);
                    tx.append_audit(&erasure(number), salt(1_000 + number))?;
                }
                tx.audit_size()
            };
            let records = store.write(act).await.unwrap();
            store.close().await;
            records
        });
        Self {
            folder,
            keys,
            records,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("unhidra.db")
    }

    fn check(&self, path: &Path) -> Report {
        check_audit(path, self.keys.audit_key(), None, |_, _| {}).unwrap()
    }

    /// What the check finds in a copy on which `change` was done.
    fn changed(&self, change: impl FnOnce(&Connection)) -> Report {
        let copy = self.folder.path().join("copy.db");
        fs::copy(self.path(), &copy).unwrap();
        let connection = Connection::open(&copy).unwrap();
        connection.pragma_update(None, "journal_mode", "MEMORY").unwrap();
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        connection.pragma_update(None, "foreign_keys", "OFF").unwrap();
        change(&connection);
        drop(connection);
        self.check(&copy)
    }

    fn numbers(&self, table: &str) -> Vec<i64> {
        let connection = Connection::open(self.path()).unwrap();
        let mut statement = connection
            .prepare(&format!("SELECT number FROM {table} ORDER BY number"))
            .unwrap();
        let numbers = statement.query_map([], |row| row.get(0)).unwrap();
        numbers.map(|number| number.unwrap()).collect()
    }
}

fn value(connection: &Connection, table: &str, column: &str, number: i64) -> Value {
    let sql = format!("SELECT {column} FROM {table} WHERE number = ?1");
    connection.query_row(&sql, [number], |row| row.get(0)).unwrap()
}

fn set(connection: &Connection, table: &str, column: &str, number: i64, value: &Value) {
    let sql = format!("UPDATE {table} SET {column} = ?2 WHERE number = ?1");
    assert_eq!(connection.execute(&sql, params![number, value]).unwrap(), 1);
}

/// The value with one bit changed, at a place of its length.
fn bent(value: &Value, place: usize) -> Value {
    match value {
        Value::Integer(number) => Value::Integer(number ^ (1 << (place % 40))),
        Value::Blob(bytes) if bytes.is_empty() => Value::Blob(vec![0]),
        Value::Blob(bytes) => {
            let mut bytes = bytes.clone();
            let at = place % bytes.len();
            bytes[at] ^= 1 << (place % 8);
            Value::Blob(bytes)
        }
        other => panic!("no column holds {other:?}"),
    }
}

/// That the row is named among what was found.
fn assert_located(report: &Report, table: &str, number: i64, what: &str) {
    let number = u64::try_from(number).unwrap();
    let named = report.findings.iter().any(|finding| match finding.place {
        Place::Head(head) => table == "audit_head" && head == number,
        place => table != "audit_head" && place.number() == Some(number),
    });
    assert!(
        named && report.faults > 0,
        "{what} of {table} {number}: {:?}",
        report.findings
    );
}

#[test]
fn an_intact_log_has_no_findings() {
    for (count, heads, erased) in [
        (0, vec![], vec![]),
        (1, vec![1], vec![]),
        (37, vec![5, 32, 37], vec![3, 8]),
    ] {
        let log = Log::write(count, &heads, &erased);
        let report = log.check(&log.path());
        assert_eq!(report.findings, [], "{count}");
        assert_eq!(
            (report.records, report.heads),
            (log.records, u64::try_from(heads.len()).unwrap())
        );
        assert_eq!(report.erased, u64::try_from(erased.len()).unwrap());
        assert_eq!(report.signed.map(|head| head.head.size), heads.last().copied());
    }
}

#[test]
fn a_changed_byte_of_any_column_of_any_row_is_found_and_located() {
    let log = Log::write(19, &[7, 16], &[4]);
    for (table, columns) in TABLES {
        for number in log.numbers(table) {
            for column in columns {
                for place in [0, 13, 31] {
                    let report = log.changed(|connection| {
                        let old = value(connection, table, column, number);
                        set(connection, table, column, number, &bent(&old, place));
                    });
                    assert_located(&report, table, number, column);
                }
            }
        }
    }
}

#[test]
fn what_was_changed_is_told_apart() {
    let log = Log::write(19, &[7, 16], &[4]);
    let only = |table: &'static str, column: &'static str, number: i64| {
        let report = log.changed(|connection| {
            let old = value(connection, table, column, number);
            set(connection, table, column, number, &bent(&old, 5));
        });
        assert_eq!(
            report.findings.len(),
            1,
            "{table} {column} {number}: {:?}",
            report.findings
        );
        report.findings[0]
    };
    for number in 1..=20 {
        let record = Place::Record(u64::try_from(number).unwrap());
        let payload = Place::Payload(u64::try_from(number).unwrap());
        let found = only("audit_record", "commitment", number);
        // Nothing but the payload tells a changed commitment from a changed header.
        let fault = if number == 4 {
            Fault::Changed
        } else {
            Fault::CommitmentChanged
        };
        // The last one has nothing above it.
        assert_eq!((found.place, found.fault), (record, fault));
        assert_eq!(only("audit_record", "at", number).fault, Fault::Column("at"));
        if number != 4 {
            let found = only("audit_payload", "payload", number);
            assert_eq!((found.place, found.fault), (payload, Fault::Changed));
        }
    }
    let found = only("audit_record", "header", 6);
    assert_eq!((found.place, found.fault), (Place::Record(6), Fault::Changed));
    let found = only("audit_node", "hashes", 6);
    assert_eq!((found.place, found.fault), (Place::Node(6), Fault::Changed));
    let found = only("audit_head", "signature", 2);
    assert_eq!((found.place, found.fault), (Place::Head(2), Fault::Forged));
}

#[test]
fn a_deleted_row_of_any_table_is_found_and_located() {
    let log = Log::write(19, &[7, 16], &[4]);
    for (table, _) in TABLES {
        for number in log.numbers(table) {
            let report = log.changed(|connection| {
                let sql = format!("DELETE FROM {table} WHERE number = ?1");
                assert_eq!(connection.execute(&sql, [number]).unwrap(), 1);
            });
            // The last head has no successor that misses it, only the count.
            if table == "audit_head" && number == 2 {
                assert!(matches!(report.findings[0].fault, Fault::Count { .. }));
            } else {
                assert_located(&report, table, number, "deletion");
            }
        }
    }
}

#[test]
fn a_row_that_was_inserted_or_renumbered_is_found_and_located() {
    let log = Log::write(19, &[7, 16], &[4]);
    for (table, columns) in TABLES {
        let numbers = log.numbers(table);
        let last = *numbers.last().unwrap();
        let columns = columns.join(", ");
        for new in [last + 1, last + 50, i64::MAX, 0, -3] {
            let report = log.changed(|connection| {
                let sql = format!(
                    "INSERT INTO {table} (number, {columns}) SELECT ?2, {columns} FROM {table} WHERE number = ?1"
                );
                assert_eq!(connection.execute(&sql, [numbers[0], new]).unwrap(), 1);
            });
            assert!(report.faults > 0, "{table} {new}");
        }
        for (old, new) in [(numbers[0], last + 9), (last, i64::MAX), (numbers[0], -1)] {
            let report = log.changed(|connection| {
                let sql = format!("UPDATE {table} SET number = ?2 WHERE number = ?1");
                assert_eq!(connection.execute(&sql, [old, new]).unwrap(), 1);
            });
            assert_located(&report, table, old, "renumbering");
        }
    }
}

#[test]
fn records_that_changed_places_are_named_with_where_they_belong() {
    let log = Log::write(19, &[16], &[]);
    let report = log.changed(|connection| {
        connection
            .execute_batch(
                "UPDATE audit_record SET number = -1 WHERE number = 5; UPDATE audit_record SET number = 5 WHERE number = 11;
                 UPDATE audit_record SET number = 11 WHERE number = -1;
                 UPDATE audit_payload SET number = -1 WHERE number = 5; UPDATE audit_payload SET number = 5 WHERE number = 11;
                 UPDATE audit_payload SET number = 11 WHERE number = -1;",
            )
            .unwrap();
    });
    let found: Vec<_> = report.findings.iter().map(|f| (f.place, f.fault)).collect();
    assert_eq!(
        found,
        [
            (Place::Record(5), Fault::Moved { belongs: 11 }),
            (Place::Record(11), Fault::Moved { belongs: 5 })
        ]
    );
}

#[test]
fn a_count_that_was_changed_or_deleted_is_found() {
    let log = Log::write(9, &[4], &[]);
    for sql in [
        "UPDATE audit_count SET records = records + 1",
        "UPDATE audit_count SET records = records - 1",
        "UPDATE audit_count SET heads = heads + 1",
        "DELETE FROM audit_count",
    ] {
        let report = log.changed(|connection| connection.execute_batch(sql).unwrap());
        assert_eq!(report.findings[0].place, Place::Log, "{sql}");
        assert!(matches!(report.findings[0].fault, Fault::Count { .. }), "{sql}");
    }
}

#[test]
fn records_that_were_rewritten_with_their_whole_tree_contradict_the_signed_head() {
    let (log, other) = (Log::write(19, &[7, 16], &[]), Log::write(19, &[], &[]));
    let report = log.changed(|connection| {
        // All of another history under the heads of this one.
        let path = other.path();
        connection
            .execute("ATTACH ?1 AS other", [path.to_str().unwrap()])
            .unwrap();
        connection
            .execute_batch(
                "UPDATE other.audit_record SET header = zeroblob(112) WHERE number = 9;
                 DELETE FROM audit_payload; DELETE FROM audit_node; DELETE FROM audit_record;
                 INSERT INTO audit_record SELECT * FROM other.audit_record;
                 INSERT INTO audit_payload SELECT * FROM other.audit_payload;
                 INSERT INTO audit_node SELECT * FROM other.audit_node;",
            )
            .unwrap();
    });
    assert_located(&report, "audit_record", 9, "header");
    let forged = Log::write(19, &[7, 16], &[]);
    let report = check_audit(&forged.path(), log.keys.audit_key(), None, |_, _| {}).unwrap();
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.fault == Fault::Forged),
        "{:?}",
        report.findings
    );
}

#[test]
fn an_older_copy_contradicts_a_head_that_was_seen_later() {
    let log = Log::write(23, &[10, 23], &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, _feed) = Store::open(&log.path(), 1).unwrap();
    let seen = runtime
        .block_on(store.read(|db| db.latest_audit_head()))
        .unwrap()
        .unwrap();
    runtime.block_on(store.close());
    let check = |path: &Path| check_audit(path, log.keys.audit_key(), Some(seen), |_, _| {}).unwrap();
    assert_eq!(check(&log.path()).findings, []);

    // The backup of record 15, served on with other records.
    let copy = log.folder.path().join("older.db");
    fs::copy(log.path(), &copy).unwrap();
    let connection = Connection::open(&copy).unwrap();
    connection
        .execute_batch(
            "DELETE FROM audit_payload WHERE number > 15; DELETE FROM audit_record WHERE number > 15;
             DELETE FROM audit_node WHERE number > 15; DELETE FROM audit_head WHERE number > 1;
             UPDATE audit_count SET records = 15, heads = 1;",
        )
        .unwrap();
    drop(connection);
    assert_eq!(log.check(&copy).findings, [], "it is consistent by itself");
    let report = check(&copy);
    assert_eq!(report.findings.len(), 1);
    assert_eq!(
        report.findings[0].fault,
        Fault::Beyond {
            signed: 23,
            found: 15
        }
    );

    let (store, _feed) = Store::open(&copy, 1).unwrap();
    let signer = log.keys.clone();
    let act = move |tx: &mut Tx<'_>| {
        for number in 100..120 {
            tx.append_audit(&record(number), salt(number))?;
        }
        sign(tx, &signer)
    };
    runtime.block_on(store.write(act)).unwrap();
    runtime.block_on(store.close());
    assert_eq!(log.check(&copy).findings, []);
    let fault = check(&copy).findings[0].fault;
    assert!(matches!(fault, Fault::OtherRoot { size: 23, .. }), "{fault:?}");
}

#[test]
fn proofs_are_read_from_the_stored_tree() {
    let log = Log::write(100, &[], &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, _feed) = Store::open(&log.path(), 1).unwrap();
    let checked = store.read(|db| {
        let roots: Vec<_> = (0..=100)
            .map(|size| db.audit_root(size))
            .collect::<Result<_, _>>()?;
        let root = |size: u64| &roots[usize::try_from(size).unwrap()];
        for size in [1, 2, 63, 64, 65, 99, 100] {
            for number in 1..=size {
                let record = db.audit_record(number)?.unwrap();
                let leaf: [u8; 32] = record.hashes[..32].try_into().unwrap();
                let path = db.audit_inclusion(number, size)?;
                verify_inclusion(number, &leaf, size, root(size), &path).unwrap();
            }
            for earlier in 1..=size {
                let path = db.audit_consistency(earlier, size)?;
                verify_consistency(earlier, root(earlier), size, root(size), &path).unwrap();
            }
        }
        Ok::<_, StoreError>(())
    });
    runtime.block_on(checked).unwrap();
    runtime.block_on(store.close());
}

#[test]
fn an_erased_payload_is_nowhere_in_the_file() {
    let log = Log::write(30, &[], &[17]);
    let holds = |text: &str| {
        let bytes = fs::read(log.path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    assert!(holds("user-16\"") && holds("user-18\""));
    // The record of the erasure is made from the same details here, so what is looked for is the count.
    let bytes = fs::read(log.path()).unwrap();
    let needle = br#"{"username":"user-17","count":17}"#;
    let times = bytes
        .windows(needle.len())
        .filter(|window| window == needle)
        .count();
    assert_eq!(times, 1, "once in the record of the erasure");
}

#[test]
fn an_act_that_fails_leaves_no_record_and_no_node() {
    let log = Log::write(6, &[], &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, _feed) = Store::open(&log.path(), 1).unwrap();
    let failed = store.write(|tx| {
        tx.append_audit(&record(7), salt(7))?;
        Err::<(), _>(StoreError::Corrupt("on purpose"))
    });
    runtime.block_on(failed).unwrap_err();
    let number = runtime
        .block_on(store.write(|tx| tx.append_audit(&record(7), salt(7))))
        .unwrap();
    assert_eq!(number, 7);
    runtime.block_on(store.close());
    assert_eq!(log.check(&log.path()).findings, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_two_rows_exchange_is_found(
        count in 2_u64..40, table in any::<prop::sample::Index>(), column in any::<prop::sample::Index>(),
        first in any::<prop::sample::Index>(), second in any::<prop::sample::Index>(), head in 1_u64..40,
    ) {
        let log = Log::write(count, &[1, head.min(count)], &[]);
        let (table, columns) = TABLES[table.index(TABLES.len())];
        let column = columns[column.index(columns.len())];
        let numbers = log.numbers(table);
        let (a, b) = (numbers[first.index(numbers.len())], numbers[second.index(numbers.len())]);
        let mut differ = false;
        let report = log.changed(|connection| {
            let (of_a, of_b) = (value(connection, table, column, a), value(connection, table, column, b));
            differ = of_a != of_b;
            set(connection, table, column, a, &of_b);
            set(connection, table, column, b, &of_a);
        });
        if differ {
            assert_located(&report, table, a, column);
            assert_located(&report, table, b, column);
        } else {
            prop_assert_eq!(report.findings, []);
        }
    }
}
