//! The commitment to one record: `leaf = SHA-256(0x00 | header | SHA-256(salt | payload))`.
//!
//! 0x00 is the leaf prefix of RFC 9162 section 2.1.1. The salt keeps a short payload from being guessed from its hash
//! once it is deleted.

use unhidra_crypto::hash::sha256;

use crate::{header::HEADER_BYTES, record::Record};

/// Bytes of the salt of a payload.
pub const SALT_BYTES: usize = 16;

/// A leaf of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf(pub [u8; 32]);

/// A record as it is stored: what stays, and what may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Canonical bytes; stays.
    pub header: [u8; HEADER_BYTES],
    /// `SHA-256(salt | payload)`; stays.
    pub commitment: [u8; 32],
    /// May go.
    pub salt: [u8; SALT_BYTES],
    /// The details as JSON; may go.
    pub payload: Vec<u8>,
}

impl Record {
    /// Takes the record apart with a fresh random salt.
    #[must_use]
    pub fn seal(&self, salt: [u8; SALT_BYTES]) -> Sealed {
        // The details are plain optional scalars, which JSON always has a form for.
        let payload = serde_json::to_vec(&self.details).unwrap_or_default();
        Sealed {
            header: self.header(),
            commitment: sha256(&[&salt, &payload]),
            salt,
            payload,
        }
    }
}

impl Sealed {
    /// The commitment to the record.
    #[must_use]
    pub fn leaf(&self) -> Leaf {
        leaf(&self.header, &self.commitment)
    }
}

/// The leaf of a stored record, with or without its payload.
#[must_use]
pub fn leaf(header: &[u8; HEADER_BYTES], commitment: &[u8; 32]) -> Leaf {
    Leaf(sha256(&[&[0x00], header, commitment]))
}

#[cfg(test)]
mod tests {
    use unhidra_types::Timestamp;

    use super::*;
    use crate::record::{Act, Actor, Details, Subject};

    fn sample(details: Details) -> Record {
        Record {
            at: Timestamp::from_millis(1_000),
            org: None,
            actor: Actor::Server,
            act: Act::ServerStarted,
            subject: Subject::Server,
            request: [0; 16],
            details,
        }
    }

    #[test]
    fn the_leaf_is_the_same_after_the_payload_is_gone() {
        let sealed = sample(Details {
            count: Some(1),
            ..Details::default()
        })
        .seal([9; 16]);
        assert_eq!(leaf(&sealed.header, &sealed.commitment), sealed.leaf());
    }

    #[test]
    fn payload_and_salt_change_the_leaf() {
        let base = sample(Details::default()).seal([9; 16]).leaf();
        assert_ne!(sample(Details::default()).seal([8; 16]).leaf(), base);
        assert_ne!(
            sample(Details {
                reason: Some("x"),
                ..Details::default()
            })
            .seal([9; 16])
            .leaf(),
            base
        );
    }

    #[test]
    fn absent_details_are_left_out() {
        let details = Details {
            username: Some("alice".into()),
            count: Some(3),
            ..Details::default()
        };
        assert_eq!(
            sample(details).seal([0; 16]).payload,
            br#"{"username":"alice","count":3}"#
        );
    }
}
