//! `admin connections list` and `close`.

use std::collections::{BTreeMap, btree_map::Entry};

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client_native::ClientError;
use unhidra_types::{ConnectionId, UserId};
use unhidra_wire::rest::Connection;

use super::{opening::Opening, read::shown_time};
use crate::{exit::Outcome, output::Output};

/// Lists who is connected, the oldest connection first.
pub(crate) async fn list(opening: &Opening, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let (mut connections, mut after) = (Vec::new(), None);
    loop {
        let page = client.connections(after).await?;
        connections.extend(page.connections);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut names = BTreeMap::new();
    if !output.json {
        for user in connections.iter().map(|connection| connection.user_id) {
            if let Entry::Vacant(free) = names.entry(user) {
                match client.name_of(user).await {
                    Ok(name) => free.insert(name.to_string()),
                    // Deleted meanwhile, or too many to ask for at once: their ids are shown.
                    Err(ClientError::Rest(_)) => free.insert(user.to_string()),
                    Err(error) => return Err(error.into()),
                };
            }
        }
    }
    let heading = [
        "CONNECTION",
        "USER",
        "SINCE",
        "ACTIVE",
        "IN",
        "OUT",
        "LAGGED",
        "FROM",
    ];
    output
        .list(heading, &connections, |connection| row(connection, &names))
        .context("print the connections")?;
    Ok(())
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

fn row(connection: &Connection, names: &BTreeMap<UserId, String>) -> [String; 8] {
    let from = [connection.address.as_deref(), connection.agent.as_deref()];
    let user = names.get(&connection.user_id).cloned();
    [
        connection.connection_id.to_string(),
        user.unwrap_or_else(|| connection.user_id.to_string()),
        shown_time(connection.since),
        shown_time(connection.last_active_at),
        connection.frames_in.to_string(),
        connection.frames_out.to_string(),
        connection.lagged.to_string(),
        from.into_iter().flatten().collect::<Vec<_>>().join(" "),
    ]
}
