//! As much of RFC 6455 as load needs, on bytes: frames are found and unmasked where they lie, and nothing is allocated
//! for one. A generator that is the bottleneck would measure itself.

use anyhow::{bail, ensure};

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const RESERVED: u8 = 0x70;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
/// A payload of 126 bytes or more has its length in two further bytes, one of 64 KiB or more in eight.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
const MASK_BYTES: usize = 4;
/// Larger than any frame of the protocol.
const MAX_PAYLOAD: usize = 1 << 20;
/// A buffer begins with this, and doubles when a read fills it.
const FIRST_BUFFER: usize = 2 * 1024;
/// One read brings at most this, unless a message is larger.
const USUAL_BUFFER: usize = 64 * 1024;

/// A message that has arrived whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    /// The code, or 1005 for none.
    Close(u16),
    Other,
}

/// Bytes that have arrived, and the messages in them.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// Messages that are to be written.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// State of the generator of masks: they need not be secret here.
    mask: u64,
}

struct Header {
    opcode: u8,
    mask: Option<[u8; MASK_BYTES]>,
    payload: std::ops::Range<usize>,
}

impl Inbox {
    /// Begins with bytes that came with the handshake.
    pub(crate) fn holding(bytes: &[u8]) -> Self {
        Self {
            buffer: bytes.to_vec(),
            start: 0,
            end: bytes.len(),
        }
    }

    /// Room for the next read.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 && self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            let length = (self.buffer.len() * 2).max(FIRST_BUFFER);
            self.buffer.resize(length, 0);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Takes over `read` bytes that were put into [`Inbox::room`].
    pub(crate) fn arrived(&mut self, read: usize) {
        self.end += read;
        if self.end == self.buffer.len() && self.buffer.len() < USUAL_BUFFER {
            let length = self.buffer.len() * 2;
            self.buffer.resize(length, 0);
        }
    }

    /// The next message, if it has arrived whole.
    pub(crate) fn message(&mut self) -> anyhow::Result<Option<Message<'_>>> {
        let waiting = self.buffer.get_mut(self.start..self.end).unwrap_or_default();
        let Some(Header {
            opcode,
            mask,
            payload,
        }) = header(waiting)?
        else {
            return Ok(None);
        };
        self.start += payload.end;
        let payload = waiting.get_mut(payload).unwrap_or_default();
        if let Some(mask) = mask {
            apply(mask, payload);
        }
        Ok(Some(match opcode {
            BINARY => Message::Binary(payload),
            PING => Message::Ping(payload),
            CLOSE => Message::Close(match payload {
                [high, low, ..] => u16::from_be_bytes([*high, *low]),
                _ => 1005,
            }),
            _ => Message::Other,
        }))
    }
}

/// `None` while the message is not whole.
fn header(bytes: &[u8]) -> anyhow::Result<Option<Header>> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    ensure!(first & RESERVED == 0, "a frame has reserved bits");
    ensure!(first & FIN != 0, "a message comes in fragments");
    let (length, extended) = match (second & !MASKED, rest) {
        (LENGTH_16, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 2),
        (LENGTH_64, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (usize::try_from(length)?, 8)
        }
        (LENGTH_16 | LENGTH_64, _) => return Ok(None),
        (length, _) => (usize::from(length), 0),
    };
    ensure!(length <= MAX_PAYLOAD, "a message has {length} bytes");
    let mut begin = 2 + extended;
    let mut mask = None;
    if second & MASKED != 0 {
        let Some(found) = bytes.get(begin..).and_then(|rest| rest.first_chunk()) else {
            return Ok(None);
        };
        mask = Some(*found);
        begin += MASK_BYTES;
    }
    let payload = begin..begin + length;
    Ok((bytes.len() >= payload.end).then_some(Header {
        opcode: first & 0x0f,
        mask,
        payload,
    }))
}

