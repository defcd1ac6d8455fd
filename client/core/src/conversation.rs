//! A direct conversation as this device knows it: who is in it, and what the next message there says of the ones before.

use unhidra_chain::codec::{Malformed, Reader};
use unhidra_types::{MsgId, UserId};

use crate::{record::Record, store::Table};

/// One conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conversation {
    /// The other user.
    pub(crate) peer: UserId,
    /// Whether the server is known to have it.
    pub(crate) on_server: bool,
    /// Messages that this device has sealed here (`cseq` of the last).
    pub(crate) sealed: u64,
    /// The last message placed, for the `after` of the next one sealed.
    pub(crate) last: MsgId,
}

impl Conversation {
    pub(crate) const fn with(peer: UserId) -> Self {
        Self {
            peer,
            on_server: false,
            sealed: 0,
            last: MsgId::NONE,
        }
    }
}

impl Record for Conversation {
    const TABLE: Table = Table::Conversations;

    /// `peer(16) on_server(1) sealed(8) last(16)`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.peer.as_bytes());
        out.push(u8::from(self.on_server));
        out.extend(self.sealed.to_be_bytes());
        out.extend(self.last.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            peer: UserId::from_bytes(reader.array()?),
            on_server: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed),
            },
            sealed: reader.u64()?,
            last: MsgId::from_bytes(reader.array()?),
        })
    }
}
