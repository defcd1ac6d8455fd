//! Stocks of prekeys: each one-time key once, and no more than a quota.

use std::collections::BTreeSet;

use unhidra_store::{
    StoreError,
    prekey::{OneTime, OneTimeKind, PrekeySet, QUOTA_WINDOW},
};
use unhidra_types::UserId;

use crate::fixture::{ALICE, BOB, Fixture, HOME, LAPTOP, NOW, PHONE, after, one_time, prekey_set};

#[tokio::test]
async fn two_takers_never_get_one_one_time_key() {
    let fixture = Fixture::new().await;
    for kind in [OneTimeKind::Curve, OneTimeKind::Kem] {
        assert!(fixture.stock(PHONE, kind, 1..=20).await);
        let takes = (0..30).map(|_| {
            fixture
                .store
                .write(move |tx| tx.take_one_time_prekey(PHONE, kind, NOW))
        });
        let taken = futures_util::future::try_join_all(takes).await.unwrap();
        let keys: Vec<_> = taken.into_iter().flatten().collect();
        let distinct: BTreeSet<_> = keys.iter().collect();
        assert_eq!((keys.len(), distinct.len()), (20, 20), "{kind:?}");
        assert!(fixture.ids(PHONE, kind, NOW).await.is_empty());
    }
}

#[tokio::test]
async fn a_key_taken_by_an_act_that_fails_stays_in_stock() {
    let fixture = Fixture::new().await;
    assert!(fixture.stock(PHONE, OneTimeKind::Curve, 1..=1).await);
    let failed = fixture.store.write(|tx| {
        assert!(tx.take_one_time_prekey(PHONE, OneTimeKind::Curve, NOW)?.is_some());
        Err::<(), _>(StoreError::Corrupt("on purpose"))
    });
    assert!(failed.await.is_err());
    assert_eq!(fixture.ids(PHONE, OneTimeKind::Curve, NOW).await, [1]);
}

#[tokio::test]
async fn a_spent_key_does_not_come_back_after_reopening() {
    let fixture = Fixture::new().await;
    assert!(fixture.stock(PHONE, OneTimeKind::Curve, 1..=2).await);
    let take = fixture
        .store
        .write(|tx| tx.take_one_time_prekey(PHONE, OneTimeKind::Curve, NOW));
    assert_eq!(take.await.unwrap(), Some(1_u32.to_be_bytes().to_vec()));
    let (store, _folder) = fixture.reopened().await;
    let left = store.read(|db| db.one_time_prekeys(PHONE, OneTimeKind::Curve, NOW));
    assert_eq!(left.await.unwrap(), [2]);
}

