//! What every [`Store`](super::Store) promises, as tests.

/// Writes the tests of the contract of [`Store`](crate::store::Store) into the module it is called in.
///
/// `$fixture` is a type with `fn new() -> Self`, an empty medium of its own, and `fn open(&self) -> impl Store`,
/// another handle on that medium, as another process or a later run would have.
#[macro_export]
macro_rules! store_contract {
    ($fixture:ty) => {
        mod contract {
            use super::*;
            use $crate::store::{KeyRange, Order, Row, Store, StoreError, Table};

            #[derive(Debug)]
            enum Step {
                Abandoned,
                #[expect(dead_code, reason = "shown by Debug when a test fails")]
                Store(StoreError),
            }

            impl From<StoreError> for Step {
                fn from(error: StoreError) -> Self {
                    Self::Store(error)
                }
            }

            fn put(store: &mut impl Store, table: Table, records: &[(&[u8], &[u8])]) {
                let done: Result<(), StoreError> = store.transaction(|tx| {
                    records
                        .iter()
                        .try_for_each(|(key, value)| tx.put(table, key, value))
                });
                done.expect("the store takes records");
            }

            fn get(store: &mut impl Store, table: Table, key: &[u8]) -> Option<Vec<u8>> {
                let value: Result<_, StoreError> = store.transaction(|tx| tx.get(table, key));
                value.expect("the store answers")
            }

            fn keys(store: &mut impl Store, range: KeyRange, order: Order, limit: usize) -> Vec<Vec<u8>> {
                let rows: Result<Vec<Row>, StoreError> =
                    store.transaction(|tx| tx.scan(Table::Messages, &range, order, limit));
                rows.expect("the store answers")
                    .into_iter()
                    .map(|row| row.key)
                    .collect()
            }

            #[test]
            fn a_record_reads_back_until_it_is_replaced_or_deleted() {
                let fixture = <$fixture>::new();
                let mut store = fixture.open();
                assert_eq!(get(&mut store, Table::Messages, b"a"), None);
                put(&mut store, Table::Messages, &[(b"a", b"one"), (b"", b"")]);
                assert_eq!(
                    get(&mut store, Table::Messages, b"a").as_deref(),
                    Some(&b"one"[..])
                );
                assert_eq!(
                    get(&mut store, Table::Messages, b"").as_deref(),
                    Some(&b""[..])
                );
                put(&mut store, Table::Messages, &[(b"a", b"two")]);
                assert_eq!(
                    get(&mut store, Table::Messages, b"a").as_deref(),
                    Some(&b"two"[..])
                );
                let deleted: Result<_, StoreError> = store.transaction(|tx| {
                    Ok((
                        tx.delete(Table::Messages, b"a")?,
                        tx.delete(Table::Messages, b"a")?,
                    ))
                });
                assert_eq!(deleted.expect("deletes"), (true, false));
                assert_eq!(get(&mut store, Table::Messages, b"a"), None);
            }

            #[test]
            fn an_abandoned_step_changes_nothing() {
                let fixture = <$fixture>::new();
                let mut store = fixture.open();
                put(
                    &mut store,
                    Table::Messages,
                    &[(b"kept", b"old"), (b"gone", b"old")],
                );
                let result: Result<(), Step> = store.transaction(|tx| {
                    tx.put(Table::Messages, b"kept", b"new")?;
                    tx.put(Table::Messages, b"added", b"new")?;
                    tx.delete(Table::Messages, b"gone")?;
                    tx.put(Table::Messages, b"kept", b"newer")?;
                    Err(Step::Abandoned)
                });
                assert!(matches!(result, Err(Step::Abandoned)));
                for mut handle in [store, fixture.open()] {
                    assert_eq!(
                        get(&mut handle, Table::Messages, b"kept").as_deref(),
                        Some(&b"old"[..])
                    );
                    assert_eq!(
                        get(&mut handle, Table::Messages, b"gone").as_deref(),
                        Some(&b"old"[..])
                    );
                    assert_eq!(get(&mut handle, Table::Messages, b"added"), None);
                }
            }

            #[test]
            fn a_step_sees_its_own_writes() {
                let fixture = <$fixture>::new();
                let seen: Result<_, StoreError> = fixture.open().transaction(|tx| {
                    tx.put(Table::Messages, b"b", b"2")?;
                    tx.put(Table::Messages, b"a", b"1")?;
                    tx.delete(Table::Messages, b"b")?;
                    let rows = tx.scan(Table::Messages, &KeyRange::all(), Order::Ascending, 10)?;
                    Ok((tx.get(Table::Messages, b"a")?, rows.len()))
                });
                assert_eq!(seen.expect("reads"), (Some(b"1".to_vec()), 1));
            }

            #[test]
            fn a_committed_step_outlives_its_handle() {
                let fixture = <$fixture>::new();
                put(&mut fixture.open(), Table::Identity, &[(b"k", b"v")]);
                assert_eq!(
                    get(&mut fixture.open(), Table::Identity, b"k").as_deref(),
                    Some(&b"v"[..])
                );
            }

            #[test]
            fn two_handles_see_each_others_committed_steps() {
                let fixture = <$fixture>::new();
                let (mut first, mut second) = (fixture.open(), fixture.open());
                put(&mut first, Table::Numbers, &[(b"n", &[1])]);
                let raised: Result<_, StoreError> = second.transaction(|tx| {
                    let n = tx
                        .get(Table::Numbers, b"n")?
                        .expect("the other handle wrote it")[0];
                    tx.put(Table::Numbers, b"n", &[n + 1])?;
                    Ok(n)
                });
                assert_eq!(raised.expect("commits"), 1);
                assert_eq!(
                    get(&mut first, Table::Numbers, b"n").as_deref(),
                    Some(&[2][..])
                );
            }

            #[test]
            fn steps_on_two_handles_take_turns() {
                let fixture = <$fixture>::new();
                let count = |mut store: Box<dyn FnMut() + Send>| move || (0..20).for_each(|_| store());
                let raise = |mut store| {
                    Box::new(move || {
                        let raised: Result<(), StoreError> = Store::transaction(&mut store, |tx| {
                            let n = tx.get(Table::Numbers, b"n")?.map_or(0, |value| value[0]);
                            tx.put(Table::Numbers, b"n", &[n + 1])
                        });
                        raised.expect("waits for its turn");
                    })
                };
                let (first, second) = (count(raise(fixture.open())), count(raise(fixture.open())));
                std::thread::scope(|scope| {
                    scope.spawn(first);
                    scope.spawn(second);
                });
                assert_eq!(
                    get(&mut fixture.open(), Table::Numbers, b"n").as_deref(),
                    Some(&[40][..])
                );
            }

            #[test]
            fn scans_follow_byte_order_range_and_limit() {
                let fixture = <$fixture>::new();
                let mut store = fixture.open();
                let all: [&[u8]; 7] = [b"", b"\0", b"a", b"a\0", b"ab", b"b", b"\xff\xff"];
                for key in [3, 6, 0, 5, 1, 4, 2] {
                    put(&mut store, Table::Messages, &[(all[key], b"v")]);
                }
                let mut scan = |range, order, limit| keys(&mut store, range, order, limit);
                assert_eq!(scan(KeyRange::all(), Order::Ascending, 100), all);
                let reversed: Vec<&[u8]> = all.into_iter().rev().collect();
                assert_eq!(scan(KeyRange::all(), Order::Descending, 100), reversed);
                assert_eq!(scan(KeyRange::all(), Order::Ascending, 2), &all[..2]);
                assert_eq!(scan(KeyRange::all(), Order::Descending, 1), &all[6..]);
                assert!(scan(KeyRange::all(), Order::Ascending, 0).is_empty());
                assert_eq!(
                    scan(KeyRange::prefix(b"a"), Order::Ascending, 100),
                    &all[2..5]
                );
                assert_eq!(
                    scan(KeyRange::prefix(b"\xff"), Order::Ascending, 100),
                    &all[6..]
                );
                assert_eq!(
                    scan(KeyRange::prefix(b"a").after(b"a"), Order::Ascending, 100),
                    &all[3..5]
                );
                assert_eq!(
                    scan(KeyRange::prefix(b"a").before(b"ab"), Order::Descending, 1),
                    &all[3..4]
                );
                assert_eq!(
                    scan(KeyRange::all().starting_at(b"ab"), Order::Ascending, 100),
                    &all[4..]
                );
                let empty = KeyRange::prefix(b"a").starting_at(b"b");
                assert!(scan(empty, Order::Ascending, 100).is_empty());
            }

            #[test]
            fn tables_do_not_see_each_other() {
                let fixture = <$fixture>::new();
                let mut store = fixture.open();
                for table in Table::ALL {
                    put(&mut store, *table, &[(b"k", table.name().as_bytes())]);
                }
                let deleted: Result<_, StoreError> = store.transaction(|tx| tx.delete(Table::Queue, b"k"));
                assert!(deleted.expect("deletes"));
                for table in Table::ALL.iter().filter(|table| **table != Table::Queue) {
                    let value = get(&mut store, *table, b"k").expect("is there");
                    assert_eq!(value, table.name().as_bytes());
                    let rows: Result<Vec<Row>, StoreError> =
                        store.transaction(|tx| tx.scan(*table, &KeyRange::all(), Order::Ascending, 9));
                    assert_eq!(rows.expect("the store answers").len(), 1);
                }
            }

            #[test]
            fn large_and_binary_values_read_back() {
                let fixture = <$fixture>::new();
                let large: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
                put(
                    &mut fixture.open(),
                    Table::Outbox,
                    &[(&[0, 0xff, b'\''], &large)],
                );
                assert_eq!(
                    get(&mut fixture.open(), Table::Outbox, &[0, 0xff, b'\'']),
                    Some(large)
                );
            }
        }
    };
}
