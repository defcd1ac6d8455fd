//! The intake: an envelope is taken once, made durable and numbered, or refused without a trace.

use std::sync::Arc;

use unhidra_policy::{Action, Decision, decide};
use unhidra_store::{
    Event, LogTx, StoreError,
    conversation::Kind,
    entry::{Capsule, Entry, EntryKey, NewEntry, Place, Recipients},
    facts::LogFacts,
};
use unhidra_types::{ConversationId, MsgId, Timestamp};
use unhidra_wire::frame::{Append, ListVersion, Refusal};

use crate::{
    Messaging,
    access::Sender,
    order::{Key, SendOrder},
};

/// Why an envelope was not taken. Nothing was consumed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A rule refused it.
    #[error("refused: {reason:?}")]
    Refused {
        /// Which rule.
        reason: Refusal,
        /// The current heads, when a list was stale.
        heads: Vec<ListVersion>,
    },
    /// It could not be stored.
    #[error("store the entry")]
    Store(#[from] StoreError),
    /// An envelope before it on the same connection was put off, and has not come again.
    #[error("an earlier one comes first")]
    OutOfTurn,
}

impl AppendError {
    pub(crate) const fn refused(reason: Refusal) -> Self {
        Self::Refused {
            reason,
            heads: Vec::new(),
        }
    }
}

impl Messaging {
    /// Queues an envelope for its log, in the order of the calls; the future answers with its place once it is durable.
    /// The same envelope again gets the place of the first. When one can't be stored, those of the same `order` that come
    /// after it are refused until it comes again.
    ///
    /// # Errors
    /// [`AppendError`]; the log is as it was.
    ///
    /// # Cancellation safety
    /// The envelope is taken whether or not the future is still awaited.
    pub fn append(
        &self,
        sender: Sender,
        append: Append,
        order: &Arc<SendOrder>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Place, AppendError>> + Send + use<> {
        let (key, bytes) = (Key::of(&append), sealed_bytes(&append));
        let (turns, unsaved) = (Arc::clone(order), Arc::clone(order));
        let act = move |tx: &mut LogTx<'_>| {
            if !turns.is_turn_of(key, sender.device, tx)? {
                return Err(AppendError::OutOfTurn);
            }
            let taken = if append.conversation == ConversationId::CONTROL {
                tx.any(|tx| crate::control::append_in(tx, sender, &append, now))
            } else {
                append_in(tx, sender, append, now)
            };
            taken.inspect_err(|error| {
                if matches!(error, AppendError::Store(_)) {
                    turns.wait_for(key);
                }
            })
        };
        self.store.write_log(bytes, act, move || unsaved.wait_for(key))
    }
}

fn sealed_bytes(append: &Append) -> usize {
    let capsules = append.capsules.iter().map(|capsule| capsule.sealed.len());
    append.body.len() + capsules.sum::<usize>()
}

fn append_in(
    tx: &mut LogTx<'_>,
    sender: Sender,
    append: Append,
    now: Timestamp,
) -> Result<Place, AppendError> {
    let conversation = tx
        .log(append.conversation)?
        .ok_or(AppendError::refused(Refusal::NotFound))?;
    let resource = crate::access::resource_in(&conversation, sender.user);
    if decide(&sender.principal(), Action::Append, &resource) != Decision::Allow {
        return Err(AppendError::refused(Refusal::NotFound));
    }
    if append.msg_id == MsgId::NONE {
        return Err(AppendError::refused(Refusal::Malformed));
    }
    let key = EntryKey {
        sender_device: sender.device,
        msg_id: append.msg_id,
        dest: append.dest,
        attempt: append.attempt,
    };
    if let Some(place) = tx.place_of(conversation.log, &key)? {
        return Ok(place);
    }
    // It may have been queued behind its own revocation.
    if !tx.user(sender.user)?.devices.contains(&sender.device) {
        return Err(AppendError::refused(Refusal::NotFound));
    }
    let recipients = match conversation.kind {
        Kind::Direct => direct_recipients(tx, sender, &conversation, &append)?,
        Kind::Group => group_recipients(&append)?,
        Kind::Control => return Err(AppendError::refused(Refusal::NotFound)),
    };
    let entry = NewEntry {
        conversation: conversation.id,
        msg_id: append.msg_id,
        sender: sender.user,
        sender_device: sender.device,
        dest: append.dest,
        attempt: append.attempt,
        server_time: now,
        recipients,
        body: append.body,
    };
    let seq = tx.append_entry(conversation.log, &entry)?;
    tx.emit(Event::Appended(Arc::new(Entry { seq, entry })));
    Ok(Place {
        seq,
        server_time: now,
    })
}

fn group_recipients(append: &Append) -> Result<Recipients, AppendError> {
    let plain = append.capsules.is_empty()
        && append.list_versions.is_empty()
        && append.dest.is_none()
        && append.attempt == 0
        && !append.body.is_empty();
    if plain {
        Ok(Recipients::Members)
    } else {
        Err(AppendError::refused(Refusal::Malformed))
    }
}

/// The sender must have sealed for both users' current device lists, and for devices on them alone.
fn direct_recipients(
    tx: &mut LogTx<'_>,
    sender: Sender,
    conversation: &LogFacts,
    append: &Append,
) -> Result<Recipients, AppendError> {
    let has_body = !append.body.is_empty();
    if append.capsules.is_empty() || has_body != (append.attempt == 0) {
        return Err(AppendError::refused(Refusal::Malformed));
    }
    let mut devices = Vec::new();
    let mut heads = Vec::with_capacity(conversation.members.len());
    for member in &conversation.members {
        let user = tx.user(*member)?;
        let Some((version, head_hash)) = user.chain_head else {
            // Who was deleted never gets a device again.
            return Err(AppendError::refused(if user.is_deleted {
                Refusal::NotFound
            } else {
                Refusal::UnknownDevice
            }));
        };
        heads.push(ListVersion {
            user: *member,
            version,
            head_hash,
        });
        devices.extend_from_slice(&user.devices);
    }
    let mut sealed_for = append.list_versions.clone();
    sealed_for.sort_unstable_by_key(|list| list.user);
    if sealed_for != heads {
        return Err(AppendError::Refused {
            reason: Refusal::StaleList,
            heads,
        });
    }
    let known = |capsule: &unhidra_wire::frame::Capsule| {
        capsule.device != sender.device && devices.contains(&capsule.device)
    };
    if !append.capsules.iter().all(known) {
        return Err(AppendError::refused(Refusal::UnknownDevice));
    }
    let capsules = append.capsules.iter().map(|capsule| Capsule {
        device: capsule.device,
        kind: capsule.kind.number(),
        sealed: capsule.sealed.clone(),
    });
    Ok(Recipients::Capsules(capsules.collect()))
}
