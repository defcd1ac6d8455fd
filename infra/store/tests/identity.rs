//! What the store promises about accounts, devices and their keys, on a real database in a temporary folder.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{collections::BTreeSet, path::Path, time::Duration};

use unhidra_store::{
    Event, Store, StoreError,
    account::{Account, Naming},
    device::{Certified, Device},
    invitation::Invitation,
    link::{Direction, LinkChannel},
    prekey::{Dated, OneTime, OneTimeKind, PrekeySet, QUOTA_WINDOW},
    session::Session,
};
use unhidra_types::{DeviceId, InvitationId, OrgId, Role, SessionId, Timestamp, UserId};

const HOME: OrgId = OrgId::from_bytes([1; 16]);
const AWAY: OrgId = OrgId::from_bytes([2; 16]);
const ALICE: UserId = UserId::from_bytes([3; 16]);
const BOB: UserId = UserId::from_bytes([4; 16]);
const PHONE: DeviceId = DeviceId::from_bytes([5; 16]);
const LAPTOP: DeviceId = DeviceId::from_bytes([6; 16]);
const TOKEN: [u8; 32] = [7; 32];
const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// The store with Alice in it, who has a phone and a laptop.
struct Fixture {
    store: Store,
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _feed) = open(folder.path());
        store
            .write(|tx| {
                tx.found_organisation(HOME, NOW)?;
                tx.found_organisation(AWAY, after(1))?;
                tx.open_account(&account(ALICE, HOME, "alice"), NOW)?;
                tx.keep_device(&device(PHONE))?;
                tx.keep_device(&device(LAPTOP))
            })
            .await
            .unwrap();
        Self { store, folder }
    }

    /// The same database, opened once more, after the first user of it has gone.
    async fn reopened(self) -> (Store, tempfile::TempDir) {
        self.store.close().await;
        (open(self.folder.path()).0, self.folder)
    }

    async fn stock(&self, device: DeviceId, kind: OneTimeKind, ids: std::ops::RangeInclusive<u32>) -> bool {
        let keys: Vec<_> = ids.map(|id| one_time(kind, id)).collect();
        self.store
            .write(move |tx| {
                tx.keep_prekey_set(device, HOME, &prekey_set(1))?;
                tx.stock_prekeys(device, &keys)
            })
            .await
            .unwrap()
    }

    async fn ids(&self, device: DeviceId, kind: OneTimeKind, now: Timestamp) -> Vec<u32> {
        self.store
            .read(move |db| db.one_time_prekeys(device, kind, now))
            .await
            .unwrap()
    }

    async fn count_bundle(&self, requester: UserId, device: DeviceId, now: Timestamp) -> bool {
        self.store
            .write(move |tx| tx.count_bundle(requester, device, 5, now))
            .await
            .unwrap()
    }

    async fn rows(&self, table: &'static str) -> u32 {
        self.store.write(|_| Ok::<_, StoreError>(())).await.unwrap();
        rusqlite::Connection::open(self.folder.path().join("test.db"))
            .unwrap()
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .unwrap()
    }
}

fn open(folder: &Path) -> (Store, unhidra_store::CommitFeed) {
    Store::open(&folder.join("test.db"), 2).unwrap()
}

fn after(seconds: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(seconds))
}

fn account(user: UserId, org: OrgId, name: &str) -> Account {
    Account {
        user,
        org,
        username: name.parse().unwrap(),
        role: Role::Member,
        password: "$argon2id$phc".to_owned(),
        disabled_at: None,
    }
}

fn device(id: DeviceId) -> Device {
    Device {
        id,
        user: ALICE,
        org: HOME,
        name: "phone".to_owned(),
        certified: Certified {
            capabilities: 0b11,
            dsk: [8; 32],
            certificate_hash: [9; 32],
            not_before: NOW,
            not_after: after(400),
        },
        created_at: NOW,
        last_seen_at: None,
        revoked_at: None,
    }
}

fn session(number: u8, device: DeviceId) -> Session {
    Session {
        id: SessionId::from_bytes([number; 16]),
        device,
        user: ALICE,
        org: HOME,
        created_at: NOW,
        refreshed_at: NOW,
        current_hash: [number; 32],
        previous_hash: None,
        current_token: vec![number; 60],
        ended_at: None,
        restored_at: None,
    }
}

