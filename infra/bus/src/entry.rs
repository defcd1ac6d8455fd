//! An entry on its way to many connections.

use std::sync::OnceLock;

use bytes::Bytes;
use unhidra_types::{ConversationId, DeviceId};
use unhidra_wire::frame::{Capsule, Deliver, ServerFrame};

/// An entry as it was committed.
#[derive(Debug)]
pub struct Entry {
    /// Everything that all receivers share; its capsule is empty.
    shared: Deliver,
    /// `None` when every device of every member gets the same bytes.
    capsules: Option<Vec<Capsule>>,
    message: OnceLock<Bytes>,
}

impl Entry {
    /// An entry whose receivers all get the same bytes.
    #[must_use]
    pub const fn for_members(deliver: Deliver) -> Self {
        Self {
            shared: deliver,
            capsules: None,
            message: OnceLock::new(),
        }
    }

    /// An entry for the devices that have a capsule.
    #[must_use]
    pub const fn for_devices(deliver: Deliver, capsules: Vec<Capsule>) -> Self {
        Self {
            shared: deliver,
            capsules: Some(capsules),
            message: OnceLock::new(),
        }
    }

    /// What all receivers share.
    #[must_use]
    pub const fn shared(&self) -> &Deliver {
        &self.shared
    }

    /// The one device that a control entry is for; `None` for an entry of a conversation.
    #[must_use]
    pub fn control_receiver(&self) -> Option<DeviceId> {
        let capsules = self.capsules.as_deref()?;
        let is_control = self.shared.conversation == ConversationId::CONTROL;
        capsules
            .first()
            .filter(|_| is_control)
            .map(|capsule| capsule.device)
    }

    /// Bytes of its body and capsules.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let capsules = self.capsules.iter().flatten();
        self.shared.body.len() + capsules.map(|capsule| capsule.sealed.len()).sum::<usize>()
    }

    /// The WebSocket message that all members get, laid out once; `None` when each device gets its own.
    #[must_use]
    pub fn message_for_members(&self) -> Option<&Bytes> {
        let lay_out = || ServerFrame::Deliver(self.shared.clone()).encode_message();
        match self.capsules {
            None => Some(self.message.get_or_init(lay_out)),
            Some(_) => None,
        }
    }

    /// The WebSocket message for a device: the entry, or a skip when it holds nothing for it.
    #[must_use]
    pub fn message_for(&self, device: DeviceId) -> Bytes {
        let Deliver {
            conversation, seq, ..
        } = self.shared;
        let skip = || {
            ServerFrame::Skip {
                conversation,
                from: seq,
                to: seq,
            }
            .encode_message()
        };
        if device == self.shared.sender_device {
            return skip();
        }
        if let Some(message) = self.message_for_members() {
            return message.clone();
        }
        match &self.capsules {
            None => skip(),
            Some(capsules) => match capsules.iter().find(|capsule| capsule.device == device) {
                Some(capsule) => ServerFrame::Deliver(Deliver {
                    capsule: Some(capsule.clone()),
                    ..self.shared.clone()
                })
                .encode_message(),
                None => skip(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unhidra_types::{MsgId, Timestamp, UserId};
    use unhidra_wire::frame::CapsuleKind;

    const SENDER: DeviceId = DeviceId::from_bytes([1; 16]);
    const RECEIVER: DeviceId = DeviceId::from_bytes([2; 16]);
    const OTHER: DeviceId = DeviceId::from_bytes([3; 16]);

    fn deliver() -> Deliver {
        Deliver {
            conversation: ConversationId::from_bytes([4; 16]),
            seq: 7,
            msg_id: MsgId::from_bytes([5; 16]),
            sender: UserId::from_bytes([6; 16]),
            sender_device: SENDER,
            server_time: Timestamp::from_millis(1),
            attempt: 0,
            version: 1,
            flags: 0,
            capsule: None,
            body: Bytes::from_static(b"sealed"),
        }
    }

    fn decoded(entry: &Entry, device: DeviceId) -> ServerFrame {
        // A head of two bytes: the entries here are short.
        ServerFrame::decode(entry.message_for(device).slice(2..))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_device_gets_its_own_capsule_and_everyone_else_a_skip() {
        let capsule = Capsule {
            device: RECEIVER,
            kind: CapsuleKind::Ratchet,
            sealed: Bytes::from_static(b"c"),
        };
        let entry = Entry::for_devices(deliver(), vec![capsule.clone()]);
        let expected = Deliver {
            capsule: Some(capsule),
            ..deliver()
        };
        assert_eq!(decoded(&entry, RECEIVER), ServerFrame::Deliver(expected));
        let skip = ServerFrame::Skip {
            conversation: deliver().conversation,
            from: 7,
            to: 7,
        };
        assert_eq!(decoded(&entry, OTHER), skip);
        assert_eq!(decoded(&entry, SENDER), skip);
    }

    #[test]
    fn members_share_one_encoding() {
        let entry = Entry::for_members(deliver());
        assert_eq!(
            entry.message_for(RECEIVER).as_ptr(),
            entry.message_for(OTHER).as_ptr()
        );
    }
}
