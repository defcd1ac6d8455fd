//! Administration, and the end of accounts.

use http::{Method, StatusCode};
use serde_json::json;
use unhidra_audit::Act;
use unhidra_store::Event;
use unhidra_wire::rest::{
    Account, Accounts, AllDevices, EndedSessions, Enrolment, Invitation, Invitations, OpeningFailure,
    ProblemCode, Role, Sessions, Tokens,
};

use super::{
    device::Person,
    world::{Answer, PASSWORD, World},
};

async fn act(world: &World, by: &Person, path: &str) -> Answer {
    world.call(Method::POST, path, Some(by.access()), None).await
}

#[tokio::test]
async fn disabling_an_account_ends_its_sessions_and_enabling_lets_it_log_in_again() {
    let (mut world, root, alice) = World::with_two().await;
    let session = alice.devices[0].tokens.as_ref().unwrap().session_id;
    world.events();
    let path = format!("/v1/admin/users/{}/disable", alice.user);
    for _ in 0..2 {
        assert_eq!(act(&world, &root, &path).await.status, StatusCode::NO_CONTENT);
    }
    assert!(matches!(world.events()[..], [Event::SessionEnded(ended)] if ended == session));
    assert_eq!(
        world.audited(Act::AccountDisabled).await,
        1,
        "doing it twice is one act"
    );
    assert_eq!(
        world.get("/v1/me", alice.access()).await.problem(),
        ProblemCode::Unauthenticated
    );
    assert_eq!(
        world.log_in("alice", PASSWORD).await.problem(),
        ProblemCode::Unauthenticated
    );

    let path = format!("/v1/admin/users/{}/enable", alice.user);
    assert_eq!(act(&world, &root, &path).await.status, StatusCode::NO_CONTENT);
    let enrolment: Enrolment = world.log_in("alice", PASSWORD).await.ok();
    let tokens: Tokens = alice.devices[0]
        .begin_session(&world, enrolment.enrol_token.expose())
        .await
        .created();
    assert_eq!(
        world.get("/v1/me", tokens.access_token.expose()).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_last_administrator_can_neither_be_disabled_nor_deleted() {
    let (world, root, alice) = World::with_two().await;
    let disable = format!("/v1/admin/users/{}/disable", root.user);
    let delete = json!({"password": PASSWORD});
    assert_eq!(
        act(&world, &root, &disable).await.problem(),
        ProblemCode::LastAdministrator
    );
    let refused = world.post("/v1/me/delete", Some(root.access()), &delete).await;
    assert_eq!(refused.problem(), ProblemCode::LastAdministrator);
    assert_eq!(
        act(&world, &alice, &disable).await.problem(),
        ProblemCode::Forbidden
    );

    let body = json!({"role": Role::SuperAdmin, "expires_in": 60});
    let invitation: Invitation = world
        .post("/v1/admin/invitations", Some(root.access()), body)
        .await
        .created();
    let second = world.open_account(invitation.token.expose(), "second").await;
    assert_eq!(
        act(&world, &second, &disable).await.status,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn lists_come_in_pages_that_hold_everything_once() {
    let (world, root, _) = World::with_two().await;
    for name in ["bob", "carol", "dave"] {
        world.member(&root, name).await;
    }
    let mut names = Vec::new();
    let mut path = "/v1/admin/users?limit=2".to_owned();
    loop {
        let page: Accounts = world.get(&path, root.access()).await.ok();
        assert!(page.users.len() <= 2);
        names.extend(page.users.iter().map(|user| user.username.to_string()));
        let Some(next) = page.next else { break };
        path = format!("/v1/admin/users?limit=2&after={next}");
    }
    // In the order of ids, which here are as old as each other.
    names.sort();
    assert_eq!(names, ["alice", "bob", "carol", "dave", "root"]);
    for limit in ["0", "257", "x"] {
        let refused = world
            .get(&format!("/v1/admin/users?limit={limit}"), root.access())
            .await;
        assert_eq!(refused.problem(), ProblemCode::Malformed, "{limit}");
    }
}

#[tokio::test]
async fn sessions_and_devices_are_listed_for_all_and_for_one_and_only_the_own_to_a_member() {
    let (world, root, alice) = World::with_two().await;
    let all: Sessions = world.get("/v1/admin/sessions", root.access()).await.ok();
    assert_eq!(all.sessions.len(), 2);
    let path = format!("/v1/admin/sessions?user={}", alice.user);
    let one: Sessions = world.get(&path, root.access()).await.ok();
    let own: Sessions = world.get("/v1/sessions", alice.access()).await.ok();
    assert_eq!(own.sessions.len(), 1);
    assert_eq!(one.sessions[0].session_id, own.sessions[0].session_id);
    assert_eq!(own.sessions[0].username.as_str(), "alice");
    let path = format!("/v1/admin/devices?user={}", alice.user);
    let devices: AllDevices = world.get(&path, root.access()).await.ok();
    assert_eq!(devices.devices[0].device_id, alice.devices[0].id);
    assert_eq!(
        world.get("/v1/admin/sessions", alice.access()).await.problem(),
        ProblemCode::Forbidden
    );
}

#[tokio::test]
async fn what_a_device_could_not_open_is_shown_to_administrators_and_told_by_that_device_alone() {
    let (world, root, alice) = World::with_two().await;
    let path = format!("/v1/devices/{}/failures", alice.devices[0].id);
    let report = async |by: &Person, body| {
        world
            .call(Method::PUT, &path, Some(by.access()), Some(body))
            .await
    };
    for counts in [json!({"bad_tag": 1, "no_session": 7}), json!({"bad_tag": 3})] {
        let taken = report(&alice, json!({"counts": counts})).await;
        assert_eq!(taken.status, StatusCode::NO_CONTENT);
    }
    let by_another = report(&root, json!({"counts": {}})).await;
    assert_eq!(by_another.problem(), ProblemCode::Forbidden);
    for malformed in [
        json!({"counts": {"bad_luck": 1}}),
        json!({"counts": {"bad_tag": -1}}),
    ] {
        assert_eq!(report(&alice, malformed).await.problem(), ProblemCode::Malformed);
    }
    let listed: AllDevices = world.get("/v1/admin/devices", root.access()).await.ok();
    for device in listed.devices {
        let expected: &[_] = if device.device_id == alice.devices[0].id {
            &[(OpeningFailure::BadTag, 3)]
        } else {
            &[]
        };
        assert_eq!(device.failures_at.is_some(), !expected.is_empty());
        assert_eq!(device.failures.into_iter().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_refused_device_gets_no_session_until_it_is_allowed_and_stays_on_its_list() {
    let (mut world, root, alice) = World::with_two().await;
    let device = &alice.devices[0];
    world.events();
    let path = format!("/v1/admin/devices/{}/revoke-sessions", device.id);
    let ended: EndedSessions = act(&world, &root, &path).await.ok();
    assert_eq!(ended.ended, 1);
    assert!(matches!(world.events()[..], [Event::SessionEnded(_)]));
    let refreshed = device.refresh(&world, &device.refresh_token()).await;
    assert_eq!(refreshed.problem(), ProblemCode::Unauthenticated);
    let enrolment: Enrolment = world.log_in("alice", PASSWORD).await.ok();
    let refused = device.begin_session(&world, enrolment.enrol_token.expose()).await;
    assert_eq!(refused.problem(), ProblemCode::DeviceRefused);
    let listed: AllDevices = world.get("/v1/admin/devices", root.access()).await.ok();
    let listed = listed
        .devices
        .iter()
        .find(|one| one.device_id == device.id)
        .unwrap();
    assert!(listed.refused_at.is_some() && listed.revoked_at.is_none());

    let path = format!("/v1/admin/devices/{}/allow-sessions", device.id);
    assert_eq!(act(&world, &root, &path).await.status, StatusCode::NO_CONTENT);
    let begun = device.begin_session(&world, enrolment.enrol_token.expose()).await;
    assert_eq!(begun.status, StatusCode::CREATED);
    assert_eq!(world.audited(Act::DeviceRefused).await, 1);
    assert_eq!(world.audited(Act::DeviceAllowed).await, 1);
}

#[tokio::test]
async fn a_withdrawn_invitation_opens_nothing_and_a_used_one_stays() {
    let (world, root, _) = World::with_two().await;
    let body = json!({"role": Role::Member, "expires_in": 60});
    let invitation: Invitation = world
        .post("/v1/admin/invitations", Some(root.access()), body)
        .await
        .created();
    let id = invitation.invitation_id.unwrap();
    let listed: Invitations = world.get("/v1/admin/invitations", root.access()).await.ok();
    assert_eq!(listed.invitations.len(), 3);
    let used = listed
        .invitations
        .iter()
        .find(|one| one.used_by.is_some() && one.made_by.is_some())
        .unwrap();
    let path = |id| format!("/v1/admin/invitations/{id}");
    let gone = world
        .call(Method::DELETE, &path(id), Some(root.access()), None)
        .await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    for id in [id, used.invitation_id] {
        let refused = world
            .call(Method::DELETE, &path(id), Some(root.access()), None)
            .await;
        assert_eq!(refused.problem(), ProblemCode::NotFound);
    }
    let body = json!({"invitation": invitation.token.expose(), "username": "bob", "password": PASSWORD});
    assert_eq!(
        world.post("/v1/accounts", None, body).await.problem(),
        ProblemCode::InvitationRefused
    );
}

#[tokio::test]
async fn a_deleted_account_no_longer_exists_for_anyone_and_its_name_goes_to_nobody() {
    let (mut world, root, alice) = World::with_two().await;
    let open = json!({"kind": "direct", "peer": alice.user});
    assert_eq!(
        world
            .post("/v1/conversations", Some(root.access()), &open)
            .await
            .status,
        StatusCode::OK
    );
    let wrong = json!({"password": "not the password"});
    let refused = world.post("/v1/me/delete", Some(alice.access()), wrong).await;
    assert_eq!(refused.problem(), ProblemCode::PasswordWrong);
    assert_eq!(world.audited(Act::LoginRefused).await, 1);

    world.events();
    let delete = json!({"password": PASSWORD});
    let deleted = world.post("/v1/me/delete", Some(alice.access()), delete).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let device = alice.devices[0].id;
    assert!(matches!(world.events()[..], [Event::DeviceRevoked(revoked)] if revoked == device));
    assert_eq!(world.audited(Act::AccountDeleted).await, 1);
    assert_eq!(
        world.get("/v1/me", alice.access()).await.problem(),
        ProblemCode::Unauthenticated
    );
    assert_eq!(
        world.log_in("alice", PASSWORD).await.problem(),
        ProblemCode::Unauthenticated
    );
    for path in [
        format!("/v1/users/{}", alice.user),
        format!("/v1/users/{}/chain", alice.user),
        "/v1/users/by-name/alice".to_owned(),
    ] {
        let gone = world.get(&path, root.access()).await;
        assert_eq!(
            (gone.status, gone.problem()),
            (StatusCode::GONE, ProblemCode::AccountDeleted),
            "{path}"
        );
    }
    let enable = format!("/v1/admin/users/{}/enable", alice.user);
    assert_eq!(
        act(&world, &root, &enable).await.problem(),
        ProblemCode::AccountDeleted
    );
    let left: Account = world
        .get(&format!("/v1/admin/users/{}", alice.user), root.access())
        .await
        .ok();
    assert!(left.deleted_at.is_some() && left.username.as_str().starts_with("deleted-"));
    assert_eq!((left.devices, left.sessions), (0, 0));

    let body = json!({"role": Role::Member, "expires_in": 60});
    let invitation: Invitation = world
        .post("/v1/admin/invitations", Some(root.access()), body)
        .await
        .created();
    let body = json!({"invitation": invitation.token.expose(), "username": "alice", "password": PASSWORD});
    assert_eq!(
        world.post("/v1/accounts", None, body).await.problem(),
        ProblemCode::UsernameTaken
    );
}

#[tokio::test]
async fn nothing_that_was_the_users_alone_is_left_in_the_database_but_the_audit_log() {
    let (world, _, alice) = World::with_two().await;
    let chain = alice.devices[0].id;
    let delete = json!({"password": PASSWORD});
    world.post("/v1/me/delete", Some(alice.access()), delete).await;
    let user = alice.user;
    let left = world.store.read(move |snapshot| {
        Ok::<_, unhidra_store::StoreError>((
            snapshot.chain_head(user)?.is_some(),
            snapshot.recovery(user)?.is_some(),
            snapshot.device(chain)?.is_some(),
            snapshot.account(user)?.unwrap().password,
        ))
    });
    assert_eq!(left.await.unwrap(), (false, false, false, String::new()));
}
