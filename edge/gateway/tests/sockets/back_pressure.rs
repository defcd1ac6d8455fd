//! Readers that stop reading (docs/protocol/frames.md, "Lagging").

use std::time::Duration;

use tokio::time::{advance, pause, resume};
use unhidra_gateway::upgrade::Rates;
use unhidra_runtime::Rate;
use unhidra_wire::frame::{ClientFrame, Refusal, ServerFrame};

use crate::{
    client::range,
    person::Phone,
    server::{Server, plain},
};

/// Notices that may wait for one connection.
const INBOX: usize = 256;

/// Appends until this many notices wait for a client that does not read, and answers with the next number.
async fn fill(server: &Server, from: &Phone, log: unhidra_types::ConversationId, waiting: usize) -> u32 {
    let mut number = 1;
    while server.registry.waiting() < waiting {
        server.append(from, plain(log, number, 1_000)).await;
        number += 1;
    }
    number
}

#[tokio::test]
async fn a_reader_that_stops_costs_its_inbox_and_gets_everything_in_order_afterwards() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let group = server.open_group(&[&alice, &bob]).await;
    let mut slow = server.connect_narrow(&bob).await;
    let mut next = fill(&server, &alice, group, INBOX).await;
    for _ in 0..600 {
        server.append(&alice, plain(group, next, 1_000)).await;
        assert!(server.registry.waiting() <= INBOX);
        next += 1;
    }
    assert_eq!(server.registry.waiting(), INBOX);
    let last = u64::from(next) - 1;
    let entries = slow.entries(group, 1, last).await;
    assert!(entries.iter().all(|(.., delivered)| *delivered));
    slow.catch_up().await;

    server.append(&alice, plain(group, next, 10)).await;
    assert_eq!(slow.delivery().await.seq, last + 1, "live again");
}

#[tokio::test]
async fn large_entries_fill_an_inbox_before_their_number_does() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let group = server.open_group(&[&alice, &bob]).await;
    let mut slow = server.connect_narrow(&bob).await;
    for number in 1..=24 {
        server.append(&alice, plain(group, number, 200_000)).await;
        assert!(server.registry.waiting() <= 5, "more than a mebibyte waits");
    }
    slow.entries(group, 1, 24).await;
    slow.catch_up().await;
}

#[tokio::test]
async fn a_conversation_and_a_list_of_which_a_full_inbox_did_not_hear_are_told_afterwards() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (mut person, bob) = server.person(11).await;
    let group = server.open_group(&[&alice, &bob]).await;
    let mut slow = server.connect_narrow(&bob).await;
    let next = fill(&server, &alice, group, INBOX).await;
    let missed = server.open_group(&[&alice, &bob]).await;
    server.append(&alice, plain(missed, next, 10)).await;
    server.phone(&mut person, 2).await;
    assert_eq!(server.registry.waiting(), INBOX);
    let (mut heard_of_list, mut heard_of_log) = (false, false);
    while !(heard_of_list && heard_of_log) {
        let frame = slow.frame().await;
        heard_of_list |= matches!(frame, ServerFrame::ListChanged(head) if head.version == 2);
        heard_of_log |= range(&frame).is_some_and(|(log, ..)| log == missed);
    }
}

#[tokio::test]
async fn a_reader_that_is_as_slow_as_the_log_is_busy_is_still_heard() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let (busy, own) = (
        server.open_group(&[&alice, &bob]).await,
        server.open_group(&[&bob]).await,
    );
    let mut slow = server.connect_narrow(&bob).await;
    let mut number = fill(&server, &alice, busy, INBOX / 2).await;
    slow.send(ClientFrame::Append(plain(own, 1, 10))).await;
    for _ in 0..1_000 {
        if matches!(slow.frame().await, ServerFrame::Appended(_)) {
            return;
        }
        server.append(&alice, plain(busy, number, 1_000)).await;
        number += 1;
    }
    panic!("no answer while others talk");
}

#[tokio::test]
async fn the_end_of_a_session_ends_a_connection_that_is_stuck_in_a_write() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (bob, bobs) = server.person(11).await;
    let group = server.open_group(&[&alice, &bobs]).await;
    let stuck = server.connect_narrow(&bobs).await;
    server.append(&alice, plain(group, 1, 200_000)).await;
    stuck.readable().await;
    server.end_session(&bob, &bobs).await;
    server.until(|registry| registry.connections() == 0).await;
}

#[tokio::test]
async fn a_write_that_waits_for_a_minute_closes_with_4413() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let group = server.open_group(&[&alice, &bob]).await;
    let mut stuck = server.connect_narrow(&bob).await;
    server.append(&alice, plain(group, 1, 200_000)).await;
    stuck.readable().await;
    pause();
    advance(Duration::from_secs(61)).await;
    resume();
    server.until(|registry| registry.connections() == 0).await;
    let (frames, code) = stuck.closed().await;
    assert_eq!(
        frames.iter().filter_map(range).collect::<Vec<_>>(),
        [(group, 1, 1, true)]
    );
    assert_eq!(code, 4413);
}

#[tokio::test]
async fn a_reader_that_stops_does_not_hold_up_the_end_of_the_server() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    let group = server.open_group(&[&alice, &bob]).await;
    let stuck = server.connect_narrow(&bob).await;
    server.append(&alice, plain(group, 1, 200_000)).await;
    stuck.readable().await;
    let ended = server.tasks.shutdown(Duration::from_secs(30)).await;
    assert!(ended.aborted.is_empty(), "{ended:?}");
    drop(stuck);
}

#[tokio::test]
async fn messages_beyond_the_rate_come_back_in_order_with_a_time_to_try_again() {
    let rates = Rates {
        messages: Rate::new(1, Duration::from_secs(1), 3),
        ..Rates::default()
    };
    let server = Server::with(100, rates).await;
    let (_, alice) = server.person(10).await;
    let group = server.open_group(&[&alice]).await;
    let mut client = server.connect(&alice).await;
    client
        .send_all((1..=6).map(|number| ClientFrame::Append(plain(group, number, 10))))
        .await;
    let mut answers = Vec::new();
    while answers.len() < 6 {
        match client.frame().await {
            ServerFrame::Appended(taken) => answers.push((taken.msg_id, None)),
            ServerFrame::Refused(refused) => {
                assert_eq!(refused.reason, Refusal::RateLimited);
                answers.push((refused.msg_id, Some(refused.retry_after_ms)));
            }
            _ => {}
        }
    }
    let sent = (1..=6).map(|number| plain(group, number, 10).msg_id);
    assert!(
        answers.iter().map(|(id, _)| *id).eq(sent),
        "answers come in order"
    );
    let waits: Vec<_> = answers
        .iter()
        .map(|(_, wait)| wait.is_some_and(|ms| ms >= 900))
        .collect();
    assert_eq!(waits, [false, false, false, true, true, true], "{answers:?}");
    assert_eq!(server.head(group).await, 3);
}
