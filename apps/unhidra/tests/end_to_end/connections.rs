//! Who is connected, as an administrator sees it and ends it (docs/cli.md, docs/api.md).

use std::time::Duration;

use unhidra_testkit::{
    http::Http,
    socket::{ReceiveBuffer, Socket},
};
use unhidra_wire::close::Close;

use crate::world;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn an_administrator_sees_a_connection_with_its_counts_and_closes_it() {
    let mut world = world().unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let (admin, member) = (alice.first().unwrap(), bob.first().unwrap());
    let token = member.access_token().unwrap();
    let mut socket = Socket::open(world.server.address(), &token, ReceiveBuffer::Usual).unwrap();
    socket.next(SOON).unwrap();

    let listed = admin.run(["--json", "admin", "connections", "list"]).unwrap();
    let listed = listed.success().unwrap().json().unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["device_id"], member.id().unwrap());
    assert_eq!(listed[0]["address"], "127.0.0.1");
    assert!(listed[0]["frames_out"].as_u64() >= Some(1), "{listed:?}");
    let id = listed[0]["connection_id"].as_str().unwrap();

    let http = Http::to(world.server.address()).unwrap();
    let admin_token = admin.access_token().unwrap();
    let page = http
        .get("/v1/admin/connections?limit=1", Some(&admin_token))
        .unwrap();
    let page: serde_json::Value = page.json().unwrap();
    assert!(page.get("next").is_none(), "{page}");
    assert_eq!(
        http.get("/v1/admin/connections", Some(&token)).unwrap().status,
        403
    );

    let closed = admin.run(["admin", "connections", "close", id]).unwrap();
    closed.success().unwrap();
    assert_eq!(
        socket.closed(SOON).unwrap(),
        (
            Close::ByAdministrator.code(),
            Close::ByAdministrator.reason().to_owned()
        )
    );
    let gone = admin.run(["admin", "connections", "close", id]).unwrap();
    gone.refusal(6).unwrap();
    // The session stays.
    assert!(Socket::open(world.server.address(), &token, ReceiveBuffer::Usual).is_ok());
}

#[test]
fn a_client_that_sends_too_fast_waits_and_loses_nothing() {
    let settings = vec![("UNHIDRA_LIMITS_MESSAGES", "40/s burst 60".to_owned())];
    let mut world = unhidra_testkit::World::configured(
        crate::program(),
        unhidra_testkit::Seed::from_environment().unwrap(),
        settings,
    )
    .unwrap();
    let (alice, bob) = world.alice_and_bob().unwrap();
    let lines: Vec<_> = (0..200).map(|number| format!("line {number}")).collect();
    alice.first().unwrap().send_lines("bob", "b1", &lines).unwrap();
    let read = bob.first().unwrap().read_json().unwrap();
    assert_eq!(unhidra_testkit::person::texts(&read), lines);
}
