//! Every route against the policy, and the form of every refusal.

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use serde_json::json;
use unhidra_audit::Act;
use unhidra_policy::{Action, Decision, Principal, Resource, decide};
use unhidra_wire::rest::ProblemCode;

use super::world::{Answer, PASSWORD, World};
use crate::{Target, endpoints};

/// What the gateway does over WebSocket, where REST has no route.
const FRAMES: [Action; 3] = [Action::Connect, Action::Append, Action::Acknowledge];

fn fill(path: &str, person: &super::device::Person) -> String {
    let session = person.devices[0].tokens.as_ref().unwrap().session_id;
    path.replace("{user}", &person.user.to_string())
        .replace("{device}", &person.devices[0].id.to_string())
        .replace("{session}", &session.to_string())
        .replace("{username}", &person.name)
        .replace("{invitation}", "inv_00000000000000000000000000000001")
        .replace("{number}", "1")
        .replace("{connection}", "con_00000000000000000000000000000001")
        .replace("{conversation}", "cnv_00000000000000000000000000000001")
}

async fn probe(world: &World, method: &Method, path: &str, token: Option<&str>) -> Answer {
    let body = (method != Method::GET && method != Method::DELETE).then(|| json!({}));
    world.call(method.clone(), path, token, body).await
}

#[tokio::test]
async fn every_action_of_the_policy_is_on_a_route_or_a_frame_and_every_route_has_one() {
    for action in Action::ALL {
        let routes = endpoints()
            .iter()
            .filter(|endpoint| endpoint.action == action)
            .count();
        assert!(
            routes > 0 || FRAMES.contains(&action),
            "{} is nowhere",
            action.name()
        );
    }
    let mut names: Vec<_> = endpoints()
        .iter()
        .map(|endpoint| (endpoint.method.to_string(), endpoint.path))
        .collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "a route is there twice");
}

#[tokio::test]
async fn without_a_token_every_route_but_the_open_ones_is_unauthenticated() {
    let (world, root, _) = World::with_two().await;
    for endpoint in endpoints() {
        let answer = probe(&world, &endpoint.method, &fill(endpoint.path, &root), None).await;
        let open = decide(&Principal::Anonymous, endpoint.action, &Resource::Server) == Decision::Allow;
        if open {
            assert_eq!(endpoint.target, Target::Server);
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{}", endpoint.path);
        } else {
            assert_eq!(
                answer.problem(),
                ProblemCode::Unauthenticated,
                "{} {}",
                endpoint.method,
                endpoint.path
            );
            assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
        }
    }
}

#[tokio::test]
async fn an_enrolment_token_opens_only_what_the_policy_says() {
    let (world, root, _) = World::with_two().await;
    let principal = Principal::Enrolling {
        user: root.user,
        org: org(&world).await,
    };
    for endpoint in endpoints() {
        let answer = probe(
            &world,
            &endpoint.method,
            &fill(endpoint.path, &root),
            Some(&root.enrol),
        )
        .await;
        let own = Resource::User {
            user: root.user,
            org: org(&world).await,
        };
        let allowed = [Resource::Server, own]
            .iter()
            .any(|resource| decide(&principal, endpoint.action, resource) == Decision::Allow);
        let refused =
            matches!(answer.status, StatusCode::FORBIDDEN) && answer.problem() == ProblemCode::Forbidden;
        let unknown = matches!(endpoint.target, Target::Conversation | Target::Connection)
            && answer.status == StatusCode::NOT_FOUND;
        assert_eq!(
            !allowed,
            refused || unknown,
            "{} {}: {}",
            endpoint.method,
            endpoint.path,
            answer.body
        );
    }
}

#[tokio::test]
async fn a_member_reaches_into_nobody_elses_things() {
    let (world, root, alice) = World::with_two().await;
    let token = Some(alice.access());
    for (method, path, code) in [
        (
            Method::POST,
            "/v1/admin/invitations".to_owned(),
            ProblemCode::Forbidden,
        ),
        (
            Method::PUT,
            fill("/v1/devices/{device}/prekeys", &root),
            ProblemCode::Forbidden,
        ),
        (
            Method::GET,
            fill("/v1/devices/{device}/prekeys", &root),
            ProblemCode::Forbidden,
        ),
        (
            Method::DELETE,
            fill("/v1/sessions/{session}", &root),
            ProblemCode::Forbidden,
        ),
        (
            Method::GET,
            "/v1/users/usr_00000000000000000000000000000009".to_owned(),
            ProblemCode::NotFound,
        ),
        (
            Method::GET,
            "/v1/users/by-name/nobody".to_owned(),
            ProblemCode::NotFound,
        ),
        (Method::GET, "/v1/users/someone".to_owned(), ProblemCode::NotFound),
    ] {
        assert_eq!(
            probe(&world, &method, &path, token).await.problem(),
            code,
            "{method} {path}"
        );
    }
    assert_eq!(world.audited(Act::AccessRefused).await, 6);
}

