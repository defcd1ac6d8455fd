//! Every change of every row is found, located and told from the others.

use proptest::prelude::*;
use unhidra_audit::check::{Fault, Place};
use unhidra_store::audit_check::check_audit;

use crate::fixture::{Log, TABLES, assert_located, bent, set, value};

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
