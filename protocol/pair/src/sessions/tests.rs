//! What no honest peer makes.

use super::*;
use crate::prekeys;
use unhidra_chain::ListVersion;
use unhidra_crypto::x25519::PublicKey;
use unhidra_types::{DeviceId, UserId};

/// Invariant 13: a peer that seals a control message for a conversation, which the sending side here cannot.
#[test]
fn control_content_is_taken_from_the_control_log_only() {
    let header = Header {
        ratchet_key: PublicKey::from_bytes(&[9; 32]).unwrap(),
        previous: 0,
        n: 0,
        epoch: 0,
        part: None,
        content: ContentKind::Control,
        sent_at: Timestamp::EPOCH,
        own_list: ListVersion(1),
        peer_list: ListVersion(1),
    };
    let peer = Address {
        user: UserId::from_bytes([1; 16]),
        device: DeviceId::from_bytes([2; 16]),
    };
    let open = |conversation, plaintext: &[u8]| {
        let (set, session) = (SessionSet::new(peer), EkHash([0; 32]));
        opened(set, session, &header, plaintext, conversation, None).map(|opened| opened.content)
    };
    let padded = padding::pad(&[b"content"]).unwrap();
    let expected = Content::Control(b"content".to_vec());
    assert_eq!(open(ConversationId::CONTROL, &padded), Ok(expected));
    assert_eq!(
        open(ConversationId::from_bytes([3; 16]), &padded),
        Err(OpenError::BadTag)
    );
    assert_eq!(
        open(ConversationId::CONTROL, b"not padded"),
        Err(OpenError::Malformed)
    );
}

#[test]
fn ages_are_those_of_the_specification() {
    const DAY: u64 = 24 * 60 * 60;
    let days = [
        prekeys::ROTATION_AGE,
        prekeys::PUBLIC_LIFETIME,
        prekeys::PRIVATE_LIFETIME,
        ARCHIVE_LIFETIME,
    ]
    .map(|age| (age.as_secs() / DAY, age.as_secs() % DAY));
    assert_eq!(days, [(7, 0), (14, 0), (28, 0), (30, 0)]);
}
