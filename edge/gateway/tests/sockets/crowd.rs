//! Many at once.

use futures_util::future::join_all;
use unhidra_wire::frame::ClientFrame;

use crate::{
    client::Client,
    server::{Server, plain},
};

const SENDERS: u32 = 8;
const EACH: u32 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_readers_get_every_entry_once_in_order_while_eight_senders_append() {
    let server = Server::start().await;
    let mut phones = Vec::new();
    for seed in 10..20 {
        phones.push(server.person(seed).await.1);
    }
    let everyone: Vec<_> = phones.iter().collect();
    let group = server.open_group(&everyone).await;
    let (readers, senders) = phones.split_at(2);
    let total = u64::from(SENDERS * EACH);
    let reading = readers.iter().map(async |phone| {
        let mut client = Client::connect(server.address, &phone.token).await;
        let entries = client.entries(group, 1, total).await;
        assert_eq!(entries.len() as u64, total);
        assert!(entries.iter().all(|(.., delivered)| *delivered));
    });
    let sending = (0..).zip(senders).map(async |(sender, phone)| {
        let mut client = server.connect(phone).await;
        let numbers = (0..EACH).map(|number| sender * EACH + number + 1);
        client
            .send_all(
                numbers
                    .clone()
                    .map(|number| ClientFrame::Append(plain(group, number, 200))),
            )
            .await;
        let mut seqs = Vec::new();
        for number in numbers {
            seqs.push(client.appended(plain(group, number, 0).msg_id).await.seq);
        }
        seqs
    });
    let (_, seqs) = tokio::join!(join_all(reading), join_all(sending));
    assert!(
        seqs.iter().all(|seqs| seqs.is_sorted()),
        "a sender's order is the log's"
    );
    let mut seqs: Vec<_> = seqs.into_iter().flatten().collect();
    seqs.sort_unstable();
    assert!(seqs.into_iter().eq(1..=total));
}

#[tokio::test]
async fn whoever_leaves_is_forgotten() {
    let server = Server::start().await;
    let (_, alice) = server.person(10).await;
    let (_, bob) = server.person(11).await;
    server.open_group(&[&alice, &bob]).await;
    server.open_direct(&alice, &bob).await;
    let clients = [
        server.connect(&alice).await,
        server.connect(&alice).await,
        server.connect(&bob).await,
    ];
    assert_eq!((server.registry.connections(), server.registry.logs()), (3, 2));
    drop(clients);
    server.until(|registry| registry.connections() == 0).await;
    assert_eq!((server.registry.logs(), server.registry.waiting()), (0, 0));
}
