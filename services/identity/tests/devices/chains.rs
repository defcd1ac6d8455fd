//! Appending to a chain: what is refused, and what takes effect with it.

use unhidra_audit::Act;
use unhidra_chain::{ChainError, Genesis};
use unhidra_identity::{
    caller::AuthenticateError,
    device_chain::{ExtendError, PAGE_RECORDS},
};
use unhidra_store::{Event, conversation::Kind};
use unhidra_types::{ConversationId, DeviceId};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    rest::ExtendChain,
};

use crate::fixture::{AWAY, HOME, NOW, Person, Phone, Server, context};

async fn refusal(server: &Server, person: &Person, upload: ExtendChain) -> ExtendError {
    let before = (server.head(person.id).await, server.acts().await);
    server.events();
    let extended = server.identity.extend_chain(&person.enrolling(), upload).await;
    let after = (server.head(person.id).await, server.acts().await);
    assert_eq!(before, after, "a refused upload changed something");
    assert!(server.events().is_empty(), "a refused upload told someone");
    extended.unwrap_err()
}

#[tokio::test]
async fn a_first_upload_begins_the_chain_and_everything_with_it() {
    let server = Server::new().await;
    let mut alice = server.user(10, HOME).await;
    let phone = Phone::new(10, 1);
    let upload = alice.first_upload(&phone);
    server.events();
    let head = server
        .identity
        .extend_chain(&alice.enrolling(), upload)
        .await
        .unwrap();
    assert_eq!((head.version, head.hash.0), (1, alice.chain.head().hash));

    let stored = server.identity.chain(alice.id, 0).await.unwrap().unwrap();
    let records: Vec<_> = stored.records.iter().map(|Base64(record)| record).collect();
    assert_eq!(records, alice.chain.records().collect::<Vec<_>>());
    let recovery = server.identity.recovery(alice.id).await.unwrap().unwrap();
    assert_eq!(recovery.wrapped.0, alice.wrapped());
    let device = server.device(phone.id).await.unwrap();
    assert_eq!(
        (device.user, device.name, device.certified.dsk),
        (alice.id, phone.name, *phone.dsk.verifying_key().as_bytes())
    );
    assert!(matches!(
        server.events().as_slice(),
        [Event::ListChanged { user, version: 1, head_hash }]
            if *user == alice.id && *head_hash == alice.chain.head().hash
    ));
    assert_eq!(server.count(Act::ChainBegun).await, 1);
    assert_eq!(server.count(Act::DeviceCertified).await, 1);
}

