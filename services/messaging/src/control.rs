//! Control logs: what other devices say to one device itself, sealed for it alone (`docs/protocol/repair-and-lists.md`).
//!
//! Every device has one, under conversation 0^16. Only devices of the same user, or of a user who shares a direct
//! conversation with it, may append: one capsule, no body, no lists. A full log refuses; senders repeat what matters.

use std::{sync::Arc, time::Duration};

use unhidra_policy::{Action, Correspondence, Decision, Resource, decide};
use unhidra_store::{
    Event, Tx,
    control::Held,
    device::Device,
    entry::{Capsule, Entry, EntryKey, NewEntry, Place, Recipients},
};
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp};
use unhidra_wire::frame::{self, Append, Refusal};

use crate::{access::Sender, append::AppendError};

/// Entries of one control log that were not acknowledged.
pub const MAX_ENTRIES: u64 = 1_000;
/// Entries among them of one sending device.
pub const MAX_ENTRIES_OF_SENDER: u64 = 64;
/// How long an entry is kept.
pub const LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// Takes an envelope for a device itself.
pub(crate) fn append_in(
    tx: &mut Tx<'_>,
    sender: Sender,
    append: &Append,
    now: Timestamp,
) -> Result<Place, AppendError> {
    let (dest, capsule) = only_capsule(append)?;
    let receiver = receiver(tx, sender, dest)?;
    let log = match tx.control_log(dest)? {
        Some(log) => log.log,
        None => tx.open_control_log(dest, receiver.org, now)?.log,
    };
    let key = EntryKey {
        sender_device: sender.device,
        msg_id: append.msg_id,
        dest: Some(dest),
        attempt: 0,
    };
    if let Some(place) = tx.control_place_of(log, &key)? {
        return Ok(place);
    }
    let Held { entries, of_sender } = tx.control_entries(log, sender.device)?;
    if entries >= MAX_ENTRIES || of_sender >= MAX_ENTRIES_OF_SENDER {
        return Err(AppendError::refused(Refusal::RateLimited));
    }
    let entry = NewEntry {
        conversation: ConversationId::CONTROL,
        msg_id: append.msg_id,
        sender: sender.user,
        sender_device: sender.device,
        dest: Some(dest),
        attempt: 0,
        server_time: now,
        recipients: Recipients::Capsules(vec![Capsule {
            device: dest,
            kind: capsule.kind.number(),
            sealed: capsule.sealed.clone(),
        }]),
        body: bytes::Bytes::new(),
    };
    let seq = tx.append_entry(log, &entry)?;
    tx.emit(Event::Appended(Arc::new(Entry { seq, entry })));
    Ok(Place {
        seq,
        server_time: now,
    })
}

/// The frame names one device, and says nothing to anyone else.
fn only_capsule(append: &Append) -> Result<(DeviceId, &frame::Capsule), AppendError> {
    match (append.dest, append.capsules.as_slice()) {
        (Some(dest), [capsule])
            if append.attempt == 0
                && append.msg_id != MsgId::NONE
                && append.body.is_empty()
                && append.list_versions.is_empty() =>
        {
            Ok((dest, capsule))
        }
        _ => Err(AppendError::refused(Refusal::Malformed)),
    }
}

/// The device that the envelope is for, if the sender may speak to it.
fn receiver(tx: &Tx<'_>, sender: Sender, dest: DeviceId) -> Result<Device, AppendError> {
    let found = tx.device(dest)?.ok_or(AppendError::refused(Refusal::NotFound))?;
    let shared = unhidra_chain::direct::direct_conversation(sender.user, found.user);
    let correspondence = if found.user == sender.user || tx.conversation_of(shared, sender.user)?.is_some() {
        Correspondence::Open
    } else {
        Correspondence::None
    };
    let resource = Resource::ControlLog {
        device: dest,
        user: found.user,
        org: found.org,
        correspondence,
    };
    if decide(&sender.principal(), Action::Append, &resource) != Decision::Allow {
        return Err(AppendError::refused(Refusal::NotFound));
    }
    if found.revoked_at.is_some() {
        return Err(AppendError::refused(Refusal::UnknownDevice));
    }
    Ok(found)
}
