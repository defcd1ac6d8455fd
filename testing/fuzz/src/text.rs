//! What people and programs write as text: ids, names, fingerprints, bytes.

use std::{fmt::Display, str::FromStr};

use unhidra_types::{ConversationId, DeviceId, Fingerprint, MsgId, SessionId, UserId, Username};
use unhidra_wire::base64;

/// One text, read as everything.
pub fn text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    both::<UserId>(text);
    both::<DeviceId>(text);
    both::<ConversationId>(text);
    both::<MsgId>(text);
    both::<SessionId>(text);
    both::<Username>(text);
    both::<Fingerprint>(text);
    if let Some(bytes) = base64::decode(text) {
        assert_eq!(base64::encode(&bytes), text, "one way to write each value");
    }
}

/// What is read is written in the one way in which it is written, and reads the same again.
fn both<T: FromStr + Display>(text: &str) {
    let Ok(value) = text.parse::<T>() else { return };
    let written = value.to_string();
    let again = written.parse::<T>().map(|value| value.to_string()).ok();
    assert_eq!(again, Some(written));
}
