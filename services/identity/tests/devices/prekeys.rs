//! Uploading prekeys and taking bundles: what is kept, what is refused, and what is given to whom.

use std::{collections::BTreeSet, time::Duration};

use unhidra_audit::Act;
use unhidra_chain::{Bundle, Capabilities, Expected, prekey::KemKind};
use unhidra_identity::{
    Caller,
    prekey::{ONE_TIME_BUNDLES_PER_HOUR, PrekeyError},
};
use unhidra_types::{DeviceId, Timestamp, limits::CERTIFICATE_TOLERANCE};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    rest::{Stock, TakeBundles, UploadPrekeys},
};

use crate::fixture::{DAY, HOME, NOW, Person, Phone, Server, Signer, after, one_time};

/// A change that spoils a correct upload.
type Spoil = fn(&mut UploadPrekeys);

/// Alice with one device and the caller that it makes, and Bob who wants to write to her.
struct Directory {
    server: Server,
    alice: Person,
    phone: Phone,
    bob: Caller,
}

impl Directory {
    async fn new() -> Self {
        let server = Server::new().await;
        let (alice, phone) = server.user_with_device(10).await;
        let (bob, bobs) = server.user_with_device(11).await;
        let bob = bob.with(&bobs, NOW);
        Self {
            server,
            alice,
            phone,
            bob,
        }
    }

    async fn upload(&self, upload: UploadPrekeys) -> Result<Stock, PrekeyError> {
        let caller = self.alice.with(&self.phone, NOW);
        let uploading = self
            .server
            .identity
            .upload_prekeys(&caller, self.phone.id, upload);
        uploading.await
    }

    /// A correct upload of the first generation.
    fn prekeys(&self, numbers: &[u32]) -> UploadPrekeys {
        self.alice.prekeys(&self.phone, 1, numbers)
    }

    /// That nothing is kept of an upload that is refused.
    async fn refusal(&self, upload: UploadPrekeys) -> PrekeyError {
        let before = (self.stock().await, self.server.acts().await);
        let refused = self.upload(upload).await.unwrap_err();
        let after = (self.stock().await, self.server.acts().await);
        assert_eq!(before, after, "a refused upload changed something");
        refused
    }

    async fn stock(&self) -> (u64, Vec<u32>, Vec<u32>) {
        let stock = self.server.identity.prekey_stock(self.phone.id, NOW).await;
        let stock = stock.unwrap();
        (stock.generation, stock.one_time, stock.one_time_kem)
    }

    async fn take(&self, caller: &Caller) -> Option<Bundle> {
        let mut taken = self.take_all(caller, vec![self.phone.id]).await.unwrap();
        let bundle = taken.remove(&self.phone.id)?;
        Some(Bundle::parse(&bundle.0).unwrap())
    }

    async fn take_all(
        &self,
        caller: &Caller,
        devices: Vec<DeviceId>,
    ) -> Result<std::collections::BTreeMap<DeviceId, Base64>, PrekeyError> {
        let body = TakeBundles { devices };
        let taken = self.server.identity.take_bundles(caller, self.alice.id, body);
        Ok(taken.await?.bundles)
    }
}

fn at(caller: &Caller, now: Timestamp) -> Caller {
    let mut caller = *caller;
    caller.context.now = now;
    caller
}

fn expected(phone: &Phone) -> Expected {
    Expected {
        device: phone.id,
        generation_floor: unhidra_chain::prekey::Generation(1),
        own: Capabilities::PQ,
    }
}