#[tokio::test]
async fn a_token_in_a_url_is_refused_whether_or_not_it_is_valid() {
    let (world, _, alice) = World::with_two().await;
    for path in [
        format!("/v1/me?access_token={}", alice.access()),
        format!("/v1/me?t={}", alice.access()),
        "/v1/me?token=x".to_owned(),
        format!("/v1/users/{}", alice.access()),
        format!("/nowhere/{}", alice.access()),
    ] {
        let with = world.get(&path, alice.access()).await;
        assert_eq!(
            (with.status, with.problem()),
            (StatusCode::BAD_REQUEST, ProblemCode::Malformed)
        );
        assert_eq!(
            probe(&world, &Method::GET, &path, None).await.problem(),
            ProblemCode::Malformed
        );
    }
}

#[tokio::test]
async fn a_token_is_read_from_one_bearer_header_alone() {
    let (world, _, alice) = World::with_two().await;
    let send = |values: Vec<String>| {
        let mut request = Request::builder().uri("/v1/me");
        for value in values {
            request = request.header(header::AUTHORIZATION, value);
        }
        world.send(request.body(Body::empty()).unwrap())
    };
    let bearer = format!("Bearer {}", alice.access());
    assert_eq!(send(vec![bearer.clone()]).await.status, StatusCode::OK);
    assert_eq!(
        send(vec![bearer.clone(), bearer.clone()]).await.problem(),
        ProblemCode::Malformed
    );
    assert_eq!(
        send(vec![format!("Basic {}", alice.access())]).await.problem(),
        ProblemCode::Malformed
    );
    assert_eq!(
        send(vec!["Bearer x".into()]).await.problem(),
        ProblemCode::Unauthenticated
    );
    let request = Request::builder()
        .uri("/v1/me")
        .header(header::COOKIE, bearer)
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.send(request).await.problem(), ProblemCode::Unauthenticated);
}

#[tokio::test]
async fn a_stale_token_does_not_stop_a_login() {
    let (world, _, _) = World::with_two().await;
    let body = json!({"username": "alice", "password": PASSWORD});
    assert_eq!(
        world.post("/v1/sessions", Some("stale"), body).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn what_is_not_documented_is_a_problem_too() {
    let (world, root, _) = World::with_two().await;
    assert_eq!(
        world.get("/v1/nowhere", root.access()).await.problem(),
        ProblemCode::NotFound
    );
    let method = world
        .call(Method::DELETE, "/v1/me", Some(root.access()), None)
        .await;
    assert_eq!(
        (method.status, method.problem()),
        (StatusCode::METHOD_NOT_ALLOWED, ProblemCode::MethodNotAllowed)
    );
    assert_eq!(method.headers[header::ALLOW], "GET,HEAD");
    let unknown = json!({"username": "alice", "password": PASSWORD, "extra": 1});
    assert_eq!(
        world.post("/v1/sessions", None, unknown).await.problem(),
        ProblemCode::Malformed
    );
    let query = world
        .get(&format!("/v1/users/{}/chain?form=1", root.user), root.access())
        .await;
    assert_eq!(query.problem(), ProblemCode::Malformed);

    let big = json!({"username": "alice", "password": "x".repeat(600 * 1024)});
    assert_eq!(
        world.post("/v1/sessions", None, big).await.problem(),
        ProblemCode::TooLarge
    );
    let login = json!({"username": "alice", "password": PASSWORD}).to_string();
    let form = Request::post("/v1/sessions")
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::from(login));
    assert_eq!(
        world.send(form.unwrap()).await.problem(),
        ProblemCode::UnsupportedMediaType
    );
}

#[tokio::test]
async fn health_and_keys_are_public() {
    let world = World::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            probe(&world, &Method::GET, path, None).await.status,
            StatusCode::NO_CONTENT
        );
    }
    let jwks = probe(&world, &Method::GET, "/.well-known/jwks.json", None).await;
    assert_eq!(jwks.body["keys"][0]["kty"], "OKP");
    world.store.close().await;
    assert_eq!(
        probe(&world, &Method::GET, "/readyz", None).await.problem(),
        ProblemCode::Unavailable
    );
}

async fn org(world: &World) -> unhidra_types::OrgId {
    world
        .store
        .read(|snapshot| snapshot.home_organisation())
        .await
        .unwrap()
        .unwrap()
}
