//! RFC 6455 as this server speaks it, without I/O: whole binary messages out, masked frames in.
//!
//! - [`reader`]: bytes of a peer to messages, nothing kept between two of them
//! - [`queue`]: what is still to be written, shared bytes and never a copy
//!
//! No extension is offered, so reserved bits are always zero. What breaks the protocol has one answer, whatever it is.

mod queue;
mod reader;

pub(crate) use queue::Queue;
pub(crate) use reader::{Message, Reader};

use bytes::Bytes;

/// The longest payload of a control frame.
const MAX_CONTROL: usize = 125;

/// The kinds of frames (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn of(number: u8) -> Option<Self> {
        Some(match number {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A ping without a payload.
pub(crate) const PING: Bytes = Bytes::from_static(&[0x89, 0]);

/// The answer to a ping.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    control(0x8a, payload)
}

/// The answer to a close frame: its code again.
pub(crate) fn close_again(payload: &[u8]) -> Bytes {
    control(0x88, payload.get(..2).unwrap_or_default())
}

/// A close frame with a code and a reason, which is cut to what fits.
pub(crate) fn close(code: u16, reason: &str) -> Bytes {
    let payload: Vec<u8> = code.to_be_bytes().into_iter().chain(reason.bytes()).collect();
    control(0x88, &payload)
}

fn control(first: u8, payload: &[u8]) -> Bytes {
    let payload = payload.get(..MAX_CONTROL).unwrap_or(payload);
    let length = u8::try_from(payload.len()).unwrap_or_default();
    [&[first, length], payload].concat().into()
}
