//! The tree grows with the records, proves them, and contradicts an older copy.

use std::{fs, path::Path};

use rusqlite::Connection;
use unhidra_audit::check::Fault;
use unhidra_store::{Store, StoreError, Tx, audit_check::check_audit};
use unhidra_tree::{verify_consistency, verify_inclusion};

use crate::fixture::{Log, record, salt, sign};

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
