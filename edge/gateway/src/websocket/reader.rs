//! From the bytes of a peer to its messages.

use bytes::Bytes;
use unhidra_types::limits::MAX_FRAME_BYTES;

use super::{MAX_CONTROL, Opcode};

/// Bytes that a message reserves before they have come, so that a length alone costs no memory.
const RESERVED: usize = 4 * 1024;
/// The longest head of a masked frame.
const MAX_HEAD: usize = 14;

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A binary message, all of its fragments.
    Binary(Bytes),
    /// A text message.
    Text,
    /// To be answered with the same payload.
    Ping(Vec<u8>),
    /// A sign of life.
    Pong,
    /// Nothing comes after it.
    Close(Vec<u8>),
}

/// The peer broke RFC 6455 or sent more than `MAX_FRAME_BYTES`: nothing that follows can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message of a client")]
pub(crate) struct Violation;

/// Where in a frame the peer is. Between messages it holds no memory but its own.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    head: [u8; MAX_HEAD],
    /// Bytes of the head that have come.
    come: u8,
    frame: Option<Frame>,
    /// The message whose fragments are coming, and what it is.
    message: Option<Opcode>,
    payload: Vec<u8>,
    /// A control frame may come between fragments.
    control: Vec<u8>,
}

/// A frame whose head has come.
#[derive(Clone, Copy, Debug)]
struct Frame {
    is_final: bool,
    opcode: Opcode,
    /// The key, turned so that its first byte is for the next one.
    key: [u8; 4],
    /// Bytes that are still to come.
    left: usize,
}

impl Reader {
    /// Takes bytes from the front of `input` until they complete a message; `None` when they are used up.
    ///
    /// # Errors
    /// [`Violation`]; the reader is of no use then.
    pub(crate) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Violation> {
        loop {
            let Some(frame) = self.frame else {
                if !self.read_head(input)? {
                    return Ok(None);
                }
                continue;
            };
            let part = input.split_off(..frame.left.min(input.len())).unwrap_or_default();
            let left = self.keep(frame, part)?;
            if left > 0 {
                return Ok(None);
            }
            self.frame = None;
            if let Some(message) = self.finish(frame) {
                return Ok(Some(message));
            }
        }
    }

    /// Whether all of a head has come.
    fn read_head(&mut self, input: &mut &[u8]) -> Result<bool, Violation> {
        loop {
            let come = usize::from(self.come);
            let length = head_length(&self.head[..come]);
            if come == length {
                break;
            }
            let Some(part) = input.split_off(..(length - come).min(input.len())) else {
                return Ok(false);
            };
            if part.is_empty() {
                return Ok(false);
            }
            self.head[come..come + part.len()].copy_from_slice(part);
            self.come = u8::try_from(come + part.len()).map_err(|_| Violation)?;
            if self.come == 2 && !self.begins_well() {
                // At once: what does not mask, waits for an answer instead of sending a key.
                return Err(Violation);
            }
        }
        let frame = self.understand()?;
        self.come = 0;
        self.frame = Some(frame);
        Ok(true)
    }

    fn begins_well(&self) -> bool {
        let [first, second, ..] = self.head;
        let has_reserved_bits = first & 0x70 != 0;
        let is_masked = second & 0x80 != 0;
        !has_reserved_bits && is_masked && Opcode::of(first & 0x0f).is_some()
    }

    fn understand(&mut self) -> Result<Frame, Violation> {
        let [first, ..] = self.head;
        let opcode = Opcode::of(first & 0x0f).ok_or(Violation)?;
        let is_final = first & 0x80 != 0;
        let length = payload_length(&self.head).ok_or(Violation)?;
        let follows = match opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => is_final && length <= MAX_CONTROL,
            Opcode::Continuation => self.message.is_some(),
            Opcode::Text | Opcode::Binary => self.message.is_none(),
        };
        let fits = opcode.is_control() || self.payload.len().saturating_add(length) <= MAX_FRAME_BYTES;
        if !follows || !fits {
            return Err(Violation);
        }
        let come = usize::from(self.come);
        let key = self.head[come - 4..come].try_into().map_err(|_| Violation)?;
        if matches!(opcode, Opcode::Text | Opcode::Binary) {
            self.message = Some(opcode);
        }
        Ok(Frame {
            is_final,
            opcode,
            key,
            left: length,
        })
    }

    /// Keeps a part of the payload, and says how much of it is still to come.
    fn keep(&mut self, mut frame: Frame, part: &[u8]) -> Result<usize, Violation> {
        let kept = match frame.opcode.is_control() {
            true => &mut self.control,
            false => &mut self.payload,
        };
        kept.reserve_exact(match kept.is_empty() {
            // All of it at once if it is short or has come: it is handed on without another copy.
            true => frame.left.min(part.len().max(RESERVED)),
            false => 0,
        });
        let from = kept.len();
        kept.extend_from_slice(part);
        unmask(&mut kept[from..], frame.key);
        frame.key.rotate_left(part.len() % 4);
        frame.left -= part.len();
        self.frame = Some(frame);
        Ok(frame.left)
    }

    /// The message that a whole frame ends, if it ends one.
    fn finish(&mut self, frame: Frame) -> Option<Message> {
        match frame.opcode {
            Opcode::Ping => Some(Message::Ping(std::mem::take(&mut self.control))),
            Opcode::Close => Some(Message::Close(std::mem::take(&mut self.control))),
            Opcode::Pong => {
                self.control = Vec::new();
                Some(Message::Pong)
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary if !frame.is_final => None,
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                let payload = std::mem::take(&mut self.payload);
                Some(match self.message.take() {
                    Some(Opcode::Text) => Message::Text,
                    _ => Message::Binary(payload.into()),
                })
            }
        }
    }
}

/// How long the head is that begins like this, as far as can be told.
fn head_length(begun: &[u8]) -> usize {
    let mask = 4;
    match begun.get(1).map(|second| second & 0x7f) {
        None => 2,
        Some(126) => 4 + mask,
        Some(127) => 10 + mask,
        Some(_) => 2 + mask,
    }
}

/// `None` for a length in more bytes than it needs, or one that no memory has.
fn payload_length(head: &[u8; MAX_HEAD]) -> Option<usize> {
    let [_, second, rest @ ..] = head;
    let (length, least) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 126),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 0x1_0000),
        short => (u64::from(short), 0),
    };
    usize::try_from(length).ok().filter(|_| length >= least)
}

fn unmask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
