//! Frames as a server sends them: each in one unmasked, unfragmented WebSocket frame (RFC 6455 section 5.2).

use alloc::vec::Vec;

use bytes::Bytes;

/// The first byte of a frame with a whole binary message.
const WHOLE_BINARY: u8 = 0x82;
/// The longest head of a frame without a mask, in bytes.
pub(super) const MAX_HEAD: usize = 10;

/// Binary messages with these payloads, one behind the other.
#[must_use]
pub fn messages(frames: &[Bytes]) -> Bytes {
    let bytes = frames.iter().map(|frame| frame.len().saturating_add(MAX_HEAD));
    let mut messages = Vec::with_capacity(bytes.sum());
    for frame in frames {
        put_head(&mut messages, frame.len());
        messages.extend_from_slice(frame);
    }
    messages.into()
}

/// The head of a message of `length` bytes.
pub(super) fn put_head(message: &mut Vec<u8>, length: usize) {
    message.push(WHOLE_BINARY);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => message.push(short),
        (_, Ok(middle)) => {
            message.push(126);
            message.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            message.push(127);
            message.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn each_length_has_the_shortest_head() {
        let heads: [(usize, &[u8]); 6] = [
            (0, &[0x82, 0]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (0xffff, &[0x82, 126, 0xff, 0xff]),
            (0x1_0000, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (0x4_0000, &[0x82, 127, 0, 0, 0, 0, 0, 4, 0, 0]),
        ];
        for (length, head) in heads {
            let message = messages(&[Bytes::from(vec![7; length])]);
            assert_eq!(
                message.strip_prefix(head),
                Some(vec![7; length].as_slice()),
                "{length}"
            );
        }
    }

    #[test]
    fn messages_follow_each_other() {
        let frames = [Bytes::from_static(b"one"), Bytes::from_static(b"three")];
        assert_eq!(messages(&frames), b"\x82\x03one\x82\x05three".as_slice());
    }
}