#[tokio::test]
async fn kinds_and_devices_have_stocks_of_their_own() {
    let fixture = Fixture::new().await;
    assert!(fixture.stock(PHONE, OneTimeKind::Curve, 1..=2).await);
    assert!(fixture.stock(PHONE, OneTimeKind::Kem, 1..=1).await);
    assert!(fixture.stock(LAPTOP, OneTimeKind::Curve, 1..=3).await);
    let act = fixture.store.write(|tx| {
        tx.take_one_time_prekey(PHONE, OneTimeKind::Kem, NOW)?;
        tx.take_one_time_prekey(PHONE, OneTimeKind::Kem, NOW)
    });
    assert_eq!(act.await.unwrap(), None);
    assert_eq!(fixture.ids(PHONE, OneTimeKind::Curve, NOW).await, [1, 2]);
    assert_eq!(fixture.ids(LAPTOP, OneTimeKind::Curve, NOW).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_key_past_its_use_is_neither_listed_nor_given() {
    let fixture = Fixture::new().await;
    let key = OneTime {
        not_after: Some(after(10)),
        ..one_time(OneTimeKind::Kem, 1)
    };
    let act = fixture.store.write(move |tx| {
        tx.keep_prekey_set(PHONE, HOME, &prekey_set(1))?;
        tx.stock_prekeys(PHONE, &[key])
    });
    assert!(act.await.unwrap());
    assert_eq!(fixture.ids(PHONE, OneTimeKind::Kem, after(9)).await, [1]);
    assert!(fixture.ids(PHONE, OneTimeKind::Kem, after(10)).await.is_empty());
    let take = fixture
        .store
        .write(|tx| tx.take_one_time_prekey(PHONE, OneTimeKind::Kem, after(10)));
    assert_eq!(take.await.unwrap(), None);
}

#[tokio::test]
async fn a_number_in_stock_is_not_stocked_again() {
    let fixture = Fixture::new().await;
    assert!(fixture.stock(PHONE, OneTimeKind::Curve, 1..=3).await);
    assert!(!fixture.stock(PHONE, OneTimeKind::Curve, 3..=5).await);
}

#[tokio::test]
async fn a_set_is_replaced_as_a_whole_and_revocation_leaves_no_key() {
    let fixture = Fixture::new().await;
    assert!(fixture.stock(PHONE, OneTimeKind::Curve, 1..=3).await);
    let replacement = PrekeySet {
        last_resort: None,
        ..prekey_set(2)
    };
    let expected = replacement.clone();
    let act = fixture.store.write(move |tx| {
        tx.keep_prekey_set(PHONE, HOME, &replacement)?;
        tx.forget_one_time_prekeys(PHONE)?;
        tx.stock_prekeys(PHONE, &[one_time(OneTimeKind::Curve, 3)])?;
        tx.prekey_set(PHONE)
    });
    assert_eq!(act.await.unwrap(), Some(expected));
    assert_eq!(fixture.ids(PHONE, OneTimeKind::Curve, NOW).await, [3]);
    let act = fixture.store.write(|tx| {
        tx.revoke_device(PHONE, after(1))?;
        tx.prekey_set(PHONE)
    });
    assert_eq!(act.await.unwrap(), None);
    assert!(fixture.ids(PHONE, OneTimeKind::Curve, NOW).await.is_empty());
}

#[tokio::test]
async fn no_hour_has_more_than_five_bundles_wherever_it_begins() {
    let fixture = Fixture::new().await;
    assert!(fixture.count_bundle(BOB, PHONE, after(0)).await);
    for second in 3_596..3_600 {
        assert!(fixture.count_bundle(BOB, PHONE, after(second)).await);
    }
    assert!(!fixture.count_bundle(BOB, PHONE, after(3_599)).await);
    assert!(
        fixture.count_bundle(BOB, PHONE, after(3_600)).await,
        "the first is an hour ago"
    );
    assert!(
        !fixture.count_bundle(BOB, PHONE, after(3_601)).await,
        "four of the last hour and the one just taken"
    );
}

#[tokio::test]
async fn a_quota_is_for_one_requester_and_one_device() {
    let fixture = Fixture::new().await;
    for _ in 0..5 {
        assert!(fixture.count_bundle(BOB, PHONE, NOW).await);
    }
    assert!(!fixture.count_bundle(BOB, PHONE, NOW).await);
    assert!(fixture.count_bundle(BOB, LAPTOP, NOW).await);
    assert!(fixture.count_bundle(ALICE, PHONE, NOW).await);
}

#[tokio::test]
async fn a_quota_holds_against_requests_at_once() {
    let fixture = Fixture::new().await;
    let counts = (0..40).map(|_| fixture.count_bundle(BOB, PHONE, NOW));
    let granted = futures_util::future::join_all(counts).await;
    assert_eq!(granted.iter().filter(|granted| **granted).count(), 5);
}

#[tokio::test]
async fn counts_that_no_longer_matter_are_deleted() {
    let fixture = Fixture::new().await;
    for user in 0..50 {
        let requester = UserId::from_bytes([user; 16]);
        assert!(fixture.count_bundle(requester, PHONE, NOW).await);
    }
    assert_eq!(fixture.rows("bundle_taken").await, 50);
    let later = NOW.saturating_add(QUOTA_WINDOW);
    assert!(fixture.count_bundle(BOB, PHONE, later).await);
    let forget = fixture.store.write(move |tx| tx.forget_bundle_counts(later));
    forget.await.unwrap();
    assert_eq!(fixture.rows("bundle_taken").await, 1);
}