#[tokio::test]
async fn what_a_device_uploads_its_senders_verify() {
    let directory = Directory::new().await;
    let stock = directory.upload(directory.prekeys(&[5, 6])).await.unwrap();
    assert_eq!((stock.generation, stock.one_time), (1, vec![5, 6]));

    let taken = directory.take_all(&directory.bob, vec![directory.phone.id]).await;
    let Base64(bytes) = &taken.unwrap()[&directory.phone.id];
    assert_eq!(bytes.len(), Bundle::BYTES);
    let bundle = Bundle::parse(bytes).unwrap();
    let one_time_key = bundle.one_time.unwrap();
    let uploaded = one_time(one_time_key.id.to_u32());
    assert_eq!(*one_time_key.public.as_bytes(), uploaded.public.0);
    let verified = bundle.verify(&directory.alice.chain, &expected(&directory.phone), NOW);
    assert!(!verified.unwrap().is_last_resort());
    assert_eq!(directory.server.count(Act::PrekeysReplaced).await, 1);
}

#[tokio::test]
async fn a_device_without_pq_has_short_bundles() {
    let mut directory = Directory::new().await;
    let phone = Phone::classical(10, 2);
    directory.server.certify(&mut directory.alice, &phone).await;
    directory.phone = phone;
    directory.upload(directory.prekeys(&[5])).await.unwrap();
    let taken = directory.take_all(&directory.bob, vec![directory.phone.id]).await;
    let Base64(bytes) = &taken.unwrap()[&directory.phone.id];
    assert_eq!(bytes.len(), Bundle::CLASSICAL_BYTES);
    let bundle = Bundle::parse(bytes).unwrap();
    let verified = bundle.verify(&directory.alice.chain, &expected(&directory.phone), NOW);
    assert!(verified.is_ok(), "{verified:?}");
}

#[tokio::test]
async fn every_key_that_does_not_hold_is_refused() {
    let directory = Directory::new().await;
    directory.upload(directory.prekeys(&[1])).await.unwrap();
    let spoils: &[(&str, Spoil)] = &[
        ("forged signed prekey", |up| up.signed.signature.0[0] ^= 1),
        ("forged last resort", |up| {
            up.last_resort.as_mut().unwrap().signature.0[0] ^= 1;
        }),
        ("forged one-time kem key", |up| {
            up.one_time_kem[1].signature.0[0] ^= 1;
        }),
        ("swapped kem keys", |up| {
            std::mem::swap(up.last_resort.as_mut().unwrap(), &mut up.one_time_kem[0]);
        }),
        ("another date", |up| {
            up.signed.not_after = after(13 * DAY);
        }),
        ("another number", |up| up.signed.id ^= 2),
        ("number zero", |up| up.one_time[0].id = 0),
        ("kem number zero", |up| up.one_time_kem[0].id = 0),
        ("a number twice", |up| up.one_time[1] = up.one_time[0]),
        ("a number of two kinds", |up| up.one_time[0].id = up.signed.id),
        ("a number in stock", |up| up.one_time[0].id = 1),
        ("short key", |up| {
            up.signed.public.0.pop();
        }),
        ("short kem key", |up| {
            up.one_time_kem[0].public.0.pop();
        }),
        ("not canonical", |up| {
            up.one_time[0].public = Base64Array([0xff; 32])
        }),
        ("kem key out of range", |up| {
            up.one_time_kem[0].public.0[..3].fill(0xff);
        }),
        ("no last resort", |up| up.last_resort = None),
        ("another certificate", |up| up.cert_hash.0[0] ^= 1),
        ("a generation not signed", |up| up.generation = 2),
        ("generation zero", |up| up.generation = 0),
    ];
    for (name, spoil) in spoils {
        let mut upload = directory.prekeys(&[2, 3]);
        spoil(&mut upload);
        let refused = directory.refusal(upload).await;
        assert!(matches!(refused, PrekeyError::Refused), "{name}: {refused:?}");
    }
    directory.upload(directory.prekeys(&[2, 3])).await.unwrap();
}

