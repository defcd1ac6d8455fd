//! A log as a server leaves it, and copies of it that someone changed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, params, types::Value};
use tempfile::TempDir;
use unhidra_audit::{Act, Actor, Details, Record, Report, Subject, check::Place};
use unhidra_keys::{Keys, KeysConfig};
use unhidra_runtime::Clock;
use unhidra_store::{Store, StoreError, Tx, audit_check::check_audit};
use unhidra_tree::{Head, SignedHead};
use unhidra_types::{OrgId, Timestamp, UserId};

/// Tables with their columns beside `number`.
pub(super) const TABLES: [(&str, &[&str]); 4] = [
    ("audit_record", &["org_id", "at", "act", "header", "commitment"]),
    ("audit_payload", &["salt", "payload"]),
    ("audit_node", &["hashes"]),
    ("audit_head", &["size", "root", "at", "log_id", "signature"]),
];

/// A server's log, stopped.
pub(super) struct Log {
    pub(super) folder: TempDir,
    pub(super) keys: Keys,
    pub(super) records: u64,
}

pub(super) fn keys(folder: &Path) -> Keys {
    let config = KeysConfig {
        file: "keys.sealed".into(),
        sealing_key: "sealing.key".into(),
        token_lifetime: Duration::from_secs(600),
        rotation: Duration::from_secs(86_400),
        overlap: Duration::from_secs(86_400),
    };
    Keys::open(&config, folder, "https://chat.example", &Clock::System.context()).unwrap()
}

pub(super) fn record(number: u64) -> Record {
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

pub(super) fn erasure(number: u64) -> Record {
    Record {
        act: Act::PayloadErased,
        subject: Subject::AuditRecord(number),
        ..record(number)
    }
}

pub(super) fn salt(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

pub(super) fn sign(tx: &mut Tx<'_>, keys: &Keys) -> Result<SignedHead, StoreError> {
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
    pub(super) fn write(count: u64, heads: &[u64], erased: &[u64]) -> Self {
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

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("unhidra.db")
    }

    pub(super) fn check(&self, path: &Path) -> Report {
        check_audit(path, self.keys.audit_key(), None, |_, _| {}).unwrap()
    }

    /// What the check finds in a copy on which `change` was done.
    pub(super) fn changed(&self, change: impl FnOnce(&Connection)) -> Report {
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

    pub(super) fn numbers(&self, table: &str) -> Vec<i64> {
        let connection = Connection::open(self.path()).unwrap();
        let mut statement = connection
            .prepare(&format!("SELECT number FROM {table} ORDER BY number"))
            .unwrap();
        let numbers = statement.query_map([], |row| row.get(0)).unwrap();
        numbers.map(|number| number.unwrap()).collect()
    }
}

pub(super) fn value(connection: &Connection, table: &str, column: &str, number: i64) -> Value {
    let sql = format!("SELECT {column} FROM {table} WHERE number = ?1");
    connection.query_row(&sql, [number], |row| row.get(0)).unwrap()
}

pub(super) fn set(connection: &Connection, table: &str, column: &str, number: i64, value: &Value) {
    let sql = format!("UPDATE {table} SET {column} = ?2 WHERE number = ?1");
    assert_eq!(connection.execute(&sql, params![number, value]).unwrap(), 1);
}

/// The value with one bit changed, at a place of its length.
pub(super) fn bent(value: &Value, place: usize) -> Value {
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
pub(super) fn assert_located(report: &Report, table: &str, number: i64, what: &str) {
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
