//! What was taken back does not work any more, also where it is in use.

use std::time::{Duration, Instant};

use unhidra_testkit::{
    http::Http,
    person::{Protection, texts},
    process::RUN_TIMEOUT,
    socket::{Handshake, ReceiveBuffer, Socket},
};
use unhidra_wire::{close::Close, frame::SUBPROTOCOL};

use crate::world;

/// How long a revocation may take to reach a live connection.
const CUT_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn logging_out_cuts_a_live_connection_of_the_session() {
    let mut world = world().unwrap();
    let alice = world.person("alice").unwrap();
    let device = alice.first().unwrap();
    let token = device.access_token().unwrap();
    let mut socket = Socket::open(world.server.address(), &token, ReceiveBuffer::Usual).unwrap();
    device.run(["logout"]).unwrap().success().unwrap();
    let begin = Instant::now();
    let (code, reason) = socket.closed(CUT_WITHIN).unwrap();
    println!("cut after {:?}", begin.elapsed());
    assert_eq!(
        (code, reason.as_str()),
        (Close::SessionEnded.code(), Close::SessionEnded.reason())
    );

    let http = Http::to(world.server.address()).unwrap();
    assert_eq!(http.get("/v1/me", Some(&token)).unwrap().status, 401);
    device.run(["read"]).unwrap().refusal(4).unwrap();
}

#[test]
fn logging_in_again_on_a_known_device_needs_no_linking_and_goes_on_where_it_was() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let device = bob.first().unwrap();
    device.run(["logout"]).unwrap().success().unwrap();
    alice.first().unwrap().send("bob", "meanwhile").unwrap();
    let arguments = world.login_arguments(&bob, device).unwrap();
    device.run(arguments).unwrap().success().unwrap();
    assert_eq!(texts(&device.read_json().unwrap()), ["meanwhile"]);
}

#[test]
fn a_revoked_device_is_cut_and_never_comes_back() {
    let mut world = world().unwrap();
    let (mut alice, bob) = world.alice_and_bob().unwrap();
    world.link(&mut alice).unwrap();
    let (first, second) = (alice.first().unwrap(), alice.second().unwrap());
    let token = second.access_token().unwrap();
    let mut listener = second.start(["--json", "listen"], b"").unwrap();
    bob.first().unwrap().send("alice", "before").unwrap();
    listener
        .line(RUN_TIMEOUT, |line| line.contains("before").then_some(()))
        .unwrap();
    let mut socket = Socket::open(world.server.address(), &token, ReceiveBuffer::Usual).unwrap();

    let revoked = second.id().unwrap();
    first
        .run(["devices", "revoke", &revoked])
        .unwrap()
        .success()
        .unwrap();
    let begin = Instant::now();
    let (code, _) = socket.closed(CUT_WITHIN).unwrap();
    println!("cut after {:?}", begin.elapsed());
    assert_eq!(code, Close::DeviceRevoked.code());
    let ended = listener.wait(CUT_WITHIN).unwrap();
    assert_eq!(ended.code(), Some(4), "{ended:?}");
    second
        .run(["send", "bob", "from the grave"])
        .unwrap()
        .with_code(4)
        .unwrap();

    bob.first().unwrap().send("alice", "after").unwrap();
    assert_eq!(texts(&first.read_json().unwrap()), ["before", "after"]);
    assert_eq!(texts(&bob.first().unwrap().read_json().unwrap()), [] as [&str; 0]);
}

#[test]
fn a_token_in_an_address_opens_nothing_and_is_not_logged() {
    let mut world = world().unwrap();
    let alice = world.person("alice").unwrap();
    let token = alice.first().unwrap().access_token().unwrap();
    let http = Http::to(world.server.address()).unwrap();
    assert_eq!(http.get("/v1/me", Some(&token)).unwrap().status, 200);
    for name in ["token", "access_token", "bearer"] {
        let status = http.get(&format!("/v1/me?{name}={token}"), None).unwrap().status;
        assert!((400..500).contains(&status), "{name}: {status}");
        let path = format!("/v1/ws?{name}={token}");
        let shaken =
            Socket::handshake(world.server.address(), &path, SUBPROTOCOL, ReceiveBuffer::Usual).unwrap();
        let Handshake::Refused(status) = shaken else {
            panic!("{name} opened a connection");
        };
        assert!((400..500).contains(&status), "{name}: {status}");
    }
    let signature = token.rsplit('.').next().unwrap();
    assert!(!world.server.log().unwrap().contains(signature));
}

#[test]
fn the_server_selects_the_protocol_and_never_repeats_the_token() {
    let mut world = world().unwrap();
    let alice = world.person("alice").unwrap();
    let token = alice.first().unwrap().access_token().unwrap();
    let http = Http::to(world.server.address()).unwrap();
    let offered = format!("{SUBPROTOCOL}, bearer.{token}");
    let answer = http
        .request(http::Method::GET, "/v1/ws", None, |request| {
            request
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
                .header("sec-websocket-protocol", offered)
        })
        .unwrap();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.headers["sec-websocket-protocol"], SUBPROTOCOL);
    assert!(answer.headers.values().all(|value| {
        !value
            .as_bytes()
            .windows(20)
            .any(|part| token.as_bytes().starts_with(part))
    }));
}

#[test]
fn the_recovery_key_brings_the_account_to_a_new_device_and_its_words_in_disorder_do_not() {
    let mut world = world().unwrap();
    let (mut alice, bob) = world.alice_and_bob().unwrap();
    let words: Vec<_> = alice.recovery_key.split_whitespace().collect();
    let disorder = words.iter().rev().copied().collect::<Vec<_>>().join(" ");
    let log_in = |name: &str, words: &str| {
        let device = world.device(name, Protection::KeyFile).unwrap();
        let mut arguments = world.login_arguments(&alice, &device).unwrap();
        let file = world.secret_file(&device, "recovery", words).unwrap();
        arguments.extend(["--recovery-key-file".into(), file]);
        (device.run(arguments).unwrap(), device)
    };
    log_in("thief", &disorder).0.refusal(4).unwrap();
    let (recovered, device) = log_in("alice-new", &alice.recovery_key);
    recovered.success().unwrap();
    bob.first().unwrap().send("alice", "welcome back").unwrap();
    assert_eq!(texts(&device.read_json().unwrap()), ["welcome back"]);
    device.send("bob", "here again").unwrap();
    assert_eq!(texts(&bob.first().unwrap().read_json().unwrap()), ["here again"]);
    alice.devices.push(device);

    let listed = alice.first().unwrap().run(["--json", "devices", "list"]).unwrap();
    let listed = listed.success().unwrap().json().unwrap();
    let names: Vec<_> = listed
        .iter()
        .map(|device| device["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["alice", "alice-new"]);
}
