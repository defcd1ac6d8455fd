//! Who may connect, and what everyone else is told (docs/protocol/frames.md, "Handshake").

use std::time::Duration;

use futures_util::future::join_all;
use unhidra_gateway::upgrade::Rates;
use unhidra_runtime::Rate;

use crate::{
    client::{Answer, Client, HANDSHAKE, ask, ask_by},
    person::Phone,
    server::Server,
};

fn offering(protocols: &str) -> String {
    format!("{HANDSHAKE}Sec-WebSocket-Protocol: {protocols}\r\n")
}

fn with_token(token: &str) -> String {
    offering(&format!("unhidra.v1, bearer.{token}"))
}

async fn connect(server: &Server, phone: &Phone) -> Answer {
    ask(server.address, "/v1/ws", &with_token(&phone.token)).await
}

#[tokio::test]
async fn the_server_selects_the_protocol_and_never_repeats_the_token() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let bearer = format!("bearer.{}", phone.token);
    let lines = format!("unhidra.v1\r\nSec-WebSocket-Protocol: {bearer}");
    for protocols in [
        format!("unhidra.v1, {bearer}"),
        format!("{bearer},UNHIDRA.V1"),
        lines,
    ] {
        let answer = ask(server.address, "/v1/ws", &offering(&protocols)).await;
        assert_eq!(answer.status, 101, "{}", answer.text());
        assert_eq!(answer.header("sec-websocket-protocol"), Some("unhidra.v1"));
        // The example of RFC 6455 section 1.3.
        assert_eq!(
            answer.header("sec-websocket-accept"),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        assert!(!answer.text().contains(&phone.token));
    }
}

#[tokio::test]
async fn a_url_with_a_query_is_refused_whatever_else_is_right() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let in_url = format!("/v1/ws?access_token={}", phone.token);
    for target in [in_url.as_str(), "/v1/ws?"] {
        for headers in [
            with_token(&phone.token),
            offering("unhidra.v1"),
            HANDSHAKE.to_owned(),
        ] {
            let answer = ask(server.address, target, &headers).await;
            assert_eq!(
                (answer.status, &answer.problem()["code"]),
                (400, &"malformed".into())
            );
            assert!(!answer.text().contains(&phone.token));
        }
    }
    assert_eq!(server.registry.connections(), 0);
}

#[tokio::test]
async fn without_the_subprotocol_nothing_is_upgraded() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let token = &phone.token;
    let other = [
        HANDSHAKE.to_owned(),
        offering(&format!("bearer.{token}")),
        offering(&format!("unhidra.v2, bearer.{token}")),
        offering(&format!("unhidra.v1x, bearer.{token}")),
    ];
    for headers in other {
        let answer = ask(server.address, "/v1/ws", &headers).await;
        assert_eq!(
            (answer.status, &answer.problem()["code"]),
            (426, &"unsupported-version".into())
        );
    }
}

#[tokio::test]
async fn what_is_no_websocket_handshake_is_malformed() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let whole = with_token(&phone.token);
    let broken = [
        String::new(),
        whole.replace("Connection: Upgrade\r\n", ""),
        whole.replace("Upgrade: websocket", "Upgrade: h2c"),
        whole.replace("Version: 13", "Version: 8"),
        whole.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        whole.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"),
        whole.replace("dGhlIHNhbXBsZSBub25jZQ==", "not base64"),
    ];
    for headers in broken {
        let answer = ask(server.address, "/v1/ws", &headers).await;
        assert_eq!(
            (answer.status, &answer.problem()["code"]),
            (400, &"malformed".into()),
            "{headers}"
        );
    }
}

#[tokio::test]
async fn every_credential_that_is_no_good_gets_the_same_answer() {
    let server = Server::start().await;
    let (alice, phone) = server.person(10).await;
    let (mut bob, bobs) = server.person(11).await;
    let (carol, carols) = server.person(12).await;
    let over = phone.token.clone();
    server.hand.advance(Duration::from_secs(700));
    let lost = server.phone(&mut bob, 2).await;
    server.revoke(&mut bob, &lost).await;
    let other_server = Server::start().await;
    let (_, foreign) = other_server.person(10).await;
    server.end_session(&carol, &carols).await;
    let mut tampered = lost.token.clone();
    tampered.pop();
    let enrolment = server.enrolment_token(&alice);
    assert_ne!(bobs.token, lost.token);
    let headers = [
        offering("unhidra.v1"),
        offering("unhidra.v1, bearer."),
        offering("unhidra.v1, bearer.garbage"),
        with_token(&over),
        with_token(&lost.token),
        with_token(&tampered),
        with_token(&carols.token),
        with_token(&foreign.token),
        with_token(&enrolment),
    ];
    let mut problems = Vec::new();
    for headers in &headers {
        let answer = ask(server.address, "/v1/ws", headers).await;
        assert_eq!(answer.status, 401, "{headers}");
        problems.push(answer.problem());
    }
    problems.dedup();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0]["code"], "unauthenticated");
    assert_eq!(server.registry.connections(), 0);
}

#[tokio::test]
async fn a_fifth_connection_of_a_device_is_refused_while_the_four_answer() {
    let server = Server::start().await;
    let (mut alice, phone) = server.person(10).await;
    let tablet = server.phone(&mut alice, 2).await;
    let group = server.open_group(&[&phone]).await;
    let mut four = Vec::new();
    for _ in 0..4 {
        four.push(server.connect(&phone).await);
    }
    // Whoever reads answers pings.
    let fifth = tokio::select! {
        fifth = connect(&server, &phone) => fifth,
        never = join_all(four.iter_mut().map(Client::read_on)) => panic!("{}", never.len()),
    };
    assert_eq!(
        (fifth.status, &fifth.problem()["code"]),
        (429, &"too-many".into())
    );
    assert!(fifth.header("retry-after").is_some());
    server.connect(&tablet).await;
    for (number, client) in (1..).zip(&mut four) {
        assert_eq!(
            client.append(crate::server::plain(group, number, 10)).await.seq,
            u64::from(number)
        );
    }
    drop(four.pop());
    server.until(|registry| registry.connections() <= 4).await;
    server.connect(&phone).await;
}

