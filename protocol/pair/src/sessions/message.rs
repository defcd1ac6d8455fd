//! What goes into a set of sessions and comes out of it: envelopes, their content, and what to store along.

use alloc::vec::Vec;

use unhidra_chain::{
    ListVersion, PqRatchet,
    prekey::{KemKind, PrekeyId},
};
use unhidra_types::{ConversationId, MsgId, Timestamp};

use super::SessionSet;
use crate::{
    body::Capsule,
    envelope::{Address, Envelope, Kind},
    prekey_message::EkHash,
};

/// One envelope as the server delivered it; its statements are checked, not believed.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The fields around the bytes.
    pub envelope: Envelope,
    /// The device that the server names as the sender.
    pub sender: Address,
    /// The log that the envelope was read from.
    pub conversation: ConversationId,
    /// One ratchet or prekey message.
    pub bytes: &'a [u8],
}

/// What was in a message, and everything to store along with it.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The set from now on.
    pub sessions: SessionSet,
    /// The session that it came in.
    pub session: EkHash,
    /// The plaintext.
    pub content: Content,
    /// When the sender sealed the message, or the message that this one repairs, by its own clock.
    pub sent_at: Timestamp,
    /// The sender's own list version when it sealed.
    pub own_list: ListVersion,
    /// The version of the receiving user's list that the sender used.
    pub peer_list: ListVersion,
    /// What a first message leaves to do; `None` for every other.
    pub accepted: Option<AcceptedHandshake>,
    /// Since when the session that opened it is archived; `None` for one that is not.
    pub archived_since: Option<Timestamp>,
}

/// The traces of a handshake that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedHandshake {
    /// One-time prekeys to erase.
    pub erase: Vec<PrekeyId>,
    /// What to keep so that the first message is not accepted again.
    pub remember: RememberedEk,
    /// Which KEM prekey was used, if any: the use of the last resort is shown.
    pub kem: Option<KemKind>,
}

/// One row of the table of accepted first messages, kept until `spk` is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedEk {
    /// The session's ephemeral key.
    pub ek: EkHash,
    /// The signed prekey that it was begun with.
    pub spk: PrekeyId,
}

/// The plaintext of a ratchet message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An encoded `Content` for the device itself.
    Control(Vec<u8>),
    /// The key of a body object.
    Capsule(Capsule),
}

/// What a sealed message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// This device.
    pub sender: Address,
    /// The message.
    pub msg_id: MsgId,
    /// When it is sealed; a repair repeats the time of the message that it repairs.
    pub sent_at: Timestamp,
    /// The version of the own user's chain held.
    pub own_list: ListVersion,
    /// The version of the peer's chain used.
    pub peer_list: ListVersion,
    /// By the newest certificates of both devices.
    pub pq: PqRatchet,
}

/// A sealed message: store the set and the bytes in one transaction, then send. A retry sends the stored bytes.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The set from now on.
    pub sessions: SessionSet,
    /// What the bytes are.
    pub kind: Kind,
    /// One ratchet or prekey message.
    pub bytes: Vec<u8>,
}
