//! Own prekeys: one use, one set after the other, nothing kept past its age.

use core::time::Duration;
use std::{collections::BTreeSet, convert::Infallible};

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{TryCryptoRng, TryRng},
};
use unhidra_chain::{
    Capabilities,
    prekey::{Generation, KemKind, PrekeyId},
};
use unhidra_crypto::kem;
use unhidra_pair::{
    OpenError, PrekeyStore, StoredError,
    prekeys::{PRIVATE_LIFETIME, Prekey, ROTATION_AGE, Stock},
};
use unhidra_types::limits::{ONE_TIME_KEM_PREKEYS, ONE_TIME_PREKEYS};

use crate::network::{DAY, Device, START, Shelf, Two, User, rng};

fn device() -> Device {
    let mut rng = rng(1);
    User::new(&mut rng).device(Capabilities::PQ, &mut rng)
}

fn in_stock(device: &Device) -> Vec<PrekeyId> {
    let shelf = &device.stock;
    shelf
        .kem
        .iter()
        .map(|key| key.id)
        .chain(shelf.one_time.iter().map(|key| key.id))
        .collect()
}

#[test]
fn a_set_has_the_pools_and_the_standing_keys_of_the_specification() {
    let device = device();
    assert_eq!(device.prekeys.generation(), Generation(1));
    assert_eq!(device.stock.one_time.len(), ONE_TIME_PREKEYS);
    assert_eq!(device.stock.kem.len(), ONE_TIME_KEM_PREKEYS);
    assert_eq!(
        device.stock.standing.last_resort.as_ref().unwrap().kind,
        KemKind::LastResort
    );
    assert_eq!(
        device.prekeys.keys().len(),
        ONE_TIME_PREKEYS + ONE_TIME_KEM_PREKEYS + 2
    );
}

#[test]
fn a_device_without_pq_has_no_kem_keys() {
    let mut rng = rng(1);
    let device = User::new(&mut rng).device(Capabilities::NONE, &mut rng);
    assert!(device.stock.kem.is_empty() && device.stock.standing.last_resort.is_none());
}

/// Invariant 21.
#[test]
fn the_one_time_halves_are_named_for_erasure_and_the_last_resort_is_not() {
    let mut two = Two::new(2);
    let mail = two.send(0, b"with one-time keys");
    let accepted = two.open(&mail).unwrap().accepted.unwrap();
    assert_eq!((accepted.erase.len(), accepted.kem), (2, Some(KemKind::OneTime)));

    let mut two = Two::new(2);
    two.devices[1].stock.kem.clear();
    two.devices[1].stock.one_time.clear();
    let mail = two.send(0, b"exhausted");
    let accepted = two.open(&mail).unwrap().accepted.unwrap();
    assert_eq!(
        (accepted.erase.len(), accepted.kem),
        (0, Some(KemKind::LastResort))
    );
}

/// Invariant 21.
#[test]
fn a_one_time_key_serves_one_session_only() {
    let mut two = Two::new(3);
    let bundle = two.devices[1].bundle();
    let peer = two.devices[1].address();
    let mut mails = Vec::new();
    for _ in 0..2 {
        let verified = two.devices[0].verify(bundle.clone(), &two.users[1].chain, two.now);
        let sessions = two.devices[0].sessions(peer);
        let sessions = sessions
            .initiate(&two.devices[0].local, &verified, two.now, &mut two.rng)
            .unwrap();
        two.devices[0].store(&sessions);
        mails.push(two.send(0, b"text"));
    }
    two.deliver(&mails[0]).unwrap();
    assert_eq!(two.deliver(&mails[1]), Err(OpenError::UnknownPrekey));
}

#[test]
fn pools_are_refilled_below_forty_percent_and_not_before() {
    let device = device();
    let enough = Stock::Sound {
        one_time: 40,
        kem: 20,
    };
    let refill = |stock| {
        device
            .prekeys
            .refill(&stock, &device.publisher(), START, &mut rng(2))
    };
    assert!(refill(enough).is_none());
    let new = refill(Stock::Sound {
        one_time: 39,
        kem: 20,
    })
    .unwrap();
    assert_eq!((new.upload.one_time.len(), new.upload.kem.len()), (61, 0));
    assert_eq!(new.upload.generation, Generation(1));
    assert!(new.upload.standing.is_none());
    let new = refill(Stock::Sound {
        one_time: 40,
        kem: 19,
    })
    .unwrap();
    assert_eq!((new.upload.one_time.len(), new.upload.kem.len()), (0, 31));
}

