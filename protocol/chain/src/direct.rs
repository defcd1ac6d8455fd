//! The conversation of two users: its id follows from theirs, so that nobody assigns it.

use unhidra_crypto::hash::sha256;
use unhidra_types::{ConversationId, UserId};

use crate::{codec::concat, label};

/// The first 16 B of `H(L("UNH1/dm") | smaller user_id | larger user_id)`, of two different users.
#[must_use]
pub fn direct_conversation(one: UserId, other: UserId) -> ConversationId {
    let (smaller, larger) = if one <= other { (one, other) } else { (other, one) };
    let hash = sha256(&[label!("UNH1/dm"), smaller.as_bytes(), larger.as_bytes()]);
    let (id, _) = hash.split_at(16);
    ConversationId::from_bytes(concat(&[id]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_users_derive_the_same_conversation() {
        let [a, b, c] = [1, 2, 3].map(|byte| UserId::from_bytes([byte; 16]));
        assert_eq!(direct_conversation(a, b), direct_conversation(b, a));
        assert_ne!(direct_conversation(a, b), direct_conversation(a, c));
    }
}