fn invitation(expires_at: Timestamp) -> Invitation {
    Invitation {
        id: InvitationId::from_bytes([10; 16]),
        org: HOME,
        role: Role::Member,
        made_by: None,
        expires_at,
    }
}

fn prekey_set(generation: u64) -> PrekeySet {
    PrekeySet {
        generation,
        certificate_hash: [9; 32],
        signed: Dated {
            prekey: vec![1; 108],
            not_after: after(100),
        },
        last_resort: Some(Dated {
            prekey: vec![2; 1_261],
            not_after: after(200),
        }),
    }
}

fn one_time(kind: OneTimeKind, id: u32) -> OneTime {
    OneTime {
        kind,
        id,
        not_after: None,
        prekey: id.to_be_bytes().to_vec(),
    }
}

fn channel(number: u8, user: UserId, opened_at: Timestamp) -> LinkChannel {
    LinkChannel {
        device: DeviceId::from_bytes([number; 16]),
        user,
        org: HOME,
        opened_at,
    }
}

#[tokio::test]
async fn a_name_is_given_once_in_an_organisation_and_again_in_another() {
    let fixture = Fixture::new().await;
    let open = |user, org| {
        fixture
            .store
            .write(move |tx| tx.open_account(&account(user, org, "alice"), NOW))
    };
    let other = UserId::from_bytes([11; 16]);
    assert_eq!(open(BOB, HOME).await.unwrap(), Naming::Taken);
    assert_eq!(open(other, AWAY).await.unwrap(), Naming::Given);
    let name = "alice".parse().unwrap();
    let found = fixture
        .store
        .read(move |db| db.account_by_name(AWAY, &name))
        .await;
    assert_eq!(found.unwrap().unwrap().user, other);
    let org = fixture.store.read(|db| db.org_of(BOB)).await;
    assert_eq!(org.unwrap(), None, "the refused account does not exist");
}

#[tokio::test]
async fn the_home_organisation_is_the_oldest_and_survives_reopening() {
    let (store, _folder) = Fixture::new().await.reopened().await;
    let home = store.read(|db| db.home_organisation()).await.unwrap();
    assert_eq!(home, Some(HOME));
    assert!(store.read(|db| db.has_accounts()).await.unwrap());
}

#[tokio::test]
async fn a_password_is_replaced_only_while_it_is_the_one_that_was_checked() {
    let fixture = Fixture::new().await;
    let replace = |before: &'static str, new: &'static str| {
        fixture.store.write(move |tx| {
            tx.replace_password(ALICE, before, new)?;
            Ok::<_, StoreError>(tx.account(ALICE)?.unwrap().password)
        })
    };
    assert_eq!(replace("$stale", "$new").await.unwrap(), "$argon2id$phc");
    assert_eq!(replace("$argon2id$phc", "$new").await.unwrap(), "$new");
}

#[tokio::test]
async fn an_invitation_is_used_once_however_many_try_at_once() {
    let fixture = Fixture::new().await;
    let keep = fixture
        .store
        .write(|tx| tx.keep_invitation(&invitation(after(60)), &TOKEN, NOW));
    keep.await.unwrap();
    let uses = (20..40).map(|user| {
        fixture.store.write(move |tx| {
            let Some(open) = tx.open_invitation(&TOKEN, after(1))? else {
                return Ok::<_, StoreError>(false);
            };
            tx.spend_invitation(open.id, UserId::from_bytes([user; 16]), after(1))?;
            Ok(true)
        })
    });
    let used = futures_util::future::try_join_all(uses).await.unwrap();
    assert_eq!(used.iter().filter(|used| **used).count(), 1);
}

#[tokio::test]
async fn an_invitation_ends_at_its_date_and_is_known_by_its_token_alone() {
    let fixture = Fixture::new().await;
    let keep = fixture
        .store
        .write(|tx| tx.keep_invitation(&invitation(after(60)), &TOKEN, NOW));
    keep.await.unwrap();
    let open = |hash, now| fixture.store.read(move |db| db.open_invitation(&hash, now));
    assert_eq!(open(TOKEN, after(59)).await.unwrap(), Some(invitation(after(60))));
    assert_eq!(open(TOKEN, after(60)).await.unwrap(), None);
    assert_eq!(open([0; 32], NOW).await.unwrap(), None);
}

