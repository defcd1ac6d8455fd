//! Frames of the server, each to where it belongs.

use unhidra_chain::{ListHead, ListVersion as Version};
use unhidra_wire::frame::{ListVersion, ServerFrame, Welcome};

use crate::{
    effects::{Need, Notice, OutboxChange},
    inbox::{Inboxes, Item},
    setback::Standing,
    step::Step,
    store::StoreError,
};

pub(super) fn take_frame(
    step: &mut Step<'_>,
    inboxes: &mut Inboxes,
    frame: ServerFrame,
) -> Result<(), StoreError> {
    match frame {
        ServerFrame::Welcome(welcome) => welcomed(step, inboxes, &welcome),
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
            inboxes.catch_up();
            step.expire_outbox()?;
            step.look_after_sessions()?;
            step.review_claims()
        }
        ServerFrame::ListChanged(head) => listed(step, inboxes, head),
    }
}

fn welcomed(step: &mut Step<'_>, inboxes: &mut Inboxes, welcome: &Welcome) -> Result<(), StoreError> {
    match step.standing_of(welcome)? {
        Standing::Level => {}
        Standing::SetBack(taken) => step.send_again(taken)?,
        Standing::Ahead => roll_forward(step)?,
    }
    listed(step, inboxes, welcome.own_list)?;
    if step.stock_is_due(welcome.stock)? {
        step.effects.needs.insert(Need::Stock);
    }
    step.limit_session_age(welcome.session_age);
    if step.failures_are_due()? {
        step.effects.needs.insert(Need::ReportFailures);
    }
    step.effects.outbox = OutboxChange::Requeued;
    step.effects.more = true;
    Ok(())
}

/// The store was set back: what it would send next may have been sent before, under the same keys.
fn roll_forward(step: &mut Step<'_>) -> Result<(), StoreError> {
    step.archive_everything()?;
    step.replace_prekeys()?;
    step.effects.notices.push(Notice::RolledBack);
    Ok(())
}

fn listed(step: &mut Step<'_>, inboxes: &mut Inboxes, head: ListVersion) -> Result<(), StoreError> {
    let held = step.chain(head.user)?;
    let concerns_us = held.is_some() || head.user == step.me.user;
    let stated = ListHead {
        version: Version(head.version),
        hash: head.head_hash,
    };
    if concerns_us && held.is_none_or(|held| !held.contains(&stated)) {
        step.need_chain(head.user)?;
        if head.user == step.me.user {
            // First messages bind the own identity, which may be another one than this device knows.
            inboxes.wait_for(head.user);
        }
    }
    Ok(())
}
