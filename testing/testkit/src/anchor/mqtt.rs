//! MQTT 3.1.1 (OASIS standard), quality of service 1: packets with a length, each message confirmed.

use anyhow::{Context as _, ensure};

use super::{
    daemon::{PASSWORD, USER},
    dialect::{Heard, Name, Place, Step},
    payload::{PAYLOAD_BYTES, Payload},
};

const CONNECT: u8 = 0x10;
/// §2.2.2: the flags of a SUBSCRIBE are fixed.
const SUBSCRIBE: u8 = 0x82;
/// A message of quality of service 1, and its confirmation.
const PUBLISH: u8 = 0x32;
const PUBACK: u8 = 0x40;
/// §3.1.2.3: user name and password follow, and the session outlives the connection.
const CONNECT_FLAGS: u8 = 0b1100_0000;
const LEVEL: u8 = 4;

pub(super) fn log_in(name: Name) -> Vec<Step> {
    let mut body = string("MQTT");
    // No keep-alive: the measurement is shorter.
    body.extend_from_slice(&[LEVEL, CONNECT_FLAGS, 0, 0]);
    for text in [&*format!("u{}", name.0), USER, PASSWORD] {
        body.extend(string(text));
    }
    // §3.2: accepted, as a session that is new.
    vec![Step::new(packet(CONNECT, &body), [0x20, 2, 0, 0])]
}

pub(super) fn listen(place: Place) -> Vec<Step> {
    let mut body = vec![0, 1];
    body.extend(string(&topic(place)));
    body.push(1);
    // §3.9: granted with quality of service 1.
    vec![Step::new(packet(SUBSCRIBE, &body), [0x90, 3, 0, 1, 1])]
}

pub(super) fn publish(place: Place, payload: Payload, out: &mut Vec<u8>) {
    let topic = string(&topic(place));
    out.push(PUBLISH);
    length(topic.len() + 2 + PAYLOAD_BYTES, out);
    out.extend_from_slice(&topic);
    // §2.3.1: not zero, and not that of a message on its way.
    let id = u16::try_from(payload.counter % u64::from(u16::MAX)).unwrap_or(0) + 1;
    out.extend_from_slice(&id.to_be_bytes());
    payload.write(out);
}

pub(super) fn hear(bytes: &[u8]) -> anyhow::Result<Option<(usize, Heard<'_>)>> {
    let Some((begin, end)) = extent(bytes)? else {
        return Ok(None);
    };
    let Some(body) = bytes.get(begin..end) else {
        return Ok(None);
    };
    let first = bytes.first().copied().unwrap_or_default();
    if first & 0xf0 != 0x30 {
        return Ok(Some((end, Heard::Other)));
    }
    ensure!(first & 0x06 == 0x02, "mosquitto lowered the quality of service");
    let (topic_length, rest) = body.split_first_chunk::<2>().context("a message has a topic")?;
    let rest = rest
        .get(usize::from(u16::from_be_bytes(*topic_length))..)
        .context("a message has a topic")?;
    let (&[high, low], payload) = rest.split_first_chunk::<2>().context("a message has a number")?;
    Ok(Some((end, Heard::Confirmable(payload, [PUBACK, 2, high, low]))))
}

/// Where the body of the first packet begins and ends (§2.2.3), once its length is there.
fn extent(bytes: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let mut length = 0;
    for (place, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((place + 2, place + 2 + length)));
        }
    }
    ensure!(bytes.len() < 5, "a packet has an impossible length");
    Ok(None)
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    length(body.len(), &mut packet);
    packet.extend_from_slice(body);
    packet
}

fn length(mut rest: usize, out: &mut Vec<u8>) {
    while rest > 0x7f {
        out.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or_default());
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or_default();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

fn topic(place: Place) -> String {
    match place {
        Place::Room(sender) => format!("room/{}", sender.0),
        Place::Inbox(name) => format!("inbox/{}", name.0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_message_is_heard_when_all_of_it_has_come_and_confirmed_by_its_number() {
        let payload = Payload {
            sender: 1,
            counter: 0x0101,
            intended: Duration::ZERO,
        };
        let (mut message, mut body) = (Vec::new(), Vec::new());
        publish(Place::Room(Name(3)), payload, &mut message);
        payload.write(&mut body);
        for missing in 1..message.len() {
            assert_eq!(hear(&message[..message.len() - missing]).unwrap(), None);
        }
        let heard = Heard::Confirmable(&body, [0x40, 2, 1, 2]);
        assert_eq!(hear(&message).unwrap(), Some((message.len(), heard)));
    }
}
