//! The logs of the test world, kept as the protocol says: numbered without gaps, idempotent, refused without a trace.

use std::collections::{BTreeMap, BTreeSet};

use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId};
use unhidra_wire::frame::{Append, Appended, Deliver, Refusal, Refused, ServerFrame};

use crate::directory::Directory;

#[derive(Clone)]
pub(crate) struct Logs {
    /// What is said to devices themselves.
    pub(crate) control: BTreeMap<DeviceId, Vec<Entry>>,
    /// Whether what is said to devices is lost on its way.
    pub(crate) is_deaf: bool,
    /// Numbers that a restore left out: from which entry on, and how many.
    pub(crate) gaps: BTreeMap<ConversationId, (usize, u64)>,
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
            control: BTreeMap::new(),
            is_deaf: false,
            gaps: BTreeMap::new(),
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
        if let (ConversationId::CONTROL, Some(dest)) = (append.conversation, append.dest) {
            let log = self.control.entry(dest).or_default();
            let seq = log.len() as u64 + 1;
            let answer = appended(seq, now);
            self.last_accepted.insert(device, append.msg_id);
            if self.is_deaf {
                return (answer, None);
            }
            log.push(Entry {
                sender,
                device,
                append,
                server_time: now,
            });
            return (answer, Some(seq));
        }
        let gap = self.gaps.get(&append.conversation).copied();
        let Some(members) = self.members.get(&append.conversation) else {
            return (refused(Refusal::NotFound, Vec::new()), None);
        };
        let log = self.entries.entry(append.conversation).or_default();
        let same = |entry: &Entry| {
            (
                entry.device,
                entry.append.msg_id,
                entry.append.dest,
                entry.append.attempt,
            ) == (device, append.msg_id, append.dest, append.attempt)
        };
        if let Some(index) = log.iter().position(same) {
            return (appended(numbered(gap, index), log[index].server_time), None);
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
        // A server that shows an old list takes what names a newer one: it wants the message.
        let is_current = |head: &unhidra_wire::frame::ListVersion| {
            named
                .iter()
                .any(|(user, version)| *user == head.user && *version >= head.version)
        };
        if !heads.iter().all(is_current) {
            return (refused(Refusal::StaleList, heads), None);
        }
        let live = |device: DeviceId| {
            members
                .iter()
                .any(|user| directory.shown(*user, sender).is_live(device, now).is_live())
        };
        if !append
            .capsules
            .iter()
            .all(|capsule| live(capsule.device) && capsule.device != device)
        {
            return (refused(Refusal::UnknownDevice, Vec::new()), None);
        }
        let seq = numbered(gap, log.len());
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

    /// The number of the last entry, given or left out.
    pub(crate) fn head(&self, conversation: ConversationId, device: DeviceId) -> u64 {
        let length = self.log(conversation, device).map_or(0, Vec::len);
        let gap = self.gaps.get(&conversation).copied();
        numbered(gap, length) - 1
    }

    fn log(&self, conversation: ConversationId, device: DeviceId) -> Option<&Vec<Entry>> {
        match conversation {
            ConversationId::CONTROL => self.control.get(&device),
            conversation => self.entries.get(&conversation),
        }
    }

    /// One entry as `device` sees it.
    pub(crate) fn frame(&self, conversation: ConversationId, seq: u64, device: DeviceId) -> ServerFrame {
        let gap = self.gaps.get(&conversation).copied();
        let log = self.log(conversation, device).unwrap();
        let entry = (0..log.len()).find(|index| numbered(gap, *index) == seq);
        let capsule = entry.and_then(|index| {
            let mut capsules = log[index].append.capsules.iter();
            let own = capsules.find(|capsule| capsule.device == device);
            own.map(|capsule| (&log[index], capsule))
        });
        match capsule {
            Some((entry, capsule)) => ServerFrame::Deliver(Deliver {
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
        let head = self.head(conversation, device);
        (from.max(1)..=to.min(head))
            .map(|seq| self.frame(conversation, seq, device))
            .collect()
    }
}

/// The number of the entry at `index`.
fn numbered(gap: Option<(usize, u64)>, index: usize) -> u64 {
    let left_out = gap.filter(|(from, _)| index >= *from).map_or(0, |(_, by)| by);
    index as u64 + 1 + left_out
}
