//! Devices, their chains, and the channels that link new ones.

use unhidra_store::{StoreError, device::Certified, link::Direction};
use unhidra_types::Timestamp;

use crate::fixture::{ALICE, BOB, Fixture, HOME, LAPTOP, NOW, PHONE, account, after, channel, device};

#[tokio::test]
async fn a_revoked_device_is_listed_but_not_in_use_and_keeps_its_first_date() {
    let fixture = Fixture::new().await;
    let act = fixture.store.write(|tx| {
        tx.revoke_device(PHONE, after(1))?;
        tx.revoke_device(PHONE, after(2))?;
        Ok::<_, StoreError>((tx.devices_in_use(ALICE)?, tx.devices_of(ALICE)?))
    });
    let (in_use, all) = act.await.unwrap();
    assert_eq!(in_use, [LAPTOP]);
    let dates: Vec<_> = all.iter().map(|device| (device.id, device.revoked_at)).collect();
    assert_eq!(dates, [(PHONE, Some(after(1))), (LAPTOP, None)]);
}

#[tokio::test]
async fn a_device_identifier_is_never_given_twice() {
    let fixture = Fixture::new().await;
    let again = fixture.store.write(|tx| {
        tx.revoke_device(PHONE, after(1))?;
        tx.keep_device(&device(PHONE))
    });
    assert!(matches!(again.await, Err(StoreError::Sqlite(_))));
    let kept = fixture.store.read(|db| db.device(PHONE)).await.unwrap().unwrap();
    assert_eq!(kept, device(PHONE), "the failed act revoked nothing either");
}

#[tokio::test]
async fn a_renewal_takes_the_new_certificate_and_leaves_the_key() {
    let fixture = Fixture::new().await;
    let newer = Certified {
        capabilities: 0b1,
        dsk: [99; 32],
        certificate_hash: [10; 32],
        not_before: after(1),
        not_after: after(900),
    };
    let act = fixture.store.write(move |tx| {
        tx.renew_device(PHONE, &newer)?;
        tx.device_seen(PHONE, after(5))?;
        tx.device(PHONE)
    });
    let found = act.await.unwrap().unwrap();
    assert_eq!(
        found.certified,
        Certified {
            dsk: [8; 32],
            ..newer
        }
    );
    assert_eq!(found.last_seen_at, Some(after(5)));
}

#[tokio::test]
async fn a_chain_grows_at_its_end_only() {
    let fixture = Fixture::new().await;
    let extend = |length, records: Vec<Vec<u8>>, hash| {
        fixture
            .store
            .write(move |tx| tx.extend_chain(ALICE, HOME, length, &records, &hash))
    };
    extend(0, vec![vec![1], vec![2]], [2; 32]).await.unwrap();
    assert!(
        matches!(
            extend(1, vec![vec![9]], [9; 32]).await,
            Err(StoreError::Sqlite(_))
        ),
        "a number that is taken"
    );
    extend(2, vec![vec![3]], [3; 32]).await.unwrap();
    let head = fixture.store.read(|db| db.chain_head(ALICE)).await.unwrap();
    assert_eq!(head, Some((2, [3; 32])));
    let page = |from, limit| fixture.store.read(move |db| db.chain_records(ALICE, from, limit));
    assert_eq!(page(0, 9).await.unwrap(), [[1], [2], [3]]);
    assert_eq!(page(1, 1).await.unwrap(), [[2]]);
    assert_eq!(page(3, 9).await.unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(fixture.store.read(|db| db.chain_head(BOB)).await.unwrap(), None);
}

#[tokio::test]
async fn a_linking_channel_keeps_order_and_bound_in_each_direction() {
    let fixture = Fixture::new().await;
    let act = fixture.store.write(|tx| {
        let link = channel(50, ALICE, NOW);
        tx.open_link_channel(&link, NOW)?;
        let mut added = Vec::new();
        for number in 0..4 {
            added.push(tx.add_link_message(link.device, Direction::ToCertifier, &[number], 3)?);
        }
        added.push(tx.add_link_message(link.device, Direction::ToNewDevice, &[9], 3)?);
        let to_certifier = tx.link_messages(link.device, Direction::ToCertifier, 1)?;
        let to_new = tx.link_messages(link.device, Direction::ToNewDevice, 0)?;
        Ok::<_, StoreError>((added, to_certifier, to_new))
    });
    let (added, to_certifier, to_new) = act.await.unwrap();
    assert_eq!(added, [true, true, true, false, true]);
    assert_eq!(to_certifier, [[1], [2]]);
    assert_eq!(to_new, [[9]]);
}

#[tokio::test]
async fn a_linking_channel_is_opened_once_for_a_device() {
    let fixture = Fixture::new().await;
    let open = |opened_at| {
        fixture
            .store
            .write(move |tx| tx.open_link_channel(&channel(50, ALICE, opened_at), NOW))
    };
    open(NOW).await.unwrap();
    assert!(matches!(open(after(1)).await, Err(StoreError::Sqlite(_))));
    let kept = fixture
        .store
        .read(|db| db.link_channel(channel(50, ALICE, NOW).device))
        .await;
    assert_eq!(kept.unwrap(), Some(channel(50, ALICE, NOW)));
    let count = |user, since| fixture.store.read(move |db| db.link_channels_since(user, since));
    assert_eq!(count(ALICE, Timestamp::EPOCH).await.unwrap(), 1);
    assert_eq!(count(ALICE, NOW).await.unwrap(), 0);
    assert_eq!(count(BOB, Timestamp::EPOCH).await.unwrap(), 0);
}

#[tokio::test]
async fn a_forgotten_channel_takes_its_messages_along_whoever_opens_the_next() {
    let fixture = Fixture::new().await;
    let act = fixture.store.write(|tx| {
        tx.open_account(&account(BOB, HOME, "bob"), NOW)?;
        let old = channel(50, BOB, NOW);
        tx.open_link_channel(&old, NOW)?;
        tx.add_link_message(old.device, Direction::ToNewDevice, &[1], 8)?;
        tx.open_link_channel(&channel(51, ALICE, after(10)), after(5))?;
        tx.link_channel(old.device)
    });
    assert_eq!(act.await.unwrap(), None);
    assert_eq!(fixture.rows("link_message").await, 0);
    assert_eq!(fixture.rows("link_channel").await, 1);
}