#[tokio::test]
async fn keys_signed_by_another_device_are_refused() {
    let directory = Directory::new().await;
    let impostor = Phone {
        id: directory.phone.id,
        ..Phone::new(66, 6)
    };
    let keys = Signer::new(&directory.alice, &impostor, 1);
    let mut upload = directory.prekeys(&[]);
    upload.signed = keys.signed(9);
    assert!(matches!(directory.refusal(upload).await, PrekeyError::Refused));
    let mut upload = directory.prekeys(&[]);
    upload.last_resort = Some(keys.kem(KemKind::LastResort, 9));
    assert!(matches!(directory.refusal(upload).await, PrekeyError::Refused));
}

#[tokio::test]
async fn a_signed_key_ends_within_14_days_and_the_tolerance() {
    let directory = Directory::new().await;
    let latest = after(14 * DAY + CERTIFICATE_TOLERANCE);
    let too_late = latest.saturating_add(Duration::from_millis(1));
    let with_end = |not_after| {
        let mut keys = Signer::new(&directory.alice, &directory.phone, 1);
        keys.not_after = not_after;
        let upload = directory.prekeys(&[]);
        let (mut signed, mut resort, mut kem) = (upload.clone(), upload.clone(), upload);
        signed.signed = keys.signed(9);
        resort.last_resort = Some(keys.kem(KemKind::LastResort, 9));
        kem.one_time_kem = vec![keys.kem(KemKind::OneTime, 9)];
        [signed, resort, kem]
    };
    for end in [NOW, too_late] {
        for upload in with_end(end) {
            let refused = directory.refusal(upload).await;
            assert!(matches!(refused, PrekeyError::Refused), "{end:?}: {refused:?}");
        }
    }
    for upload in with_end(latest) {
        directory.upload(upload).await.unwrap();
    }
}

#[tokio::test]
async fn a_device_without_pq_has_no_kem_keys() {
    let mut directory = Directory::new().await;
    let phone = Phone::classical(10, 2);
    directory.server.certify(&mut directory.alice, &phone).await;
    directory.phone = phone;
    let keys = Signer::new(&directory.alice, &directory.phone, 1);
    let mut resort = directory.prekeys(&[]);
    resort.last_resort = Some(keys.kem(KemKind::LastResort, 9));
    let mut one_time = directory.prekeys(&[]);
    one_time.one_time_kem = vec![keys.kem(KemKind::OneTime, 9)];
    for upload in [resort, one_time] {
        assert!(matches!(directory.refusal(upload).await, PrekeyError::Refused));
    }
}

#[tokio::test]
async fn an_equal_generation_adds_a_higher_one_replaces_and_a_lower_one_is_refused() {
    let directory = Directory::new().await;
    let of = |generation, numbers: &[u32]| directory.alice.prekeys(&directory.phone, generation, numbers);
    directory.upload(of(3, &[1, 2])).await.unwrap();
    let added = directory.upload(of(3, &[4])).await.unwrap();
    assert_eq!((added.generation, added.one_time), (3, vec![1, 2, 4]));
    let replaced = directory.upload(of(5, &[2])).await.unwrap();
    assert_eq!((replaced.generation, replaced.one_time), (5, vec![2]));
    assert_eq!(replaced.one_time_kem.len(), 1);
    for generation in [3, 4] {
        let refused = directory.refusal(of(generation, &[9])).await;
        assert!(matches!(refused, PrekeyError::Refused), "{refused:?}");
    }
    assert_eq!(directory.server.count(Act::PrekeysReplaced).await, 2);
    assert_eq!(directory.server.count(Act::PrekeysAdded).await, 3);
}

#[tokio::test]
async fn a_generation_that_the_database_cannot_hold_is_refused() {
    let directory = Directory::new().await;
    let of = |generation| directory.alice.prekeys(&directory.phone, generation, &[1]);
    let largest = u64::MAX / 2;
    for generation in [largest + 1, u64::MAX] {
        assert!(matches!(
            directory.refusal(of(generation)).await,
            PrekeyError::Refused
        ));
    }
    directory.upload(of(largest)).await.unwrap();
    let bundle = directory.take(&directory.bob).await.unwrap();
    let verified = bundle.verify(&directory.alice.chain, &expected(&directory.phone), NOW);
    assert!(verified.is_ok(), "{verified:?}");
}

