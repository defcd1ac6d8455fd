//! What travels beside the text, field by field as `docs/protocol/overhead.md` says.

use unhidra_chain::Capabilities;

use crate::network::{DAY, Mail, Two};

const NONCE: usize = 12;
const TAG: usize = 16;
const HEADER: usize = 32 + 4 + 4 + 4 + 1 + 1 + 8 + 4 + 4;
const CAPSULE: usize = NONCE + HEADER + TAG + (32 + 32) + TAG;
const PART: usize = NONCE + 1_184 + TAG;
const PREFIX_CLASSICAL: usize = 2 + (16 + 16 + 32) + 32 + 3 * 4;
const PREFIX: usize = PREFIX_CLASSICAL + 1_088;
const BODY: usize = 1 + 32 + TAG;

fn lengths(mail: &Mail) -> (usize, usize) {
    (mail.bytes.len(), mail.object.len())
}

#[test]
fn every_message_is_as_long_as_the_sum_of_its_fields() {
    assert_eq!((HEADER, CAPSULE, PART, PREFIX, BODY), (62, 170, 1_212, 1_198, 49));
    let mut two = Two::new(1);
    let first = two.send(0, b"hello");
    assert_eq!(lengths(&first), (PREFIX + CAPSULE, BODY + 64));
    assert_eq!(first.bytes.len() + first.object.len(), 1_481);
    two.deliver(&first).unwrap();
    assert_eq!(lengths(&two.send(1, b"steady")), (CAPSULE, BODY + 64));
    // The protobuf around 1 024 B of text is 6 B.
    let text = two.send(1, &[7; 1_030]);
    assert_eq!(lengths(&text), (CAPSULE, BODY + 1_088));
    assert_eq!(text.bytes.len() + text.object.len() - 1_024, 283);

    let mut two = Two::acquainted(2);
    two.now = two.now.saturating_add(DAY);
    for from in [0, 1] {
        let mail = two.send(from, b"with a part");
        assert_eq!(mail.bytes.len(), CAPSULE + PART);
        two.deliver(&mail).unwrap();
    }

    let mut classical = Two::with(Capabilities::NONE, 3);
    let first = classical.send(0, b"hello");
    assert_eq!(first.bytes.len(), PREFIX_CLASSICAL + CAPSULE);
}

#[test]
fn an_epoch_costs_two_parts_however_many_messages_there_are() {
    let mut two = Two::acquainted(4);
    let (mut sent, mut bytes, mut parts) = (0, 0, 0);
    for round in 0..64 {
        let mail = two.send(round % 2, b"text");
        two.deliver(&mail).unwrap();
        (sent, bytes) = (sent + 1, bytes + mail.bytes.len());
        parts += usize::from(Two::has_part(&mail));
    }
    assert_eq!(bytes, sent * CAPSULE + parts * PART);
    assert!((2..=4).contains(&parts), "{parts} parts in 64 messages");
}
