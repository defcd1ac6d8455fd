//! Names, passwords, invitations, and what an account keeps.

use unhidra_store::{StoreError, account::Naming, invitation::Invitation};
use unhidra_types::{InvitationId, UserId};

use crate::fixture::{ALICE, AWAY, BOB, Fixture, HOME, NOW, PHONE, TOKEN, account, after, invitation, open};

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
async fn a_database_of_an_earlier_version_is_brought_up_to_date_with_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = rusqlite::Connection::open(folder.path().join("test.db")).unwrap();
    earlier
        .execute_batch(include_str!("../../migrations/0001_log.sql"))
        .unwrap();
    earlier
        .execute_batch(include_str!("../../migrations/0002_identity.sql"))
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
