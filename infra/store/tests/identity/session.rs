//! Sessions and enrolment: who speaks for a device, and until when.

use unhidra_store::{Event, StoreError, session::Session};

use crate::fixture::{ALICE, Fixture, HOME, LAPTOP, NOW, PHONE, account, after, device, open, session};

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
