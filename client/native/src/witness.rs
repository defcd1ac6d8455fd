//! What this device has seen of the server's audit tree: a server that goes back behind it, or shows others another
//! log, contradicts its own signature, and that is kept as evidence.

use serde::{Deserialize, Serialize};
use unhidra_client::store::StoreError;
use unhidra_tree::{Hash, SignedHead, verify_consistency};
use unhidra_types::Timestamp;
use unhidra_wire::audit::{AuditKey, ConsistencyProof, TreeHead};

use crate::{account, store::SqliteStore};

/// Contradictions that are kept. A new one displaces the oldest that was accepted, and none that was not.
pub const MAX_EVIDENCE: usize = 16;

const SEEN: &str = "audit head";
const EVIDENCE: &str = "audit evidence";

/// The latest head that nothing contradicted, under the key that was learnt with the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The log's key.
    pub key: AuditKey,
    /// The head.
    pub head: TreeHead,
    /// When the server was last asked.
    pub checked_at: Timestamp,
}

/// How a head contradicts an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contradiction {
    /// It has fewer records: the server was restored from an older copy.
    Shrunk,
    /// It has other records where the earlier one had some: the server went on from an older copy, or lies.
    Forked,
    /// It is of another log, or signed by another key.
    OtherLog,
    /// Its signature does not hold.
    Forged,
}

/// Two heads that can't both be of one growing log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What is wrong.
    pub contradiction: Contradiction,
    /// When it was noticed.
    pub noticed_at: Timestamp,
    /// What was seen before, with its key.
    pub earlier: TreeHead,
    /// The key of the earlier head.
    pub earlier_key: AuditKey,
    /// What came then.
    pub later: TreeHead,
    /// The key that the server names now, when it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later_key: Option<AuditKey>,
    /// When its owner took it as explained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
}

/// Whether more is needed to judge a head.
pub(crate) enum Judgement {
    /// Nothing contradicts it.
    Fits,
    /// It contradicts what was seen.
    Contradicts(Contradiction),
    /// It is larger: whether it continues the earlier one says a consistency proof.
    NeedsProof,
}

impl Seen {
    /// What can be said without a proof.
    pub(crate) fn judge(&self, head: &TreeHead) -> Judgement {
        let earlier = &self.head;
        if head.log_id != earlier.log_id {
            return Judgement::Contradicts(Contradiction::OtherLog);
        }
        if SignedHead::from(*head).verify(&self.key.key.0).is_err() {
            return Judgement::Contradicts(Contradiction::Forged);
        }
        if head.size < earlier.size {
            Judgement::Contradicts(Contradiction::Shrunk)
        } else if head.size > earlier.size {
            Judgement::NeedsProof
        } else if head.root == earlier.root {
            Judgement::Fits
        } else {
            Judgement::Contradicts(Contradiction::Forked)
        }
    }

    /// Whether `proof` shows that `head` continues what was seen.
    pub(crate) fn continues(&self, head: &TreeHead, proof: &ConsistencyProof) -> bool {
        let path: Vec<Hash> = proof.path.iter().map(|hash| hash.0).collect();
        let earlier = &self.head;
        verify_consistency(earlier.size, &earlier.root.0, head.size, &head.root.0, &path).is_ok()
    }

    pub(crate) fn load(store: &mut SqliteStore) -> Result<Option<Self>, StoreError> {
        account::read(store, SEEN)
    }

    pub(crate) fn save(&self, store: &mut SqliteStore) -> Result<(), StoreError> {
        account::write(store, SEEN, self)
    }
}

pub(crate) fn evidence(store: &mut SqliteStore) -> Result<Vec<Evidence>, StoreError> {
    Ok(account::read(store, EVIDENCE)?.unwrap_or_default())
}

/// Keeps evidence unless the same is there and not accepted; says whether it is new.
pub(crate) fn keep(store: &mut SqliteStore, new: &Evidence) -> Result<bool, StoreError> {
    let mut kept = evidence(store)?;
    let known = kept.iter().any(|old| {
        old.accepted_at.is_none() && (old.contradiction, old.earlier) == (new.contradiction, new.earlier)
    });
    if known || !make_room(&mut kept) {
        return Ok(false);
    }
    kept.push(new.clone());
    account::write(store, EVIDENCE, &kept)?;
    Ok(true)
}

/// Whether there is room for one more. When there is none, its owner is warned by those that are there.
fn make_room(kept: &mut Vec<Evidence>) -> bool {
    if kept.len() < MAX_EVIDENCE {
        return true;
    }
    match kept.iter().position(|old| old.accepted_at.is_some()) {
        Some(oldest) => {
            kept.remove(oldest);
            true
        }
        None => false,
    }
}

