//! The records of a chain are accepted in their order, each once, none left out.

use proptest::prelude::*;
use unhidra_chain::{Chain, ChainError, ListHead, ListVersion, Validity};

use crate::fixture::{ALL, NOW, Owner, storied, subject};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn only_a_prefix_of_the_records_is_a_chain(order in prop::collection::vec(0_usize..6, 0..8)) {
        let records = storied().records();
        let chain = Chain::verify(order.iter().map(|&i| &records[i]));
        let is_prefix = !order.is_empty() && order.iter().enumerate().all(|(i, &index)| i == index);
        prop_assert_eq!(chain.is_ok(), is_prefix, "{:?}", chain);
    }

    #[test]
    fn one_record_left_out_doubled_or_moved_is_noticed(at in 0_usize..6, to in 0_usize..6, kind in 0..3) {
        let mut records = storied().records();
        let record = records.remove(at);
        match kind {
            0 if at == 5 => return Ok(()), // the end of a chain is not in the chain: see ListHead
            0 => {}
            1 => { records.insert(at, record.clone()); records.insert(to, record); }
            _ if to == at => return Ok(()),
            _ => records.insert(to, record),
        }
        prop_assert!(Chain::verify(&records).is_err());
    }
}

#[test]
fn a_missing_end_shows_against_a_known_head() {
    let whole = storied();
    let records = whole.records();
    let cut = Chain::verify(&records[..5]).unwrap();
    assert!(whole.chain.contains(&cut.head()));
    assert!(whole.chain.contains(&whole.chain.head()));
    assert!(!cut.contains(&whole.chain.head()));
    let other = ListHead {
        hash: [0; 32],
        ..cut.head()
    };
    assert!(!whole.chain.contains(&other));
}

#[test]
fn records_after_a_version_complete_an_older_chain() {
    let whole = storied().chain;
    let mut older = Chain::verify(whole.records().take(3)).unwrap();
    for record in whole.records_after(older.head().version) {
        older.append(record).unwrap();
    }
    assert_eq!(older, whole);
    assert_eq!(whole.records_after(whole.head().version).count(), 0);
    assert_eq!(whole.records_after(ListVersion(u32::MAX)).count(), 0);
}

#[test]
fn the_second_of_two_concurrent_appends_is_told_apart_from_a_gap() {
    let mut owner = Owner::new(1);
    let (first, second) = (
        owner.certificate(subject(1, ALL), Validity::starting(NOW)),
        owner.certificate(subject(2, ALL), Validity::starting(NOW)),
    );
    owner.chain.append(first.as_bytes()).unwrap();
    let out_of_order = ChainError::OutOfOrder {
        expected: ListVersion(2),
        found: ListVersion(1),
    };
    assert_eq!(owner.chain.append(second.as_bytes()), Err(out_of_order));

    let mut fork = Owner::new(1);
    fork.chain.append(second.as_bytes()).unwrap();
    let third = fork.revocation(2);
    assert_eq!(owner.chain.append(third.as_bytes()), Err(ChainError::Forked));
}

#[test]
fn a_restored_chain_equals_the_verified_one() {
    let chain = storied().chain;
    assert_eq!(Chain::restore(chain.records()), Ok(chain));
}

#[test]
fn restoring_skips_the_signatures_and_nothing_else() {
    let mut records = storied().records();
    *records[5].last_mut().unwrap() ^= 1;
    assert!(Chain::restore(&records).is_ok());
    assert_eq!(Chain::verify(&records), Err(ChainError::Forged));
    records.swap(2, 3);
    assert!(Chain::restore(&records).is_err());
}