#[tokio::test]
async fn withdrawing_set_up_tokens_spares_what_someone_made() {
    let fixture = Fixture::new().await;
    let made = Invitation {
        id: InvitationId::from_bytes([12; 16]),
        made_by: Some(ALICE),
        ..invitation(after(60))
    };
    let act = fixture.store.write(move |tx| {
        tx.keep_invitation(&invitation(after(60)), &TOKEN, NOW)?;
        tx.keep_invitation(&made, &[12; 32], NOW)?;
        tx.withdraw_setup_tokens()?;
        Ok::<_, StoreError>((
            tx.open_invitation(&TOKEN, NOW)?,
            tx.open_invitation(&[12; 32], NOW)?,
        ))
    });
    let (setup, invited) = act.await.unwrap();
    assert_eq!(setup, None);
    assert_eq!(invited.unwrap().made_by, Some(ALICE));
}

#[tokio::test]
async fn a_renewed_session_knows_the_last_two_tokens_only() {
    let fixture = Fixture::new().await;
    let act = fixture.store.write(|tx| {
        tx.begin_session(&session(1, PHONE))?;
        let id = session(1, PHONE).id;
        tx.renew_session(id, &session(1, PHONE).current_hash, &[2; 32], &[2; 60], after(10))?;
        tx.renew_session(id, &[2; 32], &[3; 32], &[3; 60], after(20))?;
        tx.session(id)
    });
    let found = act.await.unwrap().unwrap();
    let expected = Session {
        current_hash: [3; 32],
        previous_hash: Some([2; 32]),
        current_token: vec![3; 60],
        refreshed_at: after(20),
        ..session(1, PHONE)
    };
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_session_ends_once_and_then_speaks_for_nobody() {
    let fixture = Fixture::new().await;
    let id = session(1, PHONE).id;
    let act = fixture.store.write(move |tx| {
        tx.begin_session(&session(1, PHONE))?;
        let speaker = tx.speaker(id)?;
        let ends = [tx.end_session(id, after(1))?, tx.end_session(id, after(2))?];
        Ok::<_, StoreError>((speaker, ends, tx.speaker(id)?, tx.session(id)?))
    });
    let (before, ends, speaker, found) = act.await.unwrap();
    assert_eq!(before.unwrap().device, PHONE);
    assert_eq!(ends, [true, false]);
    assert_eq!(speaker, None);
    assert_eq!(found.unwrap().ended_at, Some(after(1)), "the first end stays");
}

#[tokio::test]
async fn ending_a_devices_sessions_spares_other_devices_and_names_only_live_ones() {
    let fixture = Fixture::new().await;
    let act = fixture.store.write(|tx| {
        for (number, device) in [(1, PHONE), (2, PHONE), (3, LAPTOP)] {
            tx.begin_session(&session(number, device))?;
        }
        tx.end_session(session(1, PHONE).id, after(1))?;
        let ended = tx.end_sessions_of(PHONE, after(2))?;
        Ok::<_, StoreError>((ended, tx.speaker(session(3, LAPTOP).id)?))
    });
    let (ended, laptop) = act.await.unwrap();
    assert_eq!(ended, [session(2, PHONE).id]);
    assert!(laptop.is_some());
}

#[tokio::test]
async fn a_session_of_a_revoked_device_or_a_disabled_account_speaks_for_nobody() {
    let fixture = Fixture::new().await;
    let (phone, laptop) = (session(1, PHONE).id, session(2, LAPTOP).id);
    let act = fixture.store.write(move |tx| {
        tx.begin_session(&session(1, PHONE))?;
        tx.begin_session(&session(2, LAPTOP))?;
        tx.revoke_device(PHONE, after(1))?;
        let revoked = [tx.speaker(phone)?.is_some(), tx.speaker(laptop)?.is_some()];
        tx.disable_account(ALICE, after(2))?;
        Ok::<_, StoreError>((revoked, tx.speaker(laptop)?))
    });
    let (revoked, disabled) = act.await.unwrap();
    assert_eq!(revoked, [false, true]);
    assert_eq!(disabled, None);
}

#[tokio::test]
async fn disabling_an_account_ends_its_sessions_and_tells_their_connections() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut feed) = open(folder.path());
    let act = store.write(|tx| {
        tx.found_organisation(HOME, NOW)?;
        tx.open_account(&account(ALICE, HOME, "alice"), NOW)?;
        tx.keep_device(&device(PHONE))?;
        tx.begin_session(&session(1, PHONE))?;
        tx.disable_account(ALICE, after(2))
    });
    assert_eq!(act.await.unwrap(), [session(1, PHONE).id]);
    let events: Vec<_> = std::iter::from_fn(|| feed.try_recv().ok()).flatten().collect();
    assert!(
        matches!(events.as_slice(), [Event::SessionEnded(ended)] if *ended == session(1, PHONE).id),
        "{events:?}"
    );
    let ended = store.read(|db| db.session(session(1, PHONE).id)).await.unwrap();
    assert_eq!(ended.unwrap().ended_at, Some(after(2)));
}

