//! The envelope around a message, and the associated data that binds a message to it.

use unhidra_chain::{DeviceIdentity, Suite, codec::concat, label};
use unhidra_types::{ConversationId, DeviceId, MsgId, UserId};

use crate::error::OpenError;

/// The version of the envelope that this crate makes and reads.
pub const VERSION: u8 = 1;

/// What the bytes of an envelope are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A ratchet message behind what the receiver needs to begin the session.
    Prekey,
    /// A ratchet message.
    Ratchet,
}

impl Kind {
    /// The byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Prekey => 1,
            Self::Ratchet => 2,
        }
    }
}

/// The canonical fields of an envelope (`ENV`): version and flags have one value, so they are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// What the bytes are.
    pub kind: Kind,
    /// The receiving device.
    pub dest: DeviceId,
    /// The message, chosen by the sending device.
    pub msg_id: MsgId,
}

impl From<&DeviceIdentity> for Address {
    fn from(identity: &DeviceIdentity) -> Self {
        Self {
            user: identity.user,
            device: identity.device,
        }
    }
}

impl Envelope {
    /// Checks the fields as they came.
    ///
    /// # Errors
    /// [`OpenError::Unsupported`] for another version or kind, [`OpenError::Malformed`] for a flag.
    pub const fn check(
        version: u8,
        kind: u8,
        flags: u16,
        dest: DeviceId,
        msg_id: MsgId,
    ) -> Result<Self, OpenError> {
        let kind = match (version, kind) {
            (VERSION, 1) => Kind::Prekey,
            (VERSION, 2) => Kind::Ratchet,
            _ => return Err(OpenError::Unsupported),
        };
        if flags != 0 {
            return Err(OpenError::Malformed);
        }
        Ok(Self { kind, dest, msg_id })
    }
}

/// A device and its user: one end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
}

/// Bytes of the associated data.
pub(crate) const AD_BYTES: usize = 158;

/// What the associated data of one message is rebuilt from.
pub(crate) struct AssociatedData<'a> {
    pub(crate) suite: Suite,
    pub(crate) transcript: &'a [u8; 32],
    pub(crate) sender: Address,
    pub(crate) receiver: Address,
    pub(crate) conversation: ConversationId,
    pub(crate) envelope: Envelope,
}

impl AssociatedData<'_> {
    pub(crate) fn to_bytes(&self) -> [u8; AD_BYTES] {
        concat(&[
            label!("UNH1/ad"),
            &self.suite.to_bytes(),
            self.transcript,
            self.sender.user.as_bytes(),
            self.sender.device.as_bytes(),
            self.receiver.user.as_bytes(),
            self.receiver.device.as_bytes(),
            self.conversation.as_bytes(),
            &[VERSION, self.envelope.kind.to_byte(), 0, 0],
            self.envelope.dest.as_bytes(),
            self.envelope.msg_id.as_bytes(),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([3; 16]);
    const MSG: MsgId = MsgId::from_bytes([4; 16]);

    #[test]
    fn another_version_kind_or_flag_is_refused() {
        assert!(Envelope::check(1, 2, 0, DEVICE, MSG).is_ok());
        assert_eq!(Envelope::check(2, 2, 0, DEVICE, MSG), Err(OpenError::Unsupported));
        assert_eq!(Envelope::check(1, 3, 0, DEVICE, MSG), Err(OpenError::Unsupported));
        assert_eq!(Envelope::check(1, 0, 0, DEVICE, MSG), Err(OpenError::Unsupported));
        assert_eq!(Envelope::check(1, 2, 1, DEVICE, MSG), Err(OpenError::Malformed));
    }

    #[test]
    fn associated_data_is_158_bytes_in_the_order_of_the_specification() {
        let address = |byte| Address {
            user: UserId::from_bytes([byte; 16]),
            device: DeviceId::from_bytes([byte + 1; 16]),
        };
        let ad = AssociatedData {
            suite: Suite::Hybrid,
            transcript: &[9; 32],
            sender: address(10),
            receiver: address(20),
            conversation: ConversationId::from_bytes([30; 16]),
            envelope: Envelope {
                kind: Kind::Ratchet,
                dest: DEVICE,
                msg_id: MSG,
            },
        }
        .to_bytes();
        let expected = [
            b"\x07UNH1/ad\x01\x01".as_slice(),
            &[9; 32],
            &[10; 16],
            &[11; 16],
            &[20; 16],
            &[21; 16],
            &[30; 16],
            &[1, 2, 0, 0],
            &[3; 16],
            &[4; 16],
        ]
        .concat();
        assert_eq!(ad.as_slice(), expected);
    }
}