#[tokio::test]
async fn a_stock_is_bounded_whether_filled_at_once_or_bit_by_bit() {
    let directory = Directory::new().await;
    let mut curve = directory.prekeys(&[]);
    curve.one_time = (1..=101).map(one_time).collect();
    assert!(matches!(
        directory.refusal(curve.clone()).await,
        PrekeyError::TooMany
    ));
    curve.one_time.pop();
    let stock = directory.upload(curve.clone()).await.unwrap();
    assert_eq!(stock.one_time.len(), 100);
    curve.one_time = vec![one_time(200)];
    assert!(matches!(directory.refusal(curve).await, PrekeyError::TooMany));

    let keys = Signer::new(&directory.alice, &directory.phone, 1);
    let mut kem = directory.prekeys(&[]);
    kem.one_time_kem = (301..=351).map(|id| keys.kem(KemKind::OneTime, id)).collect();
    assert!(matches!(
        directory.refusal(kem.clone()).await,
        PrekeyError::TooMany
    ));
    kem.one_time_kem.pop();
    directory.upload(kem.clone()).await.unwrap();
    kem.one_time_kem = vec![keys.kem(KemKind::OneTime, 400)];
    assert!(matches!(directory.refusal(kem).await, PrekeyError::TooMany));
}

#[tokio::test]
async fn prekeys_under_a_replaced_certificate_are_refused() {
    let mut directory = Directory::new().await;
    let stale = directory.prekeys(&[1]);
    directory
        .server
        .certify(&mut directory.alice, &directory.phone)
        .await;
    assert!(matches!(directory.refusal(stale).await, PrekeyError::Refused));
    directory.upload(directory.prekeys(&[1])).await.unwrap();
}

#[tokio::test]
async fn two_takers_never_get_one_one_time_key() {
    let directory = Directory::new().await;
    let numbers: Vec<_> = (1..=30).collect();
    directory.upload(directory.prekeys(&numbers)).await.unwrap();
    let mut callers = Vec::new();
    for seed in 20..28 {
        let person = directory.server.user(seed, HOME).await;
        callers.push(person.with(&Phone::new(seed, 1), NOW));
    }
    let takes = callers
        .iter()
        .flat_map(|caller| (0..ONE_TIME_BUNDLES_PER_HOUR).map(move |_| caller))
        .map(|caller| directory.take(caller));
    let bundles: Vec<_> = futures_util::future::join_all(takes)
        .await
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(bundles.len(), 40, "a bundle is there when one-time keys are not");
    assert_eq!(directory.server.count(Act::BundlesTaken).await, 40);

    let curve: Vec<_> = bundles.iter().filter_map(|bundle| bundle.one_time).collect();
    let distinct: BTreeSet<_> = curve.iter().map(|key| key.id).collect();
    assert_eq!((curve.len(), distinct.len()), (30, 30));
    let kems: Vec<_> = bundles.iter().filter_map(|bundle| bundle.kem.as_ref()).collect();
    let spent: Vec<_> = kems.iter().filter(|kem| kem.kind == KemKind::OneTime).collect();
    let distinct: BTreeSet<_> = spent.iter().map(|kem| kem.id).collect();
    assert_eq!((kems.len(), spent.len(), distinct.len()), (40, 30, 30));
    assert_eq!(directory.stock().await, (1, vec![], vec![]));
}

