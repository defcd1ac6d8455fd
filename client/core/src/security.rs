//! Security events: what was refused, why, and from whom, for the user to look at.

use unhidra_chain::codec::{Malformed, Reader};
use unhidra_types::{ConversationId, DeviceId, Timestamp, UserId};
use unhidra_wire::rest::OpeningFailure;

use crate::{record::Record, store::Table};

/// Events kept; the oldest go first. The counts go on.
pub const MAX_SECURITY_EVENTS: u64 = 1_000;

/// One thing that should not have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityEvent {
    /// When this device noticed it.
    pub at: Timestamp,
    /// What.
    pub reason: Suspicion,
    /// The user that the server named as the sender.
    pub sender: UserId,
    /// The device that the server named as the sender.
    pub device: DeviceId,
    /// The log.
    pub conversation: ConversationId,
    /// The entry's place in it.
    pub seq: u64,
}

macro_rules! suspicions {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Why an entry could not be taken as a message. Numbers stand in stores.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Suspicion {
            $($(#[$doc])* $name,)*
        }

        impl Suspicion {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its number in stores.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self {
                    $(Self::$name => $number,)*
                }
            }

            /// A sentence fragment for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

suspicions! {
    /// Length, flag, padding, point or KEM key.
    Malformed = 1, "malformed message";
    /// The first message of a session that was accepted before.
    Replay = 2, "replayed first message";
    /// No session opens it.
    NoSession = 3, "no session opens the message";
    /// It names a prekey that is not held.
    UnknownPrekey = 4, "message for an unknown prekey";
    /// Its key was used before, for another message.
    KeyGone = 5, "key of the message is gone";
    /// It skips too far ahead.
    SkipTooFar = 6, "message skips too far ahead";
    /// It was altered.
    BadTag = 7, "message was altered in transit";
    /// Its sender is no live device of its user.
    UnknownDevice = 8, "sender is no device of its user";
    /// Both devices can do better than the suite it uses.
    Downgrade = 9, "message uses a weaker suite";
    /// A kind of content in a place where it does not belong.
    Misplaced = 10, "content in the wrong place";
    /// A version, kind or suite of a later protocol: nothing bad by itself.
    Unsupported = 11, "message needs a newer version";
    /// The sender's identity key is not the pinned one.
    IdentityChanged = 12, "sender's identity has changed";
    /// The entry has no capsule for this device.
    NoCapsule = 20, "message came without its key";
    /// A device asks for a message that was not sent to it.
    RetryOfStranger = 21, "repair asked for by a device that was no recipient";
    /// A device has named a version of its user's list that can't be, or that it never proved.
    UnprovenList = 22, "device names a list that nobody has seen";
    /// An answer to a question that was not asked.
    Unasked = 23, "repair that was not asked for";
    /// The server states a prekey generation that this device can't have had.
    ImpossibleStock = 24, "server states prekeys that never were";
    /// No post-quantum epoch has come for too long.
    EpochOverdue = 25, "post-quantum steps do not arrive";
}

impl Suspicion {
    /// As the server's administrators see it, when a message of somebody was not opened for it; else the reason is about
    /// what a device or the server said.
    #[must_use]
    pub const fn opening_failure(self) -> Option<OpeningFailure> {
        Some(match self {
            Self::Malformed => OpeningFailure::Malformed,
            Self::Replay => OpeningFailure::Replay,
            Self::NoSession => OpeningFailure::NoSession,
            Self::UnknownPrekey => OpeningFailure::UnknownPrekey,
            Self::KeyGone => OpeningFailure::KeyGone,
            Self::SkipTooFar => OpeningFailure::SkipTooFar,
            Self::BadTag => OpeningFailure::BadTag,
            Self::UnknownDevice => OpeningFailure::UnknownDevice,
            Self::Downgrade => OpeningFailure::Downgrade,
            Self::Unsupported => OpeningFailure::Unsupported,
            Self::IdentityChanged => OpeningFailure::IdentityChanged,
            Self::NoCapsule => OpeningFailure::NoCapsule,
            Self::Misplaced
            | Self::RetryOfStranger
            | Self::UnprovenList
            | Self::Unasked
            | Self::ImpossibleStock
            | Self::EpochOverdue => return None,
        })
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.number() == number)
    }
}

impl Record for SecurityEvent {
    const TABLE: Table = Table::SecurityEvents;

    /// `at(8) reason(1) sender(16) device(16) conversation(16) seq(8)`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.at.as_millis().to_be_bytes());
        out.push(self.reason.number());
        out.extend(self.sender.as_bytes());
        out.extend(self.device.as_bytes());
        out.extend(self.conversation.as_bytes());
        out.extend(self.seq.to_be_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            at: Timestamp::from_millis(reader.u64()?),
            reason: Suspicion::from_number(reader.u8()?).ok_or(Malformed)?,
            sender: UserId::from_bytes(reader.array()?),
            device: DeviceId::from_bytes(reader.array()?),
            conversation: ConversationId::from_bytes(reader.array()?),
            seq: reader.u64()?,
        })
    }
}
