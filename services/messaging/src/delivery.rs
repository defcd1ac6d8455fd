//! What a device still has to read, page by page.

use bytes::Bytes;
use unhidra_store::{
    Snapshot, StoreError,
    conversation::{Kind, LogNumber},
    cursor::Position,
    entry::{EntryPage, PageLimit, StoredEntry},
};
use unhidra_types::{ConversationId, DeviceId, MsgId, UserId};
use unhidra_wire::{
    base64::Base64,
    frame::{Capsule, CapsuleKind, Deliver, ENVELOPE_VERSION, ListVersion, ServerFrame},
    rest,
};

use crate::{Messaging, access::Sender, cursors::Cursors};

/// Logs that one connection follows; beyond it a device reads over REST.
pub const MAX_LOGS: u32 = 10_000;
/// Entries in one page.
const PAGE_ENTRIES: u32 = 256;
const PAGE: PageLimit = PageLimit {
    entries: PAGE_ENTRIES,
    bytes: 256 * 1024,
};

/// A page of frames for one device.
#[derive(Clone, Debug)]
pub struct Page {
    /// Frames in log order.
    pub frames: Vec<Bytes>,
    /// The last entry that the frames cover.
    pub through: u64,
}

/// What the server holds of a device that connects.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its last accepted message.
    pub last_accepted: Option<MsgId>,
    /// Its user's chain.
    pub own_list: ListVersion,
    /// How far it has read its logs: [`Messaging::positions`].
    pub positions: Vec<Position>,
}

/// Where a log is found again without looking it up by name.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// Its number in the store.
    pub number: LogNumber,
    /// Its name.
    pub conversation: ConversationId,
    /// Its kind.
    pub kind: Kind,
}

impl From<&Position> for Log {
    fn from(position: &Position) -> Self {
        Self {
            number: position.log,
            conversation: position.conversation,
            kind: position.kind,
        }
    }
}

impl Messaging {
    /// What a device asks when it connects, in one look.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, or [`StoreError::Corrupt`] for a device without a chain.
    pub async fn arrival(&self, sender: Sender) -> Result<Arrival, StoreError> {
        let cursors = self.cursors();
        self.store.read(move |db| arrival(db, &cursors, sender)).await
    }

    /// How far `device` has read its control log and each log of its user, at most [`MAX_LOGS`] of these.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn positions(&self, user: UserId, device: DeviceId) -> Result<Vec<Position>, StoreError> {
        let cursors = self.cursors();
        self.store
            .read(move |db| positions(db, &cursors, user, device))
            .await
    }

    /// How far `device` has read one log, if `user` is a member.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn position(
        &self,
        user: UserId,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<Position>, StoreError> {
        let cursors = self.cursors();
        self.store
            .read(move |db| {
                let mut found = match conversation {
                    ConversationId::CONTROL => db.control_position(device),
                    _ => db.position(user, device, conversation),
                };
                if let Ok(Some(position)) = &mut found {
                    cursors.advance(device, position);
                }
                found
            })
            .await
    }

    /// The frames that `device` gets for entries `from..=to`, at most one page of them. Where `to` lies among numbers
    /// that a restore left void, the page goes on to their end, yet not beyond `known`: however many they are, they cost
    /// one frame.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn page(
        &self,
        log: Log,
        device: DeviceId,
        from: u64,
        to: u64,
        known: u64,
    ) -> Result<Page, StoreError> {
        self.store
            .read(move |db| {
                let mut page = match log.kind {
                    Kind::Direct | Kind::Control => {
                        db.entries_for_device(log.number, device, from, to, PAGE)?
                    }
                    Kind::Group => db.entries(log.number, from, to, PAGE)?,
                };
                let ends_void = page.entries.last().is_none_or(|last| last.seq < page.through);
                if ends_void && page.through < known {
                    let next = db.next_entry(log.number, page.through)?;
                    page.through = next.map_or(known, |next| known.min(next.saturating_sub(1)));
                }
                Ok(Page {
                    through: page.through,
                    frames: frames(log, device, from, page),
                })
            })
            .await
    }
}

