//! What the audit tree costs at a million records: `cargo bench -p unhidra-store --bench audit`.
//!
//! Arguments: the number of records (default 1 000 000). Times are of one thread: CPU time for appends, since `fsync`s
//! depend on the disk, and wall time for the rest.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that can't go on ends"
)]

use std::{
    env, fs, io,
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};
use rustix::time::{ClockId, clock_gettime};
use unhidra_audit::{Act, Actor, Details, Record, Subject, export};
use unhidra_keys::{Keys, KeysConfig};
use unhidra_runtime::Clock;
use unhidra_store::{Store, StoreError, Tx, audit_check::check_audit};
use unhidra_tree::{Head, SignedHead, verify_consistency, verify_inclusion};
use unhidra_types::{DeviceId, OrgId, Timestamp, UserId};
use unhidra_wire::{
    audit::{AuditKey, AuditRecord, ExportBegin, ExportLine},
    base64::{Base64, Base64Array},
};

/// Records in one transaction.
const BATCH: u64 = 500;
/// Proofs that are measured.
const PROOFS: u64 = 10_000;

fn main() {
    let count = env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let without = plain(&folder.path().join("plain.db"), count);
    let keys = open_keys(folder.path());
    let path = folder.path().join("tree.db");
    let (store, _feed) = Store::open(&path, 1).unwrap();
    let with = runtime.block_on(append(&store, count));
    let head = runtime.block_on(store.write({
        let keys = keys.clone();
        move |tx| sign(tx, &keys)
    }));
    let head = head.unwrap();
    println!("| {count} records | |\n|---|---|");
    row("append without the tree, CPU", per(without.0, count));
    row("append with the tree, CPU", per(with, count));
    let prove = runtime.block_on(proofs(&store, head));
    row("inclusion proof, made", per(prove.0, PROOFS));
    row("inclusion proof, checked", per(prove.1, PROOFS));
    row("consistency proof, made", per(prove.2, PROOFS));
    row("consistency proof, checked", per(prove.3, PROOFS));
    let file = folder.path().join("export.jsonl");
    let exported = runtime.block_on(write_export(&store, &keys, head, &file));
    row(
        "export, written from the database",
        format!("{:.1} s", exported.as_secs_f64()),
    );
    row(
        "export, size",
        format!("{} B a record", fs::metadata(&file).unwrap().len() / count),
    );
    runtime.block_on(store.close());
    let begin = Instant::now();
    let lines = io::BufRead::lines(io::BufReader::new(fs::File::open(&file).unwrap()));
    let report = export::verify(lines, keys.audit_key(), None, |_, _| {}).unwrap();
    assert_eq!((report.records, report.faults), (count, 0));
    row(
        "export, checked",
        format!("{:.1} s", begin.elapsed().as_secs_f64()),
    );
    let begin = Instant::now();
    let report = check_audit(&path, keys.audit_key(), None, |_, _| {}).unwrap();
    assert_eq!((report.records, report.faults), (count, 0));
    row(
        "database, checked",
        format!("{:.1} s", begin.elapsed().as_secs_f64()),
    );
    row(
        "disk without the tree",
        format!("{} B a record", without.1 / count),
    );
    row(
        "disk with the tree",
        format!("{} B a record", fs::metadata(&path).unwrap().len() / count),
    );
}

fn row(what: &str, cost: impl std::fmt::Display) {
    println!("| {what} | {cost} |");
}

fn per(time: Duration, count: u64) -> String {
    format!(
        "{:.1} us",
        time.as_secs_f64() * 1e6 / u32::try_from(count).map(f64::from).unwrap()
    )
}

/// CPU time of the whole process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

fn record(number: u64) -> Record {
    let user = UserId::from_bytes(u128::from(number % 1_000).to_be_bytes());
    Record {
        at: Timestamp::from_millis(1_800_000_000_000 + number),
        org: Some(OrgId::from_bytes([1; 16])),
        actor: Actor::Device {
            user,
            device: DeviceId::from_bytes([2; 16]),
        },
        act: Act::SessionRefreshed,
        subject: Subject::User(user),
        request: u128::from(number).to_be_bytes(),
        details: Details {
            network: Some([192, 168, 1, 17].into()),
            ..Details::default()
        },
    }
}

fn salt(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

/// The same rows as a store writes, without tree and counts: CPU time, and bytes on disk.
fn plain(path: &Path, count: u64) -> (Duration, u64) {
    let mut connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE audit_record (number INTEGER PRIMARY KEY, org_id BLOB NOT NULL, at INTEGER NOT NULL,
                 act INTEGER NOT NULL, header BLOB NOT NULL, commitment BLOB NOT NULL) STRICT;
             CREATE TABLE audit_payload (number INTEGER PRIMARY KEY REFERENCES audit_record (number),
                 salt BLOB NOT NULL, payload BLOB NOT NULL) STRICT;",
        )
        .unwrap();
    let begin = cpu();
    let mut number = 0;
    while number < count {
        let transaction = connection.transaction().unwrap();
        for _ in 0..BATCH.min(count - number) {
            number += 1;
            let (record, salt) = (record(number), salt(number));
            let sealed = record.seal(salt);
            let at = i64::try_from(record.at.as_millis()).unwrap();
            let act = record.act.number();
            let inserted: i64 = transaction
                .prepare_cached("INSERT INTO audit_record (org_id, at, act, header, commitment) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING number")
                .unwrap()
                .query_row(params![[1_u8; 16], at, act, sealed.header, sealed.commitment], |row| row.get(0))
                .unwrap();
            transaction
                .prepare_cached("INSERT INTO audit_payload (number, salt, payload) VALUES (?1, ?2, ?3)")
                .unwrap()
                .execute(params![inserted, sealed.salt, sealed.payload])
                .unwrap();
        }
        transaction.commit().unwrap();
    }
    let took = cpu() - begin;
    connection.close().expect("the database closes");
    (took, fs::metadata(path).unwrap().len())
}

