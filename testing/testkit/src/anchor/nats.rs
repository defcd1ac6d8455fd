//! The client protocol of NATS, as its documentation describes it: lines, and payloads of an announced length.

use std::io::Write as _;

use anyhow::Context as _;

use super::{
    daemon::{PASSWORD, USER},
    dialect::{Heard, Name, Place, Step},
    payload::{PAYLOAD_BYTES, Payload},
};

const LINE_END: &[u8] = b"\r\n";
/// Longer than any line but the server's first, which the login skips.
const MAX_LINE_BYTES: usize = 4_096;

pub(super) fn log_in() -> Vec<Step> {
    let options = format!(
        r#"{{"verbose":false,"pedantic":false,"echo":false,"protocol":1,"lang":"bench","version":"0","user":"{USER}","pass":"{PASSWORD}"}}"#
    );
    vec![Step::new(format!("CONNECT {options}\r\nPING\r\n"), "PONG\r\n")]
}

pub(super) fn listen(place: Place) -> Vec<Step> {
    vec![Step::new(
        format!("SUB {} 1\r\nPING\r\n", subject(place)),
        "PONG\r\n",
    )]
}

/// A stream on disk that takes everything, made by whoever comes first, and a place for its acknowledgements.
pub(super) fn keep_everything(name: Name) -> Vec<Step> {
    let stream = r#"{"name":"bench","subjects":["room.*","inbox.*"],"storage":"file","retention":"limits","num_replicas":1}"#;
    vec![
        Step::new(format!("SUB acks.{} 2\r\nPING\r\n", name.0), "PONG\r\n"),
        Step::new(
            format!(
                "PUB $JS.API.STREAM.CREATE.bench acks.{} {}\r\n{stream}\r\n",
                name.0,
                stream.len()
            ),
            r#""subjects":["room.*","inbox.*"]"#,
        ),
    ]
}

pub(super) fn publish(place: Place, payload: Payload, out: &mut Vec<u8>) {
    put(format_args!("PUB {} {PAYLOAD_BYTES}\r\n", subject(place)), out);
    payload.write(out);
    out.extend_from_slice(LINE_END);
}

pub(super) fn publish_to_stream(name: Name, place: Place, payload: Payload, out: &mut Vec<u8>) {
    put(
        format_args!("PUB {} acks.{} {PAYLOAD_BYTES}\r\n", subject(place), name.0),
        out,
    );
    payload.write(out);
    out.extend_from_slice(LINE_END);
}

pub(super) fn hear(bytes: &[u8]) -> anyhow::Result<Option<(usize, Heard<'_>)>> {
    let searched = bytes.get(..MAX_LINE_BYTES).unwrap_or(bytes);
    let Some(end) = searched.windows(2).position(|window| window == LINE_END) else {
        return Ok(None);
    };
    let (line, after) = (bytes.get(..end).unwrap_or_default(), end + LINE_END.len());
    if line.starts_with(b"PING") {
        return Ok(Some((after, Heard::Question(b"PONG\r\n"))));
    }
    if line.starts_with(b"-ERR") {
        return Ok(Some((after, Heard::Refusal)));
    }
    if !line.starts_with(b"MSG ") {
        return Ok(Some((after, Heard::Other)));
    }
    let length = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let length: usize = std::str::from_utf8(length)
        .ok()
        .and_then(|length| length.parse().ok())
        .context("NATS names the length of a message")?;
    let Some(payload) = bytes.get(after..after + length) else {
        return Ok(None);
    };
    if bytes.len() < after + length + LINE_END.len() {
        return Ok(None);
    }
    let is_acknowledgement = line.starts_with(b"MSG acks.");
    let heard = match is_acknowledgement {
        true if payload.windows(7).any(|window| window == b"\"error\"") => Heard::Refusal,
        true => Heard::Other,
        false => Heard::Message(payload),
    };
    Ok(Some((after + length + LINE_END.len(), heard)))
}

fn subject(place: Place) -> String {
    match place {
        Place::Room(sender) => format!("room.{}", sender.0),
        Place::Inbox(name) => format!("inbox.{}", name.0),
    }
}

fn put(text: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    // Writing to a vector does not fail.
    let _infallible = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_heard_when_all_of_it_has_come() {
        let bytes = b"MSG room 1 5\r\nhello\r\nPING\r\n";
        assert_eq!(hear(&bytes[..18]).unwrap(), None);
        assert_eq!(hear(&bytes[..20]).unwrap(), None);
        assert_eq!(hear(bytes).unwrap(), Some((21, Heard::Message(b"hello"))));
        assert_eq!(
            hear(&bytes[21..]).unwrap(),
            Some((6, Heard::Question(b"PONG\r\n")))
        );
    }

    #[test]
    fn a_stream_that_does_not_take_a_message_refuses_it() {
        let refused = b"MSG acks.7 2 19\r\n{\"error\":{\"code\":5}\r\n";
        assert_eq!(hear(refused).unwrap(), Some((refused.len(), Heard::Refusal)));
        let taken = b"MSG acks.7 2 9\r\n{\"seq\":1}\r\n";
        assert_eq!(hear(taken).unwrap(), Some((taken.len(), Heard::Other)));
    }
}
