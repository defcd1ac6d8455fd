//! `admin connections list` and `close`.

use anyhow::Context as _;
use serde::Serialize;
use unhidra_types::ConnectionId;
use unhidra_wire::rest::Connection;

use super::{opening::Opening, read::shown_time};
use crate::{
    exit::Outcome,
    output::{Output, printable},
};

/// Lists who is connected, the oldest connection first.
pub(crate) async fn list(opening: &Opening, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let mut after = None;
    if !output.json {
        output.progress(&row([
            "CONNECTION",
            "USER",
            "SINCE",
            "ACTIVE",
            "IN",
            "OUT",
            "LAGGED",
            "FROM",
        ]));
    }
    loop {
        let page = client.connections(after).await?;
        for connection in &page.connections {
            output
                .result(connection, || shown(connection))
                .context("print a connection")?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Closes a connection; its session stays, and its client may connect again.
pub(crate) async fn close(opening: &Opening, connection: ConnectionId, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Closed {
        closed: ConnectionId,
    }
    let mut client = opening.client()?;
    client.close_connection(connection).await?;
    output
        .result(&Closed { closed: connection }, || {
            format!("Closed {connection}; its session stays. To end that too: `unhidra admin sessions end`.")
        })
        .context("print the result")?;
    Ok(())
}

fn shown(connection: &Connection) -> String {
    let from = [connection.address.as_deref(), connection.agent.as_deref()];
    let from: Vec<_> = from.into_iter().flatten().map(printable).collect();
    row([
        &connection.connection_id.to_string(),
        &connection.user_id.to_string(),
        &shown_time(connection.since),
        &shown_time(connection.last_active_at),
        &connection.frames_in.to_string(),
        &connection.frames_out.to_string(),
        &connection.lagged.to_string(),
        &from.join(" "),
    ])
}

fn row([id, user, since, active, sent, received, lagged, from]: [&str; 8]) -> String {
    format!("{id:36}  {user:36}  {since:20}  {active:20}  {sent:>8}  {received:>8}  {lagged:>6}  {from}")
}