/// Marks everything as explained; it stays.
pub(crate) fn accept(store: &mut SqliteStore, now: Timestamp) -> Result<(), StoreError> {
    let mut kept = evidence(store)?;
    for old in &mut kept {
        old.accepted_at.get_or_insert(now);
    }
    account::write(store, EVIDENCE, &kept)
}

#[cfg(test)]
mod tests {
    use unhidra_crypto::ed25519::SigningKey;
    use unhidra_tree::{Head, consistency, root};
    use unhidra_types::Secret;
    use unhidra_wire::base64::Base64Array;

    use super::*;

    /// A log whose leaf `n` is `[n; 32]` up to `same`, and something else after it.
    struct Log {
        key: SigningKey,
        same: u64,
    }

    impl Log {
        fn node(&self, node: unhidra_tree::Node) -> Result<Hash, ()> {
            let leaf = |number: u64| {
                let byte = u8::try_from(number).unwrap();
                [if number <= self.same { byte } else { !byte }; 32]
            };
            let mut hashes: Vec<Hash> = (node.first()..=node.end).map(leaf).collect();
            while hashes.len() > 1 {
                hashes = hashes
                    .chunks(2)
                    .map(|two| unhidra_tree::parent(&two[0], &two[1]))
                    .collect();
            }
            Ok(hashes[0])
        }

        fn head(&self, size: u64) -> TreeHead {
            let head = Head {
                log: [5; 32],
                size,
                at: Timestamp::from_millis(size),
                root: root(size, |node| self.node(node)).unwrap(),
            };
            let signature = self.key.sign(&head.signed_bytes());
            SignedHead { head, signature }.into()
        }

        fn proof(&self, from: u64, to: u64) -> ConsistencyProof {
            let path = consistency(from, to, |node| self.node(node)).unwrap();
            let path = path.into_iter().map(Base64Array).collect();
            ConsistencyProof { from, to, path }
        }

        fn seen(&self, size: u64) -> Seen {
            let key = Base64Array(*self.key.verifying_key().as_bytes());
            Seen {
                key: AuditKey {
                    key,
                    log_id: Base64Array([5; 32]),
                },
                head: self.head(size),
                checked_at: Timestamp::EPOCH,
            }
        }
    }

    fn log(same: u64) -> Log {
        Log {
            key: SigningKey::from_seed(&Secret::new([3; 32])),
            same,
        }
    }

    #[test]
    fn only_what_was_accepted_makes_room_for_new_evidence() {
        let seen = log(100).seen(3);
        let evidence = |size, accepted_at| Evidence {
            contradiction: Contradiction::Forked,
            noticed_at: Timestamp::EPOCH,
            earlier: log(100).head(size),
            earlier_key: seen.key,
            later: seen.head,
            later_key: None,
            accepted_at,
        };
        let mut kept: Vec<_> = (1..=16).map(|size| evidence(size, None)).collect();
        assert!(!make_room(&mut kept));
        assert_eq!(kept.len(), MAX_EVIDENCE);
        kept[4].accepted_at = Some(Timestamp::EPOCH);
        assert!(make_room(&mut kept));
        assert!(kept.len() < MAX_EVIDENCE && kept.iter().all(|kept| kept.accepted_at.is_none()));
    }

    #[test]
    fn a_head_that_continues_fits_and_every_other_one_contradicts() {
        let (honest, restored) = (log(100), log(15));
        let seen = honest.seen(20);
        let judged = |head: &TreeHead| match seen.judge(head) {
            Judgement::Fits => "fits",
            Judgement::NeedsProof => "needs proof",
            Judgement::Contradicts(Contradiction::Shrunk) => "shrunk",
            Judgement::Contradicts(Contradiction::Forked) => "forked",
            Judgement::Contradicts(Contradiction::OtherLog) => "other log",
            Judgement::Contradicts(Contradiction::Forged) => "forged",
        };
        assert_eq!(judged(&honest.head(20)), "fits");
        assert_eq!(judged(&honest.head(33)), "needs proof");
        assert!(seen.continues(&honest.head(33), &honest.proof(20, 33)));
        assert_eq!(judged(&restored.head(15)), "shrunk");
        assert_eq!(judged(&restored.head(20)), "forked");
        assert_eq!(judged(&restored.head(33)), "needs proof");
        assert!(!seen.continues(&restored.head(33), &restored.proof(20, 33)));
        let mut other = honest.head(33);
        other.log_id = Base64Array([6; 32]);
        assert_eq!(judged(&other), "other log");
        let mut forged = honest.head(33);
        forged.size = 34;
        assert_eq!(judged(&forged), "forged");
    }
}
