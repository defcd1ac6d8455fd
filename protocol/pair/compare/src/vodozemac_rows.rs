//! The same steps by vodozemac.

use std::hint::black_box;

use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig};

use crate::measure::{Row, prepared, repeated};

const TEXT: [u8; 1_024] = [7; 1_024];
const MESSAGES: u32 = 100;

fn pair() -> (Account, Account, Session) {
    let (alice, mut bob) = (Account::new(), Account::new());
    bob.generate_one_time_keys(1);
    let session = outbound(&alice, &bob);
    (alice, bob, session)
}

fn outbound(alice: &Account, bob: &Account) -> Session {
    let key = *bob.one_time_keys().values().next().expect("one was made");
    alice
        .create_outbound_session(SessionConfig::version_1(), bob.curve25519_key(), key)
        .expect("keys are usable")
}

fn inbound(alice: &Account, mut bob: Account, first: OlmMessage) -> Session {
    let OlmMessage::PreKey(first) = first else {
        panic!("the first message begins a session");
    };
    bob.create_inbound_session(SessionConfig::version_1(), alice.curve25519_key(), &first)
        .expect("it opens")
        .session
}

/// Two sessions after a message each way.
fn acquainted() -> (Session, Session) {
    let (alice, bob, mut ours) = pair();
    let first = ours.encrypt(b"first").expect("it is sealed");
    let mut theirs = inbound(&alice, bob, first);
    let answer = theirs.encrypt(b"answer").expect("it is sealed");
    ours.decrypt(&answer).expect("it opens");
    let next = ours.encrypt(b"next").expect("it is sealed");
    theirs.decrypt(&next).expect("it opens");
    (ours, theirs)
}

pub(crate) fn all() -> Vec<Row> {
    let (alice, bob, _) = pair();
    let (mut sealing, _) = acquainted();
    vec![
        repeated("setup, initiator", 5, || outbound(&alice, &bob)),
        prepared(
            "setup, responder, with the first message opened",
            || {
                let (alice, bob, mut session) = pair();
                (alice, bob, session.encrypt(TEXT).expect("it is sealed"))
            },
            |(alice, bob, first)| {
                black_box(inbound(&alice, bob, first));
                1
            },
        ),
        repeated("encrypt 1 KiB, same chain", MESSAGES, || sealing.encrypt(TEXT)),
        prepared(
            "decrypt 1 KiB, same chain",
            || {
                let (mut ours, theirs) = acquainted();
                let sealed: Vec<_> = (0..MESSAGES).map(|_| ours.encrypt(TEXT).expect("it is sealed")).collect();
                (theirs, sealed)
            },
            |(mut theirs, sealed)| {
                for message in &sealed {
                    black_box(theirs.decrypt(message).expect("it opens"));
                }
                MESSAGES
            },
        ),
        prepared(
            "encrypt and decrypt 1 KiB, with a DH step each",
            acquainted,
            |(mut ours, mut theirs)| {
                for _ in 0..10 {
                    let message = theirs.encrypt(TEXT).expect("it is sealed");
                    black_box(ours.decrypt(&message).expect("it opens"));
                    let message = ours.encrypt(TEXT).expect("it is sealed");
                    black_box(theirs.decrypt(&message).expect("it opens"));
                }
                20
            },
        ),
    ]
}