#[test]
fn a_week_old_set_is_replaced_and_its_private_halves_wait_for_the_backlog() {
    let device = device();
    let week = START.saturating_add(ROTATION_AGE);
    assert!(!device.prekeys.replacement_due(START));
    assert!(device.prekeys.replacement_due(week));
    let new = device.prekeys.replace(&device.publisher(), week, &mut rng(2));
    assert_eq!(new.store.generation(), Generation(2));
    assert!(!new.store.replacement_due(week));
    let old: Vec<_> = device.prekeys.keys().map(Prekey::id).collect();
    assert_eq!(new.store.keys().len(), 2 * old.len());
    let month = START.saturating_add(PRIVATE_LIFETIME);
    let last_moment = month.saturating_sub(Duration::from_millis(1));
    assert_eq!(new.store.dead(last_moment).count(), 0);
    let dead: BTreeSet<_> = new.store.dead(month).collect();
    assert_eq!(dead, old.iter().copied().collect());
    assert_eq!(new.store.without(&old).keys().len(), old.len());
}

#[test]
fn the_oldest_keys_are_the_surplus() {
    let device = device();
    let old: BTreeSet<_> = device.prekeys.keys().map(Prekey::id).collect();
    let later = START.saturating_add(DAY);
    let both = device
        .prekeys
        .replace(&device.publisher(), later, &mut rng(2))
        .store;
    let surplus = |keep| both.surplus(keep).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(surplus(old.len()), old);
    assert_eq!(both.surplus(both.keys().len()), []);
    assert_eq!(surplus(0).len(), both.keys().len());
    assert!(surplus(2 * old.len() - 1).is_subset(&old));
}

/// Gives the number of a key that is held, then others.
struct Repeating(Option<u32>, ChaCha20Rng);

impl TryRng for Repeating {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.take().map_or_else(|| self.1.try_next_u32(), Ok)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.1.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.1.try_fill_bytes(bytes)
    }
}

impl TryCryptoRng for Repeating {}

#[test]
fn no_number_is_given_twice() {
    let device = device();
    for held in device.prekeys.keys().map(Prekey::id).take(2) {
        let mut rng = Repeating(Some(held.to_u32()), rng(2));
        let new = device.prekeys.replace(&device.publisher(), START, &mut rng);
        assert_eq!(new.store.keys().len(), 2 * device.prekeys.keys().len());
        assert_eq!(
            new.store.without(&[held]).keys().len() + 1,
            new.store.keys().len()
        );
    }
}

#[test]
fn a_server_that_offers_a_spent_key_or_another_generation_was_restored() {
    let device = device();
    let ids = in_stock(&device);
    let sound = Stock::Sound {
        one_time: ONE_TIME_PREKEYS,
        kem: ONE_TIME_KEM_PREKEYS,
    };
    assert_eq!(device.prekeys.compare(Generation(1), &ids), sound);
    assert_eq!(device.prekeys.compare(Generation(2), &ids), Stock::Restored);
    let spent = device.prekeys.without(&ids[..1]);
    assert_eq!(spent.compare(Generation(1), &ids), Stock::Restored);
    assert_eq!(
        spent.compare(Generation(1), &ids[1..]),
        Stock::Sound {
            one_time: ONE_TIME_PREKEYS,
            kem: ONE_TIME_KEM_PREKEYS - 1
        }
    );
}

/// Invariant 15.
#[test]
fn a_store_comes_back_from_its_rows_and_damaged_rows_are_refused() {
    let device = device();
    let rows: Vec<_> = device.prekeys.keys().map(Prekey::to_bytes).collect();
    assert_eq!(
        PrekeyStore::restore(Generation(1), &rows),
        Ok(device.prekeys.clone())
    );
    let row = &rows[0];
    for length in 0..row.len() {
        assert!(Prekey::from_bytes(&row[..length]).is_err(), "{length} bytes");
    }
    assert!(Prekey::from_bytes(&[row.as_slice(), &[0]].concat()).is_err());
    let mut other_version = row.clone();
    other_version[0] = 2;
    assert_eq!(
        Prekey::from_bytes(&other_version),
        Err(StoredError::UnknownVersion)
    );
    assert_eq!(
        PrekeyStore::restore(Generation(1), [row, row]),
        Err(StoredError::Malformed)
    );
}

#[test]
fn a_message_to_the_set_before_still_opens() {
    let mut two = Two::new(4);
    let mail = two.send(0, b"to the old set");
    let new = two.devices[1]
        .prekeys
        .replace(&two.devices[1].publisher(), two.now, &mut two.rng);
    two.devices[1].prekeys = new.store;
    two.devices[1].stock = Shelf::new(new.upload);
    assert!(two.deliver(&mail).is_ok());
}

#[test]
fn kem_keys_are_published_with_their_own_private_half() {
    let device = device();
    let published = &device.stock.kem[0];
    let row = device
        .prekeys
        .keys()
        .find(|key| key.id() == published.id)
        .unwrap()
        .to_bytes();
    let seed = unhidra_types::Secret::<64>::try_from(&row[22..]).unwrap();
    assert_eq!(
        kem::DecapsulationKey::from_seed(&seed).encapsulation_key(),
        published.public
    );
}
