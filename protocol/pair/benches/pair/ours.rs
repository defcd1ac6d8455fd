//! The steps of this crate, in memory, with what the chain checks of a bundle.

use std::hint::black_box;

use unhidra_chain::Expected;
use unhidra_crypto::{kem, x25519::SecretKey};
use unhidra_pair::{
    Address, Content, Introduction, SeenEk, SessionSet,
    body::{self, Context, Plaintext},
};
use unhidra_types::MsgId;

use crate::{
    measure::{Row, prepared, repeated},
    network::{CURRENT, DAY, Mail, Two, rng},
};

/// 1 KiB of text and the protobuf around it.
const TEXT: usize = 1_030;

/// One X25519, the unit of the budgets.
pub(crate) fn diffie_hellman() -> Row {
    let mut rng = rng(1);
    let (own, peer) = (SecretKey::generate(&mut rng), SecretKey::generate(&mut rng));
    repeated("X25519", 100, || own.diffie_hellman(peer.public()))
}

pub(crate) fn kem() -> Vec<Row> {
    let mut rng = rng(2);
    let key = kem::DecapsulationKey::generate(&mut rng);
    let public = key.encapsulation_key();
    let bytes = public.to_bytes();
    let (ciphertext, _) = public.encapsulate(&mut rng);
    vec![
        repeated("ML-KEM-768 key", 20, || kem::DecapsulationKey::generate(&mut rng)),
        repeated("ML-KEM-768 check of a key", 20, || {
            kem::EncapsulationKey::from_bytes(&bytes)
        }),
        repeated("ML-KEM-768 encapsulation", 20, || {
            public.encapsulate(&mut crate::network::rng(3))
        }),
        repeated("ML-KEM-768 decapsulation", 20, || key.decapsulate(&ciphertext)),
    ]
}

pub(crate) fn setup() -> Vec<Row> {
    let mut two = Two::new(3);
    let bundle = two.devices[1].bundle();
    let expected = Expected {
        device: bundle.device,
        generation_floor: unhidra_chain::prekey::Generation(0),
        own: CURRENT,
    };
    let chain = two.users[1].chain.clone();
    let (me, peer) = (two.devices[0].local.clone(), two.devices[1].address());
    let (now, none) = (two.now, SessionSet::new(peer));
    let mut generator = rng(4);
    let initiator = repeated("setup, initiator: check of the bundle and handshake", 5, || {
        let bundle = bundle.clone().verify(&chain, &expected, now).unwrap();
        none.initiate(&me, &bundle, now, &mut generator).unwrap()
    });
    let first = two.send(0, &[7; TEXT]);
    let (device, chain) = (&two.devices[1], &two.users[0].chain);
    let responder = repeated("setup, responder: with the first message opened", 5, || {
        let (received, sessions) = (first.received(), SessionSet::new(first.sender));
        let prefix = sessions.introduction_needed(&received).unwrap().unwrap();
        let introduction =
            Introduction::check(&prefix, chain, CURRENT, SeenEk::New, &device.prekeys, now).unwrap();
        let opened = sessions
            .open(&received, &device.local, Some(&introduction), now)
            .unwrap();
        (read(&two, 1, &opened.content, &first), opened.sessions)
    });
    vec![initiator, responder]
}

/// Seals body and capsule.
fn encrypt(two: &mut Two, from: usize, sessions: &SessionSet) -> SessionSet {
    let (peer, sender) = (two.devices[1 - from].address(), two.devices[from].address());
    let msg_id = MsgId::from_bytes([9; 16]);
    let conversation = unhidra_chain::direct::direct_conversation(sender.user, peer.user);
    let plaintext = Plaintext {
        peer: peer.user,
        cseq: 1,
        after: MsgId::NONE,
        content: vec![7; TEXT],
    };
    let context = Context {
        conversation,
        msg_id,
        sender,
    };
    let body = body::seal(&plaintext, &context, &mut two.rng).unwrap();
    let outgoing = two.devices[from].outgoing(msg_id, two.now);
    let sealed = sessions
        .seal_capsule(&outgoing, conversation, &body.capsule, two.now, &mut two.rng)
        .unwrap();
    black_box((body.object, sealed.bytes));
    sealed.sessions
}

