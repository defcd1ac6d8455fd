//! A server that is asked to end says goodbye and loses nothing; one that crashes loses nothing either.

use std::time::Duration;

use unhidra_testkit::{
    http::Http,
    person::texts,
    socket::{Event, ReceiveBuffer, Socket},
};
use unhidra_wire::{close::Close, frame::ServerFrame};

use crate::world;

#[test]
fn sigterm_says_going_away_to_every_connection_and_ends_well() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let mut sockets: Vec<_> = [&alice, &bob]
        .iter()
        .map(|person| {
            let token = person.first().unwrap().access_token().unwrap();
            let mut socket = Socket::open(world.server.address(), &token, ReceiveBuffer::Usual).unwrap();
            let first = socket.next(Duration::from_secs(10)).unwrap();
            assert!(
                matches!(first, Event::Frame(ServerFrame::Welcome(_))),
                "{first:?}"
            );
            socket
        })
        .collect();
    world.server.ask_to_end().unwrap();
    for socket in &mut sockets {
        let (code, reason) = socket.closed(Duration::from_secs(10)).unwrap();
        assert_eq!(
            (code, reason.as_str()),
            (Close::GoingAway.code(), Close::GoingAway.reason())
        );
    }
    assert_eq!(world.server.wait_for_end().unwrap().code(), Some(0));
}

#[test]
fn what_was_acknowledged_survives_a_crash_and_a_restart() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let mut sent = Vec::new();
    for round in 0..3 {
        let text = format!("round {round}");
        alice.first().unwrap().send("bob", &text).unwrap();
        world.server.kill_nine().unwrap();
        world.server.restart().unwrap();
        sent.push(text);
    }
    assert_eq!(texts(&bob.first().unwrap().read_json().unwrap()), sent);
}

#[test]
fn a_restarted_server_still_knows_its_sessions() {
    let mut world = world().unwrap();
    let alice = world.person("alice").unwrap();
    let token = alice.first().unwrap().access_token().unwrap();
    let (status, took) = world.server.terminate().unwrap();
    assert_eq!(status.code(), Some(0), "after {took:?}");
    world.server.restart().unwrap();
    let http = Http::to(world.server.address()).unwrap();
    assert_eq!(http.get("/v1/me", Some(&token)).unwrap().status, 200);
}
