//! The logs of the test world, kept as the protocol says: numbered without gaps, idempotent, refused without a trace.

use std::collections::{BTreeMap, BTreeSet};

use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId};
use unhidra_wire::frame::{Append, Appended, Deliver, Refusal, Refused, ServerFrame};

use crate::directory::Directory;

pub(crate) struct Logs {
    pub(crate) members: BTreeMap<ConversationId, [UserId; 2]>,
    pub(crate) entries: BTreeMap<ConversationId, Vec<Entry>>,
    pub(crate) cursors: BTreeMap<(DeviceId, ConversationId), u64>,
    pub(crate) last_accepted: BTreeMap<DeviceId, MsgId>,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) sender: UserId,
    pub(crate) device: DeviceId,
    pub(crate) append: Append,
    pub(crate) server_time: Timestamp,
}

impl Logs {
    pub(crate) const fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            entries: BTreeMap::new(),
            cursors: BTreeMap::new(),
            last_accepted: BTreeMap::new(),
        }
    }

    /// The answer, and the place of a new entry.
    pub(crate) fn append(
        &mut self,
        directory: &Directory,
        sender: UserId,
        device: DeviceId,
        append: Append,
        now: Timestamp,
    ) -> (ServerFrame, Option<u64>) {
        let refused = |reason, heads| {
            ServerFrame::Refused(Refused {
                conversation: append.conversation,
                msg_id: append.msg_id,
                attempt: append.attempt,
                dest: append.dest,
                reason,
                heads,
                retry_after_ms: 0,
            })
        };
        let appended = |seq, server_time| {
            ServerFrame::Appended(Appended {
                conversation: append.conversation,
                msg_id: append.msg_id,
                attempt: append.attempt,
                dest: append.dest,
                seq,
                server_time,
            })
        };
        let Some(members) = self.members.get(&append.conversation) else {
            return (refused(Refusal::NotFound, Vec::new()), None);
        };
        let log = self.entries.entry(append.conversation).or_default();
        let same = |entry: &Entry| {
            (entry.device, entry.append.msg_id, entry.append.dest) == (device, append.msg_id, append.dest)
        };
        if let Some(index) = log.iter().position(same) {
            return (appended(index as u64 + 1, log[index].server_time), None);
        }
        let heads: Vec<_> = members
            .iter()
            .map(|user| directory.head_for(*user, sender))
            .collect();
        let named: BTreeSet<_> = append
            .list_versions
            .iter()
            .map(|list| (list.user, list.version))
            .collect();
        if named != heads.iter().map(|list| (list.user, list.version)).collect() {
            return (refused(Refusal::StaleList, heads), None);
        }
        let live = |device: DeviceId| {
            members
                .iter()
                .any(|user| directory.chains[user].is_live(device, now).is_live())
        };
        if !append
            .capsules
            .iter()
            .all(|capsule| live(capsule.device) && capsule.device != device)
        {
            return (refused(Refusal::UnknownDevice, Vec::new()), None);
        }
        let seq = log.len() as u64 + 1;
        let answer = appended(seq, now);
        self.last_accepted.insert(device, append.msg_id);
        log.push(Entry {
            sender,
            device,
            append,
            server_time: now,
        });
        (answer, Some(seq))
    }

    /// One entry as `device` sees it.
    pub(crate) fn frame(&self, conversation: ConversationId, seq: u64, device: DeviceId) -> ServerFrame {
        let entry = &self.entries[&conversation][seq as usize - 1];
        let capsule = entry
            .append
            .capsules
            .iter()
            .find(|capsule| capsule.device == device);
        match capsule {
            Some(capsule) => ServerFrame::Deliver(Deliver {
                conversation,
                seq,
                msg_id: entry.append.msg_id,
                sender: entry.sender,
                sender_device: entry.device,
                server_time: entry.server_time,
                attempt: entry.append.attempt,
                version: 1,
                flags: 0,
                capsule: Some(capsule.clone()),
                body: entry.append.body.clone(),
            }),
            None => ServerFrame::Skip {
                conversation,
                from: seq,
                to: seq,
            },
        }
    }

    pub(crate) fn range(
        &self,
        conversation: ConversationId,
        from: u64,
        to: u64,
        device: DeviceId,
    ) -> Vec<ServerFrame> {
        let head = self.entries.get(&conversation).map_or(0, |log| log.len() as u64);
        (from.max(1)..=to.min(head))
            .map(|seq| self.frame(conversation, seq, device))
            .collect()
    }
}