async fn append(store: &Store, count: u64) -> Duration {
    let begin = cpu();
    let mut next = 0;
    while next < count {
        let (first, last) = (next + 1, (next + BATCH).min(count));
        let act = move |tx: &mut Tx<'_>| {
            for number in first..=last {
                tx.append_audit(&record(number), salt(number))?;
            }
            Ok::<_, StoreError>(())
        };
        store.write(act).await.unwrap();
        next = last;
    }
    cpu() - begin
}

fn open_keys(folder: &Path) -> Keys {
    let day = Duration::from_secs(86_400);
    let config = KeysConfig {
        file: "keys.sealed".into(),
        sealing_key: "sealing.key".into(),
        token_lifetime: day,
        rotation: day,
        overlap: day,
    };
    Keys::open(&config, folder, "https://chat.example", &Clock::System.context()).unwrap()
}

fn sign(tx: &mut Tx<'_>, keys: &Keys) -> Result<SignedHead, StoreError> {
    let size = tx.audit_size()?;
    let head = Head {
        log: keys.audit_log(),
        size,
        at: Timestamp::from_millis(1_900_000_000_000),
        root: tx.audit_root(size)?,
    };
    let signature = keys.sign_tree_head(&head.signed_bytes());
    let signed = SignedHead { head, signature };
    tx.append_audit_head(&signed)?;
    Ok(signed)
}

/// Time to make and to check inclusion proofs, and the same for consistency proofs.
async fn proofs(store: &Store, head: SignedHead) -> (Duration, Duration, Duration, Duration) {
    let measured = store.read(move |db| {
        let (size, root) = (head.head.size, head.head.root);
        // Spread over the log by a step that is prime to most sizes.
        let numbers: Vec<u64> = (0..PROOFS).map(|n| n * 7_919 % size + 1).collect();
        let begin = Instant::now();
        let paths: Vec<_> = numbers
            .iter()
            .map(|n| db.audit_inclusion(*n, size).unwrap())
            .collect();
        let made = begin.elapsed();
        let leaves: Vec<[u8; 32]> = numbers
            .iter()
            .map(|n| {
                db.audit_record(*n)
                    .unwrap()
                    .unwrap()
                    .hashes
                    .first_chunk()
                    .copied()
                    .unwrap()
            })
            .collect();
        let begin = Instant::now();
        for ((number, leaf), path) in numbers.iter().zip(&leaves).zip(&paths) {
            verify_inclusion(*number, leaf, size, &root, path).unwrap();
        }
        let checked = begin.elapsed();
        let roots: Vec<_> = numbers.iter().map(|n| db.audit_root(*n).unwrap()).collect();
        let begin = Instant::now();
        let paths: Vec<_> = numbers
            .iter()
            .map(|n| db.audit_consistency(*n, size).unwrap())
            .collect();
        let consistent = begin.elapsed();
        let begin = Instant::now();
        for ((number, earlier), path) in numbers.iter().zip(&roots).zip(&paths) {
            verify_consistency(*number, earlier, size, &root, path).unwrap();
        }
        Ok::<_, StoreError>((made, checked, consistent, begin.elapsed()))
    });
    measured.await.unwrap()
}

async fn write_export(store: &Store, keys: &Keys, head: SignedHead, file: &Path) -> Duration {
    let begin = Instant::now();
    let mut out = io::BufWriter::new(fs::File::create(file).unwrap());
    let mut write = |line: &ExportLine| {
        serde_json::to_writer(&mut out, line).unwrap();
        io::Write::write_all(&mut out, b"\n").unwrap();
    };
    write(&ExportLine::Begin(ExportBegin {
        version: export::VERSION,
        key: AuditKey {
            key: Base64Array(keys.audit_key()),
            log_id: Base64Array(keys.audit_log()),
        },
        records: head.head.size,
    }));
    write(&ExportLine::Head(head.into()));
    let mut after = 0;
    while after < head.head.size {
        let records = store.read(move |db| db.audit_records(after, 500)).await.unwrap();
        for record in records {
            after = record.number;
            write(&ExportLine::Record(AuditRecord {
                number: record.number,
                says: record.read_header().map(|header| header.saying()),
                header: Base64(record.header),
                commitment: Base64(record.commitment),
                salt: record.salt.map(Base64),
                payload: record.payload.map(|payload| String::from_utf8(payload).unwrap()),
                tree: Base64(record.hashes),
            }));
        }
    }
    io::Write::flush(&mut out).unwrap();
    begin.elapsed()
}