/// [`Messaging::arrival`], for who looks for other things as well.
///
/// # Errors
/// As there.
pub fn arrival(db: &Snapshot<'_>, cursors: &Cursors, sender: Sender) -> Result<Arrival, StoreError> {
    let (version, head_hash) = db.chain_head(sender.user)?.ok_or(StoreError::Corrupt("chain"))?;
    Ok(Arrival {
        last_accepted: db.last_accepted(sender.device)?,
        own_list: ListVersion {
            user: sender.user,
            version,
            head_hash,
        },
        positions: positions(db, cursors, sender.user, sender.device)?,
    })
}

/// [`Messaging::positions`], for who looks for other things as well.
///
/// # Errors
/// As there.
pub fn positions(
    db: &Snapshot<'_>,
    cursors: &Cursors,
    user: UserId,
    device: DeviceId,
) -> Result<Vec<Position>, StoreError> {
    let mut positions: Vec<_> = db.control_position(device)?.into_iter().collect();
    positions.extend(db.positions(user, device, MAX_LOGS)?);
    for position in &mut positions {
        cursors.advance(device, position);
    }
    Ok(positions)
}

/// A page of a log as it is kept, for the REST interface; `None` when `user` is not a member.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub fn history(
    db: &Snapshot<'_>,
    user: UserId,
    conversation: ConversationId,
    after: u64,
    limit: u64,
) -> Result<Option<rest::Entries>, StoreError> {
    let Some(found) = db.conversation_of(conversation, user)? else {
        return Ok(None);
    };
    let limit = PageLimit {
        entries: u32::try_from(limit)
            .unwrap_or(PAGE_ENTRIES)
            .clamp(1, PAGE_ENTRIES),
        ..PAGE
    };
    let page = db.entries(found.log, after.saturating_add(1), found.head, limit)?;
    let last = page.entries.last().map(|entry| entry.seq);
    Ok(Some(rest::Entries {
        entries: page.entries.into_iter().map(described).collect(),
        head: found.head,
        next: last.filter(|last| *last < found.head),
    }))
}

/// Runs of entries that hold nothing for the device, and of void numbers, become one skip.
fn frames(log: Log, device: DeviceId, from: u64, page: EntryPage) -> Vec<Bytes> {
    let mut frames = Vec::with_capacity(page.entries.len());
    // The first number that no frame covers yet.
    let mut next = from;
    let skip_to = |frames: &mut Vec<Bytes>, from, to| {
        if from <= to {
            let skip = ServerFrame::Skip {
                conversation: log.conversation,
                from,
                to,
            };
            frames.push(skip.encode());
        }
    };
    for entry in page.entries {
        let seq = entry.seq;
        if let Some(deliver) = deliver(log, device, entry) {
            skip_to(&mut frames, next, seq.saturating_sub(1));
            frames.push(ServerFrame::Deliver(deliver).encode());
            next = seq.saturating_add(1);
        }
    }
    skip_to(&mut frames, next, page.through);
    frames
}

fn deliver(log: Log, device: DeviceId, entry: StoredEntry) -> Option<Deliver> {
    if entry.sender_device == device {
        return None;
    }
    let capsule = match (log.kind, entry.capsule) {
        (Kind::Group, _) => None,
        (Kind::Direct | Kind::Control, Some(capsule)) => Some(Capsule {
            device,
            kind: CapsuleKind::from_number(capsule.kind)?,
            sealed: capsule.sealed,
        }),
        (Kind::Direct | Kind::Control, None) => return None,
    };
    Some(Deliver {
        conversation: log.conversation,
        seq: entry.seq,
        msg_id: entry.msg_id,
        sender: entry.sender,
        sender_device: entry.sender_device,
        server_time: entry.server_time,
        attempt: entry.attempt,
        version: ENVELOPE_VERSION,
        flags: 0,
        capsule,
        body: entry.body.unwrap_or_default(),
    })
}

fn described(entry: StoredEntry) -> rest::Entry {
    rest::Entry {
        seq: entry.seq,
        msg_id: entry.msg_id,
        sender: entry.sender,
        sender_device: entry.sender_device,
        server_time: entry.server_time,
        body: entry.body.map(|body| Base64(body.into())),
    }
}
