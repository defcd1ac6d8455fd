//! What a step of the device asks its driver to do. Everything that it rests on is persisted already.

use std::{collections::BTreeSet, time::Duration};

use unhidra_types::{ConversationId, DeviceId, MsgId, UserId};
use unhidra_wire::frame::ClientFrame;

use crate::{identity_change::ChangeKind, outbox::EntryNumber};

/// The outcome of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a device whose effects are dropped stops"]
pub struct Effects {
    /// To be sent now, in order. They may be lost with the connection: the next one makes up for them.
    pub frames: Vec<ClientFrame>,
    /// To be got from the REST interface and handed back.
    pub needs: BTreeSet<Need>,
    /// To be shown.
    pub notices: Vec<Notice>,
    /// Whether the outbox has something to send.
    pub outbox: OutboxChange,
    /// Entries of the outbox that were in flight and are no longer.
    pub answered: Vec<Answer>,
    /// Whether there is more of the same work: call [`Device::advance`](crate::Device::advance).
    pub more: bool,
}

/// What the server said about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The entry.
    pub entry: EntryNumber,
    /// When it is to be sent again, if the server could not take it now.
    pub retry_after: Option<Duration>,
}

/// What a step did to the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutboxChange {
    /// Nothing that leaves.
    #[default]
    None,
    /// New entries at its end.
    Grown,
    /// An earlier entry is to be sent again: look from its beginning.
    Requeued,
}

/// Something that only the server's directory knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The conversation with a user, opened; for [`Device::conversation_opened`](crate::Device::conversation_opened).
    Conversation(UserId),
    /// A user's chain from a record on; for [`Device::learn_chain`](crate::Device::learn_chain).
    Chain {
        /// Whose.
        user: UserId,
        /// The number of the first record.
        from: u32,
    },
    /// One bundle of each device; for [`Device::bundles_taken`](crate::Device::bundles_taken).
    Bundles {
        /// Whose devices.
        user: UserId,
        /// Which.
        devices: Vec<DeviceId>,
    },
    /// The ids of the prekeys in stock; for [`Device::stock_listed`](crate::Device::stock_listed).
    Stock,
    /// [`Device::pending_upload`](crate::Device::pending_upload) is to be uploaded; for
    /// [`Device::prekeys_uploaded`](crate::Device::prekeys_uploaded).
    UploadPrekeys,
    /// [`Device::opening_failures`](crate::Device::opening_failures) are to be reported; for
    /// [`Device::failures_reported`](crate::Device::failures_reported). What does not arrive is said at a later
    /// connection.
    ReportFailures,
}

/// Something that happened, for people. Messages are read from the store, where each stands once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Messages were placed in a conversation: others', or one's own once the server took them.
    Messages(ConversationId),
    /// The server took a message of this device.
    Accepted {
        /// The log.
        conversation: ConversationId,
        /// The message.
        msg_id: MsgId,
        /// Its place.
        seq: u64,
    },
    /// A device of the other user has opened and stored a message of this device.
    Delivered {
        /// The log.
        conversation: ConversationId,
        /// The message.
        msg_id: MsgId,
    },
    /// A message can't be sent; it stays in the outbox.
    Failed {
        /// The log.
        conversation: ConversationId,
        /// The message.
        msg_id: MsgId,
        /// Why.
        reason: Failure,
    },
    /// A device has no usable prekeys and will get the message later.
    Owed {
        /// Which device.
        device: DeviceId,
        /// The message.
        msg_id: MsgId,
    },
    /// An entry can't be opened or understood; it is kept.
    Waiting {
        /// The log.
        conversation: ConversationId,
        /// Its place.
        seq: u64,
    },
    /// The user has another identity key than the one that was pinned: nothing is sent until that is accepted.
    IdentityChanged(UserId),
    /// The user's identity was replaced, and what is pinned with it.
    IdentityReplaced {
        /// Whose.
        user: UserId,
        /// How.
        kind: ChangeKind,
    },
    /// The server shows a shorter device list of the user than one of that user's devices has named: nothing is sent
    /// until it shows the rest. Told once for each version that is missing.
    ListWithheld(UserId),
    /// No post-quantum epoch has come for 30 d of use with a device of this user, as when someone drops the messages that it
    /// takes: the session was ended, and another one begins.
    EpochOverdue(UserId),
    /// The server's answer about a user's devices does not hold; the one that was held stays in use.
    ChainRefused(UserId),
    /// This device was revoked.
    Revoked,
    /// The store was set back: all sessions are begun anew.
    RolledBack,
    /// The server was set back: it has lost messages of this device, which were sent once more.
    ServerSetBack,
    /// All that was waiting on the server has been processed.
    CaughtUp,
}

/// Why a message can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No such conversation, or not a member of it.
    #[error("no such conversation, or not a member")]
    NotFound,
    /// The server says that the frame breaks a rule.
    #[error("refused as malformed")]
    Malformed,
    /// The device lists changed more often than a message is sealed again.
    #[error("device lists keep changing")]
    ListsKeepChanging,
    /// It was written for an identity that was replaced since.
    #[error("written for an identity that was replaced since: send it anew if it is still meant")]
    IdentityChanged,
}

impl Effects {
    /// Adds what a later step asks for.
    pub fn merge(&mut self, later: Self) {
        self.frames.extend(later.frames);
        self.needs.extend(later.needs);
        self.notices.extend(later.notices);
        self.outbox = self.outbox.max(later.outbox);
        self.answered.extend(later.answered);
        self.more |= later.more;
    }
}