#[tokio::test]
async fn a_connection_that_gives_no_sign_of_life_makes_room_for_one_of_the_same_session() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    let mut four = Vec::new();
    for _ in 0..4 {
        four.push(server.connect(&phone).await);
    }
    let mut silent = four.remove(2);
    let fifth = tokio::select! {
        fifth = server.connect(&phone) => fifth,
        never = join_all(four.iter_mut().map(Client::read_on)) => panic!("{}", never.len()),
    };
    assert_eq!(silent.close_code().await, 4409);
    drop(fifth);
    let group = server.open_group(&[&phone]).await;
    assert_eq!(four[0].append(crate::server::plain(group, 1, 10)).await.seq, 1);
}

#[tokio::test]
async fn only_a_get_connects_and_anything_else_is_a_problem() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    for method in ["HEAD", "POST", "DELETE"] {
        let answer = ask_by(method, server.address, "/v1/ws", &with_token(&phone.token)).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET")),
            "{method}"
        );
        if method != "HEAD" {
            assert_eq!(answer.problem()["code"], "method-not-allowed");
        }
    }
    assert_eq!(server.registry.connections(), 0);
}

#[tokio::test]
async fn connections_of_a_user_come_no_faster_than_the_limit() {
    let rates = Rates {
        connections_per_user: Rate::new(1, Duration::from_secs(30), 2),
        ..Rates::default()
    };
    let server = Server::with(100, rates).await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let held = [server.connect(&alice).await, server.connect(&alice).await];
    let third = connect(&server, &alice).await;
    assert_eq!(
        (third.status, &third.problem()["code"]),
        (429, &"rate-limited".into())
    );
    let wait: u64 = third.header("retry-after").unwrap().parse().unwrap();
    assert!((25..=30).contains(&wait), "{wait}");
    server.connect(&bob).await;
    drop(held);
}

#[tokio::test]
async fn handshakes_of_a_network_come_no_faster_than_the_limit_whatever_they_show() {
    let rates = Rates {
        connections_per_network: Rate::new(1, Duration::from_secs(60), 3),
        ..Rates::default()
    };
    let server = Server::with(100, rates).await;
    let (_, alice) = server.person(10).await;
    for _ in 0..3 {
        let forged = ask(server.address, "/v1/ws", &with_token("forged")).await;
        assert_eq!(forged.status, 401);
    }
    let refused = connect(&server, &alice).await;
    assert_eq!(refused.problem()["code"], "rate-limited");
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_at_once_gets_the_burst_and_not_one_more_and_everyone_else_a_time() {
    const BURST: u32 = 10;
    let rates = Rates {
        connections_per_network: Rate::new(1, Duration::from_secs(60), BURST),
        ..Rates::default()
    };
    let server = Server::with(100, rates).await;
    let forged = with_token("forged");
    let answers = join_all((0..60).map(|_| ask(server.address, "/v1/ws", &forged))).await;
    let (refused, let_in): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 429);
    assert_eq!(u32::try_from(let_in.len()), Ok(BURST));
    assert!(let_in.iter().all(|answer| answer.status == 401));
    for answer in refused {
        assert_eq!(answer.problem()["code"], "rate-limited");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
}

#[tokio::test]
async fn a_full_server_asks_to_come_back_and_has_room_again() {
    let server = Server::with_room_for(2).await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let (_, carol) = server.person(12).await;
    let held = [server.connect(&alice).await, server.connect(&bob).await];
    let third = connect(&server, &carol).await;
    assert_eq!(
        (third.status, &third.problem()["code"]),
        (503, &"unavailable".into())
    );
    let retry: u64 = third.header("retry-after").unwrap().parse().unwrap();
    assert!(retry > 0);
    drop(held);
    server.until(|registry| registry.connections() == 0).await;
    server.connect(&carol).await;
}

#[tokio::test]
async fn a_client_that_is_gone_before_its_first_frame_leaves_nothing() {
    let server = Server::start().await;
    let (_, phone) = server.person(10).await;
    server.open_group(&[&phone]).await;
    for _ in 0..10 {
        drop(Client::connect(server.address, &phone.token).await);
        server.until(|registry| registry.connections() == 0).await;
    }
    assert_eq!(server.registry.logs(), 0);
}

#[tokio::test]
async fn what_changes_during_a_handshake_is_in_the_welcome_or_told_after_it() {
    let server = Server::start().await;
    let (mut alice, phone) = server.person(10).await;
    for number in 2..8 {
        let connecting = Client::connect(server.address, &phone.token);
        let (mut client, added) = tokio::join!(connecting, server.phone(&mut alice, number));
        let own = client.welcome().await.own_list;
        let current = server.identity.chain(alice.id, 0).await.unwrap().unwrap();
        let version = u32::try_from(current.records.len()).unwrap() - 1;
        if own.version < version {
            client
                .through(|frame| {
                    matches!(frame, unhidra_wire::frame::ServerFrame::ListChanged(head) if head.version == version)
                })
                .await;
        }
        server.revoke(&mut alice, &added).await;
        client.vanish();
        server.until(|registry| registry.connections() == 0).await;
    }
}