#[tokio::test]
async fn beyond_five_an_hour_bundles_come_without_one_time_keys() {
    let directory = Directory::new().await;
    let numbers: Vec<_> = (1..=10).collect();
    directory.upload(directory.prekeys(&numbers)).await.unwrap();
    for _ in 0..5 {
        let bundle = directory.take(&directory.bob).await.unwrap();
        assert!(bundle.one_time.is_some());
    }
    let sixth = directory.take(&directory.bob).await.unwrap();
    assert_eq!(sixth.one_time, None);
    assert_eq!(sixth.kem.as_ref().map(|kem| kem.kind), Some(KemKind::LastResort));
    let verified = sixth.verify(&directory.alice.chain, &expected(&directory.phone), NOW);
    assert!(verified.unwrap().is_last_resort());
    assert_eq!(directory.stock().await.1.len(), 5);

    let later = at(&directory.bob, after(Duration::from_secs(3_600)));
    assert!(directory.take(&later).await.unwrap().one_time.is_some());
}

#[tokio::test]
async fn a_bundle_whose_signed_keys_are_out_of_date_is_not_given() {
    let directory = Directory::new().await;
    let mut short = Signer::new(&directory.alice, &directory.phone, 1);
    short.not_after = after(DAY);
    let mut upload = directory.prekeys(&[1]);
    upload.signed = short.signed(9);
    directory.upload(upload).await.unwrap();
    let take = |now| {
        let caller = at(&directory.bob, now);
        let directory = &directory;
        async move { directory.take(&caller).await }
    };
    assert!(take(after(DAY)).await.is_none());
    assert_eq!(directory.stock().await.1, [1], "nothing was spent");

    let mut upload = directory.prekeys(&[]);
    upload.last_resort = Some(short.kem(KemKind::LastResort, 9));
    directory.upload(upload).await.unwrap();
    assert!(
        take(after(DAY)).await.is_some(),
        "a one-time key stands in for the last resort"
    );
    assert!(take(after(DAY)).await.is_none());
}

#[tokio::test]
async fn bundles_are_given_of_the_named_users_devices_in_use_only() {
    let mut directory = Directory::new().await;
    let (bare, lost) = (Phone::new(10, 2), Phone::new(10, 3));
    directory.server.certify(&mut directory.alice, &bare).await;
    directory.server.certify(&mut directory.alice, &lost).await;
    directory.upload(directory.prekeys(&[1])).await.unwrap();
    let prekeys = directory.alice.prekeys(&lost, 1, &[1]);
    let caller = directory.alice.with(&lost, NOW);
    let identity = directory.server.identity.clone();
    identity
        .upload_prekeys(&caller, lost.id, prekeys.clone())
        .await
        .unwrap();
    directory.server.revoke(&mut directory.alice, &lost).await;
    let again = identity.upload_prekeys(&caller, lost.id, prekeys).await;
    assert!(matches!(again, Err(PrekeyError::Refused)));

    let (carol, carols) = directory.server.user_with_device(12).await;
    let prekeys = carol.prekeys(&carols, 1, &[1]);
    let caller = carol.with(&carols, NOW);
    identity
        .upload_prekeys(&caller, carols.id, prekeys)
        .await
        .unwrap();
    let unknown = DeviceId::from_bytes([99; 16]);
    let wanted = vec![directory.phone.id, bare.id, lost.id, carols.id, unknown];
    let taken = directory.take_all(&directory.bob, wanted).await.unwrap();
    assert_eq!(taken.into_keys().collect::<Vec<_>>(), [directory.phone.id]);
    let stock = identity.prekey_stock(carols.id, NOW).await.unwrap();
    assert_eq!(stock.one_time, [1], "another user's key was not spent");
}

#[tokio::test]
async fn a_request_names_32_devices_at_most_and_a_device_named_twice_counts_once() {
    let directory = Directory::new().await;
    directory.upload(directory.prekeys(&[1, 2])).await.unwrap();
    let devices = (0..33).map(|n| DeviceId::from_bytes([n; 16])).collect();
    let refused = directory.take_all(&directory.bob, devices).await;
    assert!(matches!(refused, Err(PrekeyError::TooMany)));
    let twice = vec![directory.phone.id; 2];
    directory.take_all(&directory.bob, twice).await.unwrap();
    assert_eq!(directory.stock().await.1.len(), 1);
}
