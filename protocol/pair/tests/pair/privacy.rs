//! What an observer of the envelopes learns beside their routes and sizes: nothing.

use std::collections::HashSet;

use unhidra_chain::Capabilities;

use crate::network::{CURRENT, Mail, Two};

/// Bytes that two messages share by no accident.
const WINDOW: usize = 8;
/// Sent in each transcript.
const MESSAGES: usize = 80;

/// One route with texts of one length; the ratchets, the times and the texts are not alike.
fn transcript(seed: u64, text: &[u8; 4], is_answered: bool, capabilities: Capabilities) -> Vec<Mail> {
    let mut two = Two::acquainted(seed);
    for device in &mut two.devices {
        device.capabilities = capabilities;
    }
    let mut mails = Vec::with_capacity(MESSAGES);
    for n in 0..MESSAGES {
        let mail = two.send(n / 4 % 2, text);
        if is_answered {
            two.deliver(&mail).unwrap();
            two.now = two.now.saturating_add(std::time::Duration::from_secs(60));
        }
        mails.push(mail);
    }
    mails
}

/// Invariant 26: in one of the transcripts chains end and counters begin anew, in the other they do not. The length of a
/// message tells that a part rides on it, so these two have none; a third one has.
#[test]
fn equal_lengths_and_routes_differ_in_nothing_but_random_bytes() {
    let steps = transcript(1, b"yes!", true, Capabilities::PQ);
    let goes_on = transcript(2, b"no..", false, Capabilities::PQ);
    let with_parts = transcript(3, b"yes!", true, CURRENT);
    assert!(with_parts.iter().filter(|mail| Two::has_part(mail)).count() >= 2);
    for (one, other) in steps.iter().zip(&goes_on) {
        assert_eq!(one.sender, other.sender);
        assert_eq!(one.envelope.kind, other.envelope.kind);
        assert_eq!(one.bytes.len(), other.bytes.len());
        assert_eq!(one.object.len(), other.object.len());
    }
    // Neither nonces nor headers nor anything else of two messages is alike, be they of one chain or not.
    let mut windows = HashSet::new();
    for mail in steps.iter().chain(&goes_on).chain(&with_parts) {
        for window in mail.bytes.windows(WINDOW) {
            assert!(windows.insert(window.to_vec()), "two messages share bytes");
        }
    }
}