#[tokio::test]
async fn a_first_upload_needs_a_certificate_and_a_wrap_of_its_own_genesis() {
    let server = Server::new().await;
    let mut alice = server.user(10, HOME).await;
    let whole = alice.first_upload(&Phone::new(10, 1));

    let alone = ExtendChain {
        records: whole.records.iter().take(1).cloned().collect(),
        proofs: Vec::new(),
        ..whole.clone()
    };
    assert!(matches!(
        refusal(&server, &alice, alone).await,
        ExtendError::Malformed
    ));
    let short = alice.wrapped().split_last().unwrap().1.to_vec();
    let long = [alice.wrapped(), vec![0]].concat();
    let (mut version, mut genesis) = (alice.wrapped(), alice.wrapped());
    version[0] = 2;
    genesis[1] ^= 1;
    for wrap in [None, Some(short), Some(long), Some(version), Some(genesis)] {
        let upload = ExtendChain {
            recovery: wrap.map(Base64),
            ..whole.clone()
        };
        assert!(matches!(
            refusal(&server, &alice, upload).await,
            ExtendError::Recovery
        ));
    }
    server
        .identity
        .extend_chain(&alice.enrolling(), whole)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_chain_that_does_not_begin_with_the_callers_genesis_is_refused() {
    let server = Server::new().await;
    let alice = server.user(10, HOME).await;
    let mut bob = server.user(11, HOME).await;
    let upload = bob.first_upload(&Phone::new(11, 1));
    assert!(matches!(
        refusal(&server, &alice, upload.clone()).await,
        ExtendError::OtherUser
    ));
    let mut headless = upload;
    headless.records.reverse();
    assert!(matches!(
        refusal(&server, &bob, headless).await,
        ExtendError::Chain(ChainError::NoGenesis)
    ));
}

#[tokio::test]
async fn a_wrap_comes_with_a_genesis_only() {
    let server = Server::new().await;
    let (mut alice, _) = server.user_with_device(10).await;
    let phone = Phone::new(10, 2);
    let mut upload = alice.upload(|alice| alice.certificate(&phone), &[&phone]);
    upload.recovery = Some(Base64(alice.wrapped()));
    assert!(matches!(
        refusal(&server, &alice, upload).await,
        ExtendError::Recovery
    ));
}

#[tokio::test]
async fn a_stale_expectation_is_told_the_current_head() {
    let server = Server::new().await;
    let (mut alice, _) = server.user_with_device(10).await;
    let phone = Phone::new(10, 2);
    let upload = alice.upload(|alice| alice.certificate(&phone), &[&phone]);
    for expected in [0, 1, 3, u32::MAX] {
        let stale = ExtendChain {
            expected,
            ..upload.clone()
        };
        let ExtendError::Conflict(Some(head)) = refusal(&server, &alice, stale).await else {
            panic!("{expected} is not the length");
        };
        assert_eq!((head.version, head.hash.0), (1, alice.chain.head().hash));
    }
    let mut bob = server.user(11, HOME).await;
    let early = bob.upload(|bob| bob.certificate(&phone), &[&phone]);
    assert!(matches!(
        refusal(&server, &bob, early).await,
        ExtendError::Conflict(None)
    ));
}

#[tokio::test]
async fn of_uploads_at_once_one_wins_and_the_others_learn_its_head() {
    let server = Server::new().await;
    let (mut alice, _) = server.user_with_device(10).await;
    let phones: Vec<_> = (2..10).map(|number| Phone::new(10, number)).collect();
    let mut uploads = Vec::new();
    for phone in &phones {
        uploads.push(alice.upload(|alice| alice.certificate(phone), &[phone]));
    }
    let caller = alice.enrolling();
    let extending = uploads
        .into_iter()
        .map(|upload| server.identity.extend_chain(&caller, upload));
    let results = futures_util::future::join_all(extending).await;
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let [Ok(head)] = won.as_slice() else {
        panic!("{won:?}");
    };
    assert_eq!(head.version, 2);
    for loser in lost {
        let Err(ExtendError::Conflict(Some(current))) = loser else {
            panic!("{loser:?}");
        };
        assert_eq!(current, *head);
    }
    let devices = server.identity.devices(alice.id).await.unwrap().devices;
    assert_eq!(devices.len(), 2, "losers left no device behind");
}

#[tokio::test]
async fn of_two_first_uploads_at_once_one_begins_the_chain() {
    let server = Server::new().await;
    let mut alice = server.user(10, HOME).await;
    let mut twin = Person::new(10, HOME);
    let uploads = [
        alice.first_upload(&Phone::new(10, 1)),
        twin.first_upload(&Phone::new(10, 2)),
    ];
    let caller = alice.enrolling();
    let [one, other] = uploads.map(|upload| server.identity.extend_chain(&caller, upload));
    let (one, other) = tokio::join!(one, other);
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let lost = one.err().or(other.err()).unwrap();
    assert!(matches!(lost, ExtendError::Conflict(Some(_))), "{lost:?}");
    assert_eq!(server.count(Act::ChainBegun).await, 1);
}

#[tokio::test]
async fn a_record_that_the_user_did_not_sign_is_refused() {
    let server = Server::new().await;
    let (mut alice, _) = server.user_with_device(10).await;
    let mallory = Person::new(66, HOME);
    let phone = Phone::new(10, 2);
    let uik = std::mem::replace(&mut alice.uik, mallory.uik);
    let forged = alice.upload(|alice| alice.certificate(&phone), &[&phone]);
    alice.uik = uik;
    assert!(matches!(
        refusal(&server, &alice, forged).await,
        ExtendError::Chain(ChainError::Forged)
    ));
    let mut tampered = alice.upload(|alice| alice.certificate(&phone), &[&phone]);
    let last = tampered.records[0].0.last_mut().unwrap();
    *last ^= 1;
    assert!(matches!(
        refusal(&server, &alice, tampered).await,
        ExtendError::Chain(ChainError::Forged)
    ));
    let garbage = alice.upload(|_| Base64(vec![1, 2, 3]), &[]);
    assert!(matches!(
        refusal(&server, &alice, garbage).await,
        ExtendError::Chain(ChainError::Unreadable(_))
    ));
}

#[tokio::test]
async fn a_good_record_before_a_forged_one_does_not_count() {
    let server = Server::new().await;
    let (mut alice, _) = server.user_with_device(10).await;
    let (second, third) = (Phone::new(10, 2), Phone::new(10, 3));
    let mut upload = alice.upload(|alice| alice.certify(&second), &[&second, &third]);
    let Base64(mut forged) = alice.certificate(&third);
    *forged.last_mut().unwrap() ^= 1;
    upload.records.push(Base64(forged));
    assert!(matches!(
        refusal(&server, &alice, upload).await,
        ExtendError::Chain(ChainError::Forged)
    ));
    assert!(server.device(second.id).await.is_none());
}

#[tokio::test]
async fn a_second_genesis_does_not_replace_a_chain() {
    let server = Server::new().await;
    let (mut alice, _) = server.user_with_device(10).await;
    let mallory = Person::new(66, HOME);
    let genesis = Genesis::sign(&mallory.uik, alice.id, NOW, None);
    let upload = alice.upload(|_| Base64(genesis.as_bytes().to_vec()), &[]);
    assert!(matches!(
        refusal(&server, &alice, upload).await,
        ExtendError::Chain(ChainError::SecondGenesis)
    ));
}

#[tokio::test]
async fn a_new_device_proves_its_keys_and_a_renewed_one_need_not() {
    let server = Server::new().await;
    let (mut alice, first) = server.user_with_device(10).await;
    let phone = Phone::new(10, 2);
    let good = alice.upload(|alice| alice.certificate(&phone), &[&phone]);
    let mut forged = good.proofs[0].clone();
    forged.signature.0[0] ^= 1;
    let elses = Phone::new(10, 3).proof(&alice);
    let of_another_user = phone.proof(&Person::new(11, HOME));
    for proofs in [vec![], vec![forged], vec![elses], vec![of_another_user]] {
        let upload = ExtendChain {
            proofs,
            ..good.clone()
        };
        let error = refusal(&server, &alice, upload).await;
        assert!(
            matches!(error, ExtendError::Unproved(id) if id == phone.id),
            "{error:?}"
        );
    }
    let renewal = alice.upload(|alice| alice.certify(&first), &[]);
    let caller = alice.with(&first, NOW);
    server.identity.extend_chain(&caller, renewal).await.unwrap();
    let renewed = server.device(first.id).await.unwrap();
    assert_eq!(renewed.certified.certificate_hash, alice.certificate_hash(&first));
    assert_eq!(server.count(Act::CertificateRenewed).await, 1);
    assert_eq!(server.count(Act::DeviceCertified).await, 1);
}

#[tokio::test]
async fn a_device_name_has_1_to_64_characters_and_none_that_controls_hides_or_reorders() {
    let server = Server::new().await;
    let (mut alice, _) = server.user_with_device(10).await;
    let phone = Phone::new(10, 2);
    let mut upload = alice.upload(|alice| alice.certificate(&phone), &[&phone]);
    let names = [
        "",
        &"x".repeat(65),
        "line\nbreak",
        "\u{7f}",
        "\u{85}",
        "\u{202e}enohp",
        "a\u{200b}b",
    ]
    .map(str::to_owned);
    for name in names {
        upload.proofs[0].name = name;
        assert!(matches!(
            refusal(&server, &alice, upload.clone()).await,
            ExtendError::Malformed
        ));
    }
    upload.proofs[0].name = "\u{1f4f1}".repeat(64);
    server
        .identity
        .extend_chain(&alice.enrolling(), upload)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_upload_has_a_page_of_records_at_most_and_one_proof_for_a_device() {
    let server = Server::new().await;
    let (mut alice, _) = server.user_with_device(10).await;
    let phone = Phone::new(10, 2);
    let good = alice.upload(|alice| alice.certificate(&phone), &[&phone]);
    let pages = usize::try_from(PAGE_RECORDS).unwrap();
    let empty = ExtendChain {
        records: Vec::new(),
        proofs: Vec::new(),
        ..good.clone()
    };
    let long = ExtendChain {
        records: vec![good.records[0].clone(); pages + 1],
        ..good.clone()
    };
    let twice = ExtendChain {
        records: vec![good.records[0].clone(); 2],
        proofs: vec![good.proofs[0].clone(); 2],
        ..good
    };
    for upload in [empty, long, twice] {
        assert!(matches!(
            refusal(&server, &alice, upload).await,
            ExtendError::Malformed
        ));
    }
}

#[tokio::test]
async fn a_device_of_one_user_is_never_anothers() {
    let server = Server::new().await;
    let (_, taken) = server.user_with_device(10).await;
    let (mut bob, _) = server.user_with_device(11).await;
    let thief = Phone {
        id: taken.id,
        ..Phone::new(11, 2)
    };
    let upload = bob.upload(|bob| bob.certificate(&thief), &[&thief]);
    let error = refusal(&server, &bob, upload).await;
    assert!(
        matches!(error, ExtendError::DeviceTaken(id) if id == taken.id),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_revoked_device_never_returns() {
    let server = Server::new().await;
    let (mut alice, _) = server.user_with_device(10).await;
    let lost = Phone::new(10, 2);
    server.certify(&mut alice, &lost).await;
    server.revoke(&mut alice, &lost).await;
    let upload = alice.upload(|alice| alice.certificate(&lost), &[&lost]);
    let error = refusal(&server, &alice, upload).await;
    assert!(
        matches!(error, ExtendError::Chain(ChainError::Revoked(id)) if id == lost.id),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_user_has_as_many_devices_as_the_server_allows() {
    let server = Server::allowing(2).await;
    let (mut alice, _) = server.user_with_device(10).await;
    let second = Phone::new(10, 2);
    server.certify(&mut alice, &second).await;
    let third = Phone::new(10, 3);
    let upload = alice.upload(|alice| alice.certificate(&third), &[&third]);
    assert!(matches!(
        refusal(&server, &alice, upload).await,
        ExtendError::TooMany
    ));
    server.revoke(&mut alice, &second).await;
    server.certify(&mut alice, &third).await;
}

#[tokio::test]
async fn the_protocols_bound_on_devices_is_told_as_too_many() {
    let server = Server::new().await;
    let (mut alice, _) = server.user_with_device(10).await;
    let phones: Vec<_> = (2..=33).map(|number| Phone::new(10, number)).collect();
    let (last, rest) = phones.split_last().unwrap();
    let mut upload = alice.upload(|alice| alice.certify(&rest[0]), &rest.iter().collect::<Vec<_>>());
    for phone in &rest[1..] {
        upload.records.push(alice.certify(phone));
    }
    let caller = alice.enrolling();
    server.identity.extend_chain(&caller, upload).await.unwrap();
    let upload = alice.upload(|alice| alice.certificate(last), &[last]);
    assert!(matches!(
        refusal(&server, &alice, upload).await,
        ExtendError::TooMany
    ));
}

#[tokio::test]
async fn a_revocation_ends_the_devices_sessions_and_no_others() {
    let server = Server::new().await;
    let (mut alice, first) = server.user_with_device(10).await;
    let lost = Phone::new(10, 2);
    server.certify(&mut alice, &lost).await;
    let kept = server.begin_session(&alice, &first).await;
    let ended = server.begin_session(&alice, &lost).await;
    let caller = alice.with(&lost, NOW);
    let prekeys = alice.prekeys(&lost, 1, &[1, 2]);
    let uploading = server.identity.upload_prekeys(&caller, lost.id, prekeys);
    uploading.await.unwrap();
    server.events();

    server.revoke(&mut alice, &lost).await;

    let speaks = |token: &str| {
        let (identity, token) = (server.identity.clone(), token.to_owned());
        async move { identity.authenticate(&token, &context(NOW)).await }
    };
    assert!(speaks(kept.access_token.expose()).await.is_ok());
    assert!(matches!(
        speaks(ended.access_token.expose()).await,
        Err(AuthenticateError::Revoked)
    ));
    let events = server.events();
    assert!(
        matches!(
            events.as_slice(),
            [Event::DeviceRevoked(device), Event::ListChanged { version: 3, .. }] if *device == lost.id
        ),
        "{events:?}"
    );
    let stock = server.identity.prekey_stock(lost.id, NOW).await.unwrap();
    assert_eq!((stock.generation, stock.one_time.len()), (0, 0));
    let user = alice.id;
    let in_use = server.store.read(move |db| db.devices_in_use(user)).await;
    assert_eq!(in_use.unwrap(), [first.id]);
    assert_eq!(server.count(Act::DeviceRevoked).await, 1);
    assert_eq!(server.count(Act::SessionEnded).await, 1);
}

#[tokio::test]
async fn a_new_device_owes_nothing_of_older_conversations() {
    let server = Server::new().await;
    let (mut alice, _) = server.user_with_device(10).await;
    let (user, log) = (alice.id, ConversationId::from_bytes([7; 16]));
    let append = server.store.write(move |tx| {
        let opened = tx.open_conversation(log, HOME, Kind::Group, &[user], NOW)?;
        let entry = unhidra_store::entry::NewEntry {
            conversation: log,
            msg_id: unhidra_types::MsgId::from_bytes([1; 16]),
            sender: user,
            sender_device: DeviceId::from_bytes([1; 16]),
            dest: None,
            attempt: 0,
            server_time: NOW,
            recipients: unhidra_store::entry::Recipients::Members,
            body: vec![1].into(),
        };
        tx.append_entry(opened.log, &entry)
    });
    append.await.unwrap();
    let phone = Phone::new(10, 2);
    server.certify(&mut alice, &phone).await;
    let position = server
        .store
        .read(move |db| db.position(user, phone.id, log))
        .await;
    assert_eq!(position.unwrap().unwrap().acknowledged, 1);
}

#[tokio::test]
async fn a_chain_is_read_from_any_record_on_and_names_its_head() {
    let server = Server::new().await;
    let (mut alice, first) = server.user_with_device(10).await;
    server.certify(&mut alice, &first).await;
    let page = server.identity.chain(alice.id, 2).await.unwrap().unwrap();
    assert_eq!(page.records.len(), 1);
    assert_eq!(page.records[0].0, alice.chain.records().last().unwrap());
    let beyond = server.identity.chain(alice.id, 9).await.unwrap().unwrap();
    assert!(beyond.records.is_empty());
    assert_eq!(beyond.head.hash, Base64Array(alice.chain.head().hash));
    let bob = server.user(11, AWAY).await;
    assert!(server.identity.chain(bob.id, 0).await.unwrap().is_none());
    assert!(server.identity.recovery(bob.id).await.unwrap().is_none());
}