fn apply(mask: [u8; MASK_BYTES], payload: &mut [u8]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

impl Outbox {
    /// Empty; `seed` makes its masks.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            bytes: Vec::new(),
            written: 0,
            mask: seed | 1,
        }
    }

    /// Queues a binary message.
    pub(crate) fn binary(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        self.frame(BINARY, &[payload])
    }

    /// Queues a binary message that is in two parts.
    pub(crate) fn binary_of(&mut self, parts: &[&[u8]]) -> anyhow::Result<()> {
        self.frame(BINARY, parts)
    }

    /// Queues the answer to a ping.
    pub(crate) fn pong(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        self.frame(PONG, &[payload])
    }

    /// What is not written yet.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Takes note that `written` more bytes of [`Outbox::waiting`] are out.
    pub(crate) fn advance(&mut self, written: usize) {
        self.written += written;
        if self.written >= self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
        }
    }

    fn frame(&mut self, opcode: u8, parts: &[&[u8]]) -> anyhow::Result<()> {
        let length = parts.iter().map(|part| part.len()).sum();
        self.bytes.push(FIN | opcode);
        put_length(&mut self.bytes, length, MASKED)?;
        // xorshift64 (Marsaglia).
        self.mask ^= self.mask << 13;
        self.mask ^= self.mask >> 7;
        self.mask ^= self.mask << 17;
        let [a, b, c, d, ..] = self.mask.to_ne_bytes();
        self.bytes.extend_from_slice(&[a, b, c, d]);
        let begin = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        apply([a, b, c, d], self.bytes.get_mut(begin..).unwrap_or_default());
        Ok(())
    }
}

/// The head of an unmasked binary message, as a server sends it.
pub(crate) fn put_server_head(out: &mut Vec<u8>, length: usize) -> anyhow::Result<()> {
    out.push(FIN | BINARY);
    put_length(out, length, 0)
}

fn put_length(out: &mut Vec<u8>, length: usize, masked: u8) -> anyhow::Result<()> {
    if length > MAX_PAYLOAD {
        bail!("a message of {length} bytes is too long");
    }
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length), _) if length < LENGTH_16 => out.push(masked | length),
        (_, Ok(length)) => {
            out.push(masked | LENGTH_16);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(masked | LENGTH_64);
            out.extend_from_slice(&u64::try_from(length)?.to_be_bytes());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What arrives when `bytes` come in pieces of `step`.
    fn received(bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut inbox = Inbox::default();
        let mut messages = Vec::new();
        for piece in bytes.chunks(step) {
            let mut piece = piece;
            while !piece.is_empty() {
                let room = inbox.room();
                let read = room.len().min(piece.len());
                room[..read].copy_from_slice(&piece[..read]);
                inbox.arrived(read);
                piece = &piece[read..];
                while let Some(message) = inbox.message().unwrap() {
                    if let Message::Binary(payload) = message {
                        messages.push(payload.to_vec());
                    }
                }
            }
        }
        messages
    }

    proptest! {
        #[test]
        fn every_message_arrives_whole_however_the_stream_is_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..12),
            large in 65_000_usize..66_000,
            step in 1_usize..5_000,
            seed in any::<u64>(),
        ) {
            let mut messages = messages;
            messages.push(vec![7; large]);
            let mut outbox = Outbox::new(seed);
            let mut server = Vec::new();
            for message in &messages {
                outbox.binary_of(&[&message[..message.len() / 2], &message[message.len() / 2..]]).unwrap();
                put_server_head(&mut server, message.len()).unwrap();
                server.extend_from_slice(message);
            }
            prop_assert_eq!(&received(outbox.waiting(), step), &messages);
            prop_assert_eq!(&received(&server, step), &messages);
        }
    }

    #[test]
    fn a_close_tells_its_code_and_a_fragment_is_refused() {
        let mut closed = Inbox::holding(&[0x88, 2, 0x11, 0x38]);
        assert_eq!(closed.message().unwrap(), Some(Message::Close(4408)));
        assert!(Inbox::holding(&[0x02, 0]).message().is_err());
    }
}