#[tokio::test]
async fn an_enrolment_token_is_good_once_and_forgotten_when_it_has_ended() {
    let fixture = Fixture::new().await;
    let act = fixture.store.write(|tx| {
        let mut spend = |token: u8, now| tx.spend_enrolment(&[token; 32], after(600), now);
        Ok::<_, StoreError>([
            spend(1, after(0))?,
            spend(1, after(1))?,
            spend(2, after(1))?,
            spend(3, after(601))?,
        ])
    });
    assert_eq!(act.await.unwrap(), [true, false, true, true]);
    assert_eq!(fixture.rows("spent_enrolment").await, 1);
}

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

#[tokio::test]
async fn a_database_of_an_earlier_version_is_brought_up_to_date_with_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = rusqlite::Connection::open(folder.path().join("test.db")).unwrap();
    earlier
        .execute_batch(include_str!("../migrations/0001_log.sql"))
        .unwrap();
    earlier
        .execute_batch(include_str!("../migrations/0002_identity.sql"))
        .unwrap();
    earlier
        .execute("INSERT INTO organisation VALUES (?1, 1)", [HOME.as_bytes()])
        .unwrap();
    earlier.pragma_update(None, "user_version", 2).unwrap();
    drop(earlier);
    let (store, _feed) = open(folder.path());
    let home = store.read(|db| db.home_organisation()).await.unwrap();
    assert_eq!(home, Some(HOME));
    let counted = store.write(|tx| tx.count_bundle(BOB, PHONE, 5, NOW)).await;
    assert!(counted.unwrap());
}

#[tokio::test]
async fn a_wrapped_identity_replaces_the_one_before() {
    let fixture = Fixture::new().await;
    let act = fixture.store.write(|tx| {
        tx.keep_recovery(ALICE, HOME, &[1; 93], NOW)?;
        tx.keep_recovery(ALICE, HOME, &[2; 93], after(1))?;
        Ok::<_, StoreError>((tx.recovery(ALICE)?, tx.recovery(BOB)?))
    });
    assert_eq!(act.await.unwrap(), (Some(vec![2; 93]), None));
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

#[tokio::test]
async fn events_of_a_revocation_arrive_in_order_with_its_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut feed) = open(folder.path());
    let act = store.write(|tx| {
        tx.found_organisation(HOME, NOW)?;
        tx.open_account(&account(ALICE, HOME, "alice"), NOW)?;
        tx.keep_device(&device(PHONE))?;
        tx.begin_session(&session(1, PHONE))?;
        for ended in tx.end_sessions_of(PHONE, after(1))? {
            tx.emit(Event::SessionEnded(ended));
        }
        tx.revoke_device(PHONE, after(1))?;
        tx.emit(Event::DeviceRevoked(PHONE));
        Ok::<_, StoreError>(())
    });
    act.await.unwrap();
    let events = feed.recv().await.unwrap();
    assert!(
        matches!(
            events.as_slice(),
            [Event::SessionEnded(ended), Event::DeviceRevoked(PHONE)] if *ended == session(1, PHONE).id
        ),
        "{events:?}"
    );
}
