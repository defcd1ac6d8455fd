use super::*;
use proptest::prelude::*;
use unhidra_types::limits::MAX_FRAME_BYTES;

fn append() -> Append {
    Append {
        conversation: ConversationId::from_bytes([1; 16]),
        msg_id: MsgId::from_bytes([2; 16]),
        attempt: 0,
        dest: None,
        list_versions: alloc::vec![ListVersion {
            user: UserId::from_bytes([3; 16]),
            version: 7,
            head_hash: [4; 32]
        }],
        body: Bytes::from_static(b"body"),
        capsules: alloc::vec![Capsule {
            device: DeviceId::from_bytes([5; 16]),
            kind: CapsuleKind::Prekey,
            sealed: Bytes::from_static(b"sealed"),
        }],
    }
}

#[test]
fn an_append_round_trips() {
    let frame = ClientFrame::Append(append());
    assert_eq!(ClientFrame::decode(frame.encode()), Ok(frame));
}

#[test]
fn a_device_named_twice_is_refused() {
    let mut twice = append();
    twice.capsules.push(twice.capsules[0].clone());
    assert_eq!(
        ClientFrame::decode(ClientFrame::Append(twice).encode()),
        Err(FrameError::Field("capsules"))
    );
}

#[test]
fn an_envelope_for_one_device_names_its_only_capsule() {
    let mut owed = append();
    owed.dest = Some(owed.capsules[0].device);
    let frame = ClientFrame::Append(owed.clone());
    assert_eq!(ClientFrame::decode(frame.encode()), Ok(frame));
    owed.dest = Some(DeviceId::from_bytes([9; 16]));
    assert_eq!(
        ClientFrame::decode(ClientFrame::Append(owed).encode()),
        Err(FrameError::Field("dest"))
    );
}

#[test]
fn an_answer_names_all_that_tells_one_append_from_another() {
    let (conversation, msg_id) = (append().conversation, append().msg_id);
    for dest in [None, Some(DeviceId::from_bytes([5; 16]))] {
        let appended = ServerFrame::Appended(Appended {
            conversation,
            msg_id,
            attempt: 1,
            dest,
            seq: 7,
            server_time: Timestamp::from_millis(8),
        });
        assert_eq!(ServerFrame::decode(appended.encode()), Ok(Some(appended)));
        let refused = ServerFrame::Refused(Refused {
            conversation,
            msg_id,
            attempt: 1,
            dest,
            reason: Refusal::StaleList,
            heads: append().list_versions,
            retry_after_ms: 9,
        });
        assert_eq!(ServerFrame::decode(refused.encode()), Ok(Some(refused)));
    }
}

#[test]
fn an_oversized_frame_is_refused_before_it_is_parsed() {
    let frame = Bytes::from(alloc::vec![0; MAX_FRAME_BYTES + 1]);
    assert_eq!(ClientFrame::decode(frame), Err(FrameError::TooLong));
}

#[test]
fn a_message_is_the_encoded_frame_behind_a_head() {
    let frame = ServerFrame::Skip {
        conversation: append().conversation,
        from: 1,
        to: 900,
    };
    assert_eq!(frame.encode_message(), messages(&[frame.encode()]));
}

#[test]
fn a_server_frame_of_a_later_version_is_ignored() {
    // Field 100, length-delimited, empty.
    assert_eq!(
        ServerFrame::decode(Bytes::from_static(&[0xa2, 0x06, 0x00])),
        Ok(None)
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        if let Ok(frame) = ClientFrame::decode(bytes.clone()) {
            prop_assert_eq!(ClientFrame::decode(frame.encode()), Ok(frame));
        }
        if let Ok(Some(frame)) = ServerFrame::decode(bytes) {
            prop_assert_eq!(ServerFrame::decode(frame.encode()), Ok(Some(frame)));
        }
    }
}
