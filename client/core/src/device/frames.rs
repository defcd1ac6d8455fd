//! Frames of the server, each to where it belongs.

use unhidra_wire::frame::{ListVersion, ServerFrame, Welcome};

use crate::{
    effects::{Need, Notice, OutboxChange},
    inbox::{Inboxes, Item},
    step::Step,
    store::{KeyRange, Order, StoreError, Table},
};

pub(super) fn take_frame(
    step: &mut Step<'_>,
    inboxes: &mut Inboxes,
    frame: ServerFrame,
) -> Result<(), StoreError> {
    match frame {
        ServerFrame::Welcome(welcome) => welcomed(step, &welcome),
        ServerFrame::Appended(appended) => step.appended(&appended),
        ServerFrame::Refused(refused) => step.refused(&refused),
        ServerFrame::Deliver(deliver) => inboxes.arrive(step, Item::Entry(Box::new(deliver))),
        ServerFrame::Skip {
            conversation,
            from,
            to,
        } => inboxes.arrive(
            step,
            Item::Nothing {
                conversation,
                from,
                to,
            },
        ),
        ServerFrame::CaughtUp => {
            step.effects.notices.push(Notice::CaughtUp);
            // The backlog has been read, so keys that only it could name may go.
            step.expire_prekeys()
        }
        ServerFrame::ListChanged(head) => listed(step, head),
    }
}

fn welcomed(step: &mut Step<'_>, welcome: &Welcome) -> Result<(), StoreError> {
    if let Some(last) = welcome.last_accepted {
        let known = step.tx.scan(
            Table::OutboxIndex,
            &KeyRange::prefix(last.as_bytes()),
            Order::Ascending,
            1,
        )?;
        if known.is_empty() {
            roll_forward(step)?;
        }
    }
    listed(step, welcome.own_list)?;
    if step.stock_is_due(welcome.stock)? {
        step.effects.needs.insert(Need::Stock);
    }
    step.effects.outbox = OutboxChange::Requeued;
    step.effects.more = true;
    Ok(())
}

/// The store was set back: what it would send next may have been sent before, under the same keys.
fn roll_forward(step: &mut Step<'_>) -> Result<(), StoreError> {
    let rows = step
        .tx
        .scan(Table::Sessions, &KeyRange::all(), Order::Ascending, usize::MAX)?;
    for row in rows {
        let sessions = unhidra_pair::SessionSet::from_bytes(&row.value)
            .map_err(|_| StoreError::Damaged(Table::Sessions))?;
        let ended = sessions.archive_all(step.now);
        step.set_sessions(ended);
    }
    step.replace_prekeys()?;
    step.effects.notices.push(Notice::RolledBack);
    Ok(())
}

fn listed(step: &mut Step<'_>, head: ListVersion) -> Result<(), StoreError> {
    let held = step.peer(head.user)?.and_then(|peer| peer.head);
    let concerns_us = held.is_some() || head.user == step.me.user;
    if concerns_us && held.is_none_or(|held| held.version.0 < head.version) {
        step.need_chain(head.user)?;
    }
    Ok(())
}
