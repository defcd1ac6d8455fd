//! Decoders: none panics, and what one takes is written again byte for byte, or at least means the same again.

use bytes::Bytes;
use unhidra_chain::{
    Bundle, Chain, DeviceIdentity, Record,
    prekey::{KemPrekey, OneTimePrekey, SignedPrekey},
};
use unhidra_crypto::hash::sha256;
use unhidra_pair::{
    Address, Capsule, PrekeyPrefix, SessionSet,
    body::{self, Context, Plaintext},
    fuzz_header, fuzz_padding, fuzz_part,
    prekeys::Prekey,
};
use unhidra_tree::{Hash, verify_consistency, verify_inclusion};
use unhidra_types::{ConversationId, DeviceId, MsgId, Secret, UserId};
use unhidra_wire::{
    content::Content,
    frame::{ClientFrame, ServerFrame},
};

use crate::session::Dice;

/// Frames of both directions.
pub fn frames(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(frame) = ClientFrame::decode(bytes.clone()) {
        assert_eq!(ClientFrame::decode(frame.encode()).as_ref(), Ok(&frame));
    }
    if let Ok(Some(frame)) = ServerFrame::decode(bytes) {
        assert_eq!(
            ServerFrame::decode(frame.encode()).ok().flatten().as_ref(),
            Some(&frame)
        );
    }
}

/// One record, and records of a chain: the first byte of each says how long it is.
pub fn records(data: &[u8]) {
    if let Ok(record) = Record::parse(data) {
        assert_eq!(record.as_bytes(), data);
    }
    let mut rest = data;
    let mut records = Vec::new();
    while let Some((&length, tail)) = rest.split_first() {
        let (record, tail) = tail.split_at(usize::from(length).min(tail.len()));
        records.push(record);
        rest = tail;
    }
    if let Ok(chain) = Chain::verify(&records) {
        assert!(chain.records().eq(records.iter().copied()));
    }
}

/// A bundle as the server hands it out, each kind of prekey, and what names a device.
pub fn bundle(data: &[u8]) {
    if let Ok(key) = SignedPrekey::parse(data) {
        assert_eq!(key.to_bytes(), data);
    }
    if let Ok(key) = KemPrekey::parse(data) {
        assert_eq!(key.to_bytes(), data);
    }
    if let Ok(key) = OneTimePrekey::parse(data) {
        assert_eq!(key.to_bytes(), data);
    }
    if let Ok(identity) = DeviceIdentity::parse(data) {
        assert_eq!(identity.to_bytes(), data);
    }
    if let Ok(bundle) = Bundle::parse(data) {
        assert_eq!(bundle.to_bytes(), data);
    }
}

/// What stands before a first message.
pub fn prefix(data: &[u8]) {
    if let Ok((prefix, rest)) = PrekeyPrefix::parse(data) {
        assert!(rest.len() < data.len());
        assert_eq!(prefix.kem.is_some(), data.starts_with(&[1, 1]));
    }
}

/// A header under the encryption, and a post-quantum part under it.
pub fn header(data: &[u8]) {
    fuzz_header(data);
    fuzz_part(data);
}

/// A padded plaintext.
pub fn padding(data: &[u8]) {
    fuzz_padding(data);
}

/// A body object with a key that is known to everybody, and a plaintext through the whole way.
pub fn body(data: &[u8]) {
    let context = Context {
        conversation: ConversationId::from_bytes([1; 16]),
        msg_id: MsgId::from_bytes([2; 16]),
        sender: Address {
            user: UserId::from_bytes([3; 16]),
            device: DeviceId::from_bytes([4; 16]),
        },
    };
    let me = UserId::from_bytes([5; 16]);
    if let Ok(capsule) = Capsule::from_bytes(data) {
        assert_eq!(capsule.to_bytes().expose().as_slice(), data);
    }
    let capsule = Capsule {
        key: Secret::new([6; 32]),
        hash: sha256(&[data]),
    };
    assert!(
        body::open(&capsule, data, &context, me).is_err(),
        "nobody has sealed this"
    );
    let conversation = unhidra_chain::direct::direct_conversation(context.sender.user, me);
    let context = Context {
        conversation,
        ..context
    };
    let plaintext = Plaintext {
        peer: me,
        cseq: 1,
        after: MsgId::NONE,
        content: data.to_vec(),
    };
    if let Ok(sealed) = body::seal(&plaintext, &context, &mut Dice::of(7)) {
        assert_eq!(
            body::open(&sealed.capsule, &sealed.object, &context, me),
            Ok(plaintext)
        );
    }
}

/// What a message says.
pub fn content(data: &[u8]) {
    if let Ok(content) = Content::decode(data)
        && let Ok(encoded) = content.encode()
    {
        assert_eq!(Content::decode(&encoded).as_ref(), Ok(&content));
    }
}

/// Sessions and prekeys as a store keeps them.
pub fn stored(data: &[u8]) {
    if let Ok(set) = SessionSet::from_bytes(data) {
        let written = set.to_bytes();
        assert_eq!(
            SessionSet::from_bytes(&written)
                .map(|set| set.to_bytes())
                .as_ref(),
            Ok(&written)
        );
    }
    if let Ok(key) = Prekey::from_bytes(data) {
        assert_eq!(key.to_bytes(), data);
    }
}

/// Proofs about a log: two numbers of eight bytes, then hashes. One that holds does not hold about another root.
pub fn proofs(data: &[u8]) {
    let Some(([number, size], rest)) = split_numbers(data) else {
        return;
    };
    let (hashes, _) = rest.as_chunks::<32>();
    let [first, second, path @ ..] = hashes else {
        return;
    };
    let other: Hash = second.map(|byte| !byte);
    let is_in = |root| verify_inclusion(number, first, size, root, path).is_ok();
    assert!(!(is_in(second) && is_in(&other)));
    let begins = |root| verify_consistency(number, first, size, root, path).is_ok();
    assert!(!(begins(second) && begins(&other)) || number == 0);
}

fn split_numbers(data: &[u8]) -> Option<([u64; 2], &[u8])> {
    let (numbers, rest) = data.split_first_chunk::<16>()?;
    let (first, second) = numbers.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
    Some(([number(first)?, number(second)?], rest))
}
