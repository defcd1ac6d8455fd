//! XMPP (RFC 6120) with rooms (XEP-0045), over TCP without TLS: stanzas are told apart by depth, and of a stanza only
//! the body of a message is looked at.

use std::io::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    daemon::PASSWORD,
    dialect::{Heard, Name, Place, Step},
    payload::{PAYLOAD_BYTES, Payload},
};

const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                      to='localhost' version='1.0'>";
const FEATURES: &str = "</stream:features>";
const BODY: &[u8] = b"<body>";

pub(super) fn log_in(name: Name) -> Vec<Step> {
    let user = format!("u{}", name.0);
    let plain = BASE64_STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                <resource>r</resource></bind></iq>";
    vec![
        Step::new(HEADER, FEATURES),
        Step::new(auth, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
        Step::new(HEADER, FEATURES),
        Step::new(bind, "</iq>"),
        // Being present is what makes messages come; it is told to all of one's devices, also to this one.
        Step::new("<presence/>", format!("from='{user}@localhost/r'/>")),
    ]
}

pub(super) fn listen(name: Name, place: Place) -> Vec<Step> {
    match place {
        Place::Inbox(_) => Vec::new(),
        Place::Room(sender) => {
            let join = format!(
                "<presence to='room{}@conference.localhost/u{}'>\
                 <x xmlns='http://jabber.org/protocol/muc'/></presence>",
                sender.0, name.0
            );
            // XEP-0045 §7.2: the subject, here an empty one, is the last that a newcomer gets.
            vec![Step::new(join, "<subject/></message>")]
        }
    }
}

pub(super) fn message(place: Place, payload: Payload, out: &mut Vec<u8>) {
    let id = payload.counter;
    // Writing to a vector does not fail.
    let _infallible = match place {
        Place::Room(sender) => write!(
            out,
            "<message to='room{}@conference.localhost' type='groupchat' id='{id}'><body>",
            sender.0
        ),
        Place::Inbox(to) => write!(
            out,
            "<message to='u{}@localhost' type='chat' id='{id}'><body>",
            to.0
        ),
    };
    payload.write(out);
    out.extend_from_slice(b"</body></message>");
}

pub(super) fn hear(bytes: &[u8]) -> Option<(usize, Heard<'_>)> {
    let end = stanza_end(bytes)?;
    let stanza = bytes.get(..end)?;
    if !stanza.starts_with(b"<message") {
        return Some((end, Heard::Other));
    }
    let body = stanza.windows(BODY.len()).position(|window| window == BODY);
    let payload = body.and_then(|at| stanza.get(at + BODY.len()..at + BODY.len() + PAYLOAD_BYTES));
    let heard = match payload {
        _ if is_error(stanza) => Heard::Refusal,
        Some(payload) => Heard::Message(payload),
        None => Heard::Other,
    };
    Some((end, heard))
}

/// RFC 6120 §8.3: what was refused comes back with this type.
fn is_error(stanza: &[u8]) -> bool {
    let tag = stanza.split(|byte| *byte == b'>').next().unwrap_or_default();
    tag.windows(12).any(|window| window == b"type='error'")
}

/// Where the first stanza ends, if all of it is there. A `>` in an attribute comes as `&gt;`.
fn stanza_end(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0_usize, 0_usize);
    loop {
        let open = at + bytes.get(at..)?.iter().position(|byte| *byte == b'<')?;
        let close = open + bytes.get(open..)?.iter().position(|byte| *byte == b'>')?;
        at = close + 1;
        match (bytes.get(open + 1)?, bytes.get(close - 1)?) {
            (b'/', _) => depth = depth.saturating_sub(1),
            (_, b'/') => {}
            _ => depth += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn stanzas_are_told_apart_by_depth_and_a_message_shows_its_body() {
        let mut payload = Vec::new();
        Payload {
            sender: 1,
            counter: 2,
            intended: Duration::from_micros(3),
        }
        .write(&mut payload);
        let text = String::from_utf8(payload.clone()).unwrap();
        let presence = "<presence from='a'><x xmlns='m'><item role='r'/></x></presence>";
        let both = format!("{presence}<message to='b'><archived by='r'/><body>{text}</body></message>");
        let both = both.as_bytes();
        assert_eq!(hear(both), Some((presence.len(), Heard::Other)));
        let message = &both[presence.len()..];
        assert_eq!(hear(&message[..message.len() - 1]), None);
        assert_eq!(hear(message), Some((message.len(), Heard::Message(&payload))));
    }

    #[test]
    fn a_message_that_comes_back_as_an_error_was_refused() {
        let stanza = b"<message type='error' to='b'><body>x</body><error/></message>";
        assert_eq!(hear(stanza), Some((stanza.len(), Heard::Refusal)));
    }
}