fn read(two: &Two, at: usize, content: &Content, mail: &Mail) -> Vec<u8> {
    let Content::Capsule(capsule) = content else {
        return Vec::new();
    };
    let context = Context {
        conversation: mail.conversation,
        msg_id: mail.envelope.msg_id,
        sender: mail.sender,
    };
    let me: Address = two.devices[at].address();
    body::open(capsule, &mail.object, &context, me.user)
        .unwrap()
        .content
}

fn decrypt(two: &Two, at: usize, sessions: &SessionSet, mail: &Mail) -> SessionSet {
    let opened = sessions
        .open(&mail.received(), &two.devices[at].local, None, two.now)
        .unwrap();
    black_box(read(two, at, &opened.content, mail));
    opened.sessions
}

fn sessions(two: &Two, at: usize) -> SessionSet {
    two.devices[at].sessions(two.devices[1 - at].address())
}

/// The costs of one state: sealing and opening of the message that comes next.
fn next(two: &Two, from: usize, seal: &str, open: &str) -> [Row; 2] {
    let mut two = two.clone();
    let own = sessions(&two, from);
    let sealing = repeated(seal, 100, || encrypt(&mut two, from, &own));
    let mail = two.send(from, &[7; TEXT]);
    let peer = sessions(&two, 1 - from);
    let opening = repeated(open, 100, || decrypt(&two, 1 - from, &peer, &mail));
    [sealing, opening]
}

pub(crate) fn messages() -> Vec<Row> {
    let mut two = Two::acquainted(5);
    two.exchange(0, b"text");
    let same = next(&two, 0, "encrypt 1 KiB, same chain", "decrypt 1 KiB, same chain");
    let step = next(
        &two,
        1,
        "encrypt 1 KiB, with a DH step",
        "decrypt 1 KiB, with a DH step",
    );
    same.into_iter().chain(step).collect()
}

/// What the parts of an epoch add to a message with a DH step: a key, a ciphertext, the secret at the root.
pub(crate) fn epoch() -> Vec<Row> {
    let mut two = Two::acquainted(6);
    two.exchange(0, b"text");
    two.exchange(1, b"text");
    let mut plain = two.clone();
    two.now = two.now.saturating_add(DAY);
    let mut rows = Vec::new();
    for (from, what) in [(0, "key"), (1, "ciphertext"), (0, "secret mixed")] {
        let [with_seal, with_open] = next(&two, from, "", "");
        let [seal, open] = next(&plain, from, "", "");
        for (verb, with, without) in [("encrypt", with_seal, seal), ("decrypt", with_open, open)] {
            rows.push(Row {
                name: format!("PQ step adds, {verb}, {what}"),
                nanos: with.nanos - without.nanos,
            });
        }
        two.exchange(from, b"text");
        plain.exchange(from, b"text");
    }
    rows
}

/// Bytes of a stored set: its one session without skipped keys, in the states between two epochs.
pub(crate) fn state_sizes() -> Vec<(&'static str, usize)> {
    let mut two = Two::acquainted(7);
    let mut sizes = vec![("no epoch under way", two.stored(0).len())];
    two.now = two.now.saturating_add(DAY);
    two.exchange(0, b"text");
    sizes.extend([
        ("key sent", two.stored(0).len()),
        ("key held", two.stored(1).len()),
    ]);
    two.exchange(1, b"text");
    sizes.extend([
        ("secret held", two.stored(0).len()),
        ("ciphertext sent", two.stored(1).len()),
    ]);
    let mut first = Two::new(8);
    first.initiate(0);
    sizes.push(("first message not answered", first.stored(0).len()));
    sizes
}

/// Storing and restoring a set, as a client does around each message.
pub(crate) fn storing() -> Row {
    let two = Two::acquainted(9);
    let set = sessions(&two, 0);
    prepared(
        "store and restore a set",
        || (),
        |()| {
            for _ in 0..100 {
                black_box(SessionSet::from_bytes(&set.to_bytes()).unwrap());
            }
            100
        },
    )
}
