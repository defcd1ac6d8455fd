use proptest::prelude::*;

use super::*;

/// A frame as a client sends it.
fn frame(first: u8, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ ..126 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend(u64::try_from(long).unwrap().to_be_bytes());
        }
    }
    bytes.extend(key);
    bytes.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

fn read_all(bytes: &[u8]) -> Result<Vec<Message>, Violation> {
    read_parts([bytes])
}

fn read_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Message>, Violation> {
    let (mut reader, mut messages) = (Reader::default(), Vec::new());
    for mut part in parts {
        while let Some(message) = reader.read(&mut part)? {
            messages.push(message);
        }
        assert!(part.is_empty());
    }
    Ok(messages)
}

fn binary(payload: &[u8]) -> Message {
    Message::Binary(Bytes::copy_from_slice(payload))
}

#[test]
fn the_example_of_rfc_6455_is_read() {
    // Section 5.7: a single-frame masked message, here as a binary one.
    let bytes = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read_all(&bytes), Ok(vec![binary(b"Hello")]));
}

#[test]
fn fragments_make_one_message_and_a_ping_may_come_between_them() {
    let bytes = [
        frame(0x02, [1, 2, 3, 4], b"one "),
        frame(0x89, [9; 4], b"there?"),
        frame(0x00, [5, 6, 7, 8], b""),
        frame(0x80, [0; 4], b"two"),
        frame(0x8a, [1; 4], b""),
    ];
    let expected = vec![
        Message::Ping(b"there?".to_vec()),
        binary(b"one two"),
        Message::Pong,
    ];
    assert_eq!(read_all(&bytes.concat()), Ok(expected));
}

#[test]
fn a_text_and_a_close_are_told_apart() {
    let bytes = [frame(0x81, [1; 4], b"text"), frame(0x88, [2; 4], &[3, 232])];
    let expected = vec![Message::Text, Message::Close(vec![3, 232])];
    assert_eq!(read_all(&bytes.concat()), Ok(expected));
}

#[test]
fn what_breaks_the_rules_is_a_violation() {
    let wrong: [(&str, Vec<u8>); 10] = [
        ("not masked", vec![0x82, 0x01, 0x00]),
        ("reserved bit", frame(0xc2, [1; 4], b"")),
        ("reserved opcode", frame(0x83, [1; 4], b"")),
        ("continues nothing", frame(0x80, [1; 4], b"")),
        (
            "begins within another",
            [frame(0x02, [1; 4], b"a"), frame(0x82, [1; 4], b"b")].concat(),
        ),
        ("fragment of a ping", frame(0x09, [1; 4], b"")),
        ("long ping", frame(0x89, [1; 4], &[0; 126])),
        ("126 in two bytes too many", vec![0x82, 0xfe, 0, 125, 0, 0, 0, 0]),
        (
            "65,535 in six bytes too many",
            vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
        ),
        (
            "length of 2^63",
            vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
    ];
    for (what, bytes) in wrong {
        assert_eq!(read_all(&bytes), Err(Violation), "{what}");
    }
}

#[test]
fn the_bound_holds_for_a_frame_and_for_all_fragments_together() {
    let most = vec![7; MAX_FRAME_BYTES];
    assert_eq!(
        read_all(&frame(0x82, [1, 2, 3, 4], &most)),
        Ok(vec![binary(&most)])
    );
    assert_eq!(
        read_all(&frame(0x82, [1; 4], &vec![7; MAX_FRAME_BYTES + 1])),
        Err(Violation)
    );
    let halves = [frame(0x02, [1; 4], &most), frame(0x80, [1; 4], b"x")].concat();
    assert_eq!(read_all(&halves), Err(Violation));
}

#[test]
fn a_length_alone_costs_little_memory() {
    let mut reader = Reader::default();
    let head = &frame(0x82, [0; 4], &vec![0; MAX_FRAME_BYTES])[..15];
    assert_eq!(reader.read(&mut &*head), Ok(None));
    assert!(reader.payload.capacity() <= RESERVED);
}

#[test]
fn nothing_is_kept_between_messages() {
    let mut reader = Reader::default();
    let bytes = [frame(0x82, [1; 4], &[0; 9_000]), frame(0x8a, [1; 4], b"pong")].concat();
    let mut input = bytes.as_slice();
    while reader.read(&mut input).unwrap().is_some() {}
    assert_eq!((reader.payload.capacity(), reader.control.capacity()), (0, 0));
}

proptest! {
    #[test]
    fn however_bytes_are_cut_they_are_the_same_messages(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 1..6),
        key in any::<[u8; 4]>(),
        cut in 1_usize..40,
    ) {
        let bytes: Vec<_> = payloads.iter().flat_map(|payload| frame(0x82, key, payload)).collect();
        let expected: Vec<_> = payloads.iter().map(|payload| binary(payload)).collect();
        prop_assert_eq!(read_parts(bytes.chunks(cut)), Ok(expected));
    }

    #[test]
    fn arbitrary_bytes_never_panic_or_grow(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let bytes_of = |message: Message| match message {
            Message::Binary(payload) => payload.len(),
            Message::Ping(payload) | Message::Close(payload) => payload.len(),
            Message::Text | Message::Pong => 0,
        };
        let messages = read_parts([bytes.as_slice()]).unwrap_or_default();
        prop_assert!(messages.into_iter().map(bytes_of).sum::<usize>() <= bytes.len());
    }
}
