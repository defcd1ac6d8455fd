//! From the store's commits to the bus, in commit order.

use std::sync::Arc;

use unhidra_bus::{Bus, Closed, Notice};
use unhidra_store::{CommitFeed, Event, entry};
use unhidra_wire::frame::{Capsule, CapsuleKind, Deliver, ENVELOPE_VERSION, ListVersion};

/// Publishes every commit until the store is closed.
///
/// # Errors
/// [`Closed`] when nobody reads the bus any more.
///
/// # Cancellation safety
/// Commits that were not published are gaps, which readers close from the log.
pub async fn relay(mut commits: CommitFeed, bus: Bus) -> Result<(), Closed> {
    while let Some(events) = commits.recv().await {
        bus.publish(events.into_iter().map(notice).collect()).await?;
    }
    Ok(())
}

fn notice(event: Event) -> Notice {
    match event {
        Event::Appended(appended) => Notice::Entry(Arc::new(published(&appended))),
        Event::Opened {
            conversation,
            members,
        } => Notice::Opened {
            conversation,
            members,
        },
        Event::ListChanged {
            user,
            version,
            head_hash,
        } => Notice::ListChanged(ListVersion {
            user,
            version,
            head_hash,
        }),
        Event::SessionEnded(session) => Notice::SessionEnded(session),
        Event::DeviceRevoked(device) => Notice::DeviceRevoked(device),
        Event::ConnectionClosed(connection) => Notice::ConnectionClosed(connection),
    }
}

fn published(entry::Entry { seq, entry }: &entry::Entry) -> unhidra_bus::Entry {
    let deliver = Deliver {
        conversation: entry.conversation,
        seq: *seq,
        msg_id: entry.msg_id,
        sender: entry.sender,
        sender_device: entry.sender_device,
        server_time: entry.server_time,
        attempt: entry.attempt,
        version: ENVELOPE_VERSION,
        flags: 0,
        capsule: None,
        body: entry.body.clone(),
    };
    match &entry.recipients {
        entry::Recipients::Members => unhidra_bus::Entry::for_members(deliver),
        entry::Recipients::Capsules(capsules) => unhidra_bus::Entry::for_devices(
            deliver,
            capsules
                .iter()
                .filter_map(|capsule| {
                    let kind = CapsuleKind::from_number(capsule.kind)?;
                    Some(Capsule {
                        device: capsule.device,
                        kind,
                        sealed: capsule.sealed.clone(),
                    })
                })
                .collect(),
        ),
    }
}
