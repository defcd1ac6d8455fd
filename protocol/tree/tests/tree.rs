//! The tree against its recursive definition in RFC 9162 section 2.1.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails"
)]

use std::{collections::BTreeMap, convert::Infallible};

use proptest::prelude::*;
use unhidra_crypto::hash::sha256;
use unhidra_tree::{
    Hash, Node, ProofError, complete, consistency, inclusion, root, verify_consistency, verify_inclusion,
};

/// MTH of RFC 9162 section 2.1.1, over leaf hashes.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            sha256(&[&[1], &mth(&leaves[..k]), &mth(&leaves[k..])])
        }
    }
}

/// PATH of section 2.1.3.1; `m` counts from 0.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut inner, outer) = if m < k {
        (path(m, &leaves[..k]), mth(&leaves[k..]))
    } else {
        (path(m - k, &leaves[k..]), mth(&leaves[..k]))
    };
    inner.push(outer);
    inner
}

/// SUBPROOF of section 2.1.4.1.
fn subproof(m: usize, leaves: &[Hash], complete: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if complete { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut inner, outer) = if m <= k {
        (subproof(m, &leaves[..k], complete), mth(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
    };
    inner.push(outer);
    inner
}

#[derive(Default)]
struct Stored(BTreeMap<Node, Hash>);

impl Stored {
    fn of(leaves: &[Hash]) -> Self {
        let mut stored = Self::default();
        for (number, leaf) in (1..).zip(leaves) {
            let hashes = complete(number, *leaf, |node| stored.node(node)).unwrap();
            for (level, hash) in (0..).zip(hashes) {
                stored.0.insert(Node { level, end: number }, hash);
            }
        }
        stored
    }

    fn node(&self, node: Node) -> Result<Hash, Infallible> {
        Ok(self.0[&node])
    }
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|n| sha256(&[&[0], &n.to_be_bytes()])).collect()
}

fn number(index: usize) -> u64 {
    u64::try_from(index).unwrap()
}

#[test]
fn every_root_and_proof_up_to_seventy_leaves_is_that_of_the_definition() {
    let all = leaves(70);
    let stored = Stored::of(&all);
    for size in 0..=all.len() {
        let tree = &all[..size];
        let head = root(number(size), |node| stored.node(node)).unwrap();
        assert_eq!(head, mth(tree), "{size}");
        for (index, leaf) in tree.iter().enumerate() {
            let proof = inclusion(number(index) + 1, number(size), |node| stored.node(node)).unwrap();
            assert_eq!(proof, path(index, tree));
            assert_eq!(
                verify_inclusion(number(index) + 1, leaf, number(size), &head, &proof),
                Ok(())
            );
        }
        for earlier in 1..=size {
            let proof = consistency(number(earlier), number(size), |node| stored.node(node)).unwrap();
            assert_eq!(proof, subproof(earlier, tree, true));
            let before = mth(&all[..earlier]);
            assert_eq!(
                verify_consistency(number(earlier), &before, number(size), &head, &proof),
                Ok(())
            );
        }
    }
}

#[test]
fn the_vectors_of_certificate_transparency_hold() {
    // The trees of RFC 6962's reference implementation: the first inputs and their roots.
    let inputs: [&[u8]; 4] = [&[], &[0x00], &[0x10], &[0x20, 0x21]];
    let all: Vec<Hash> = inputs.iter().map(|input| sha256(&[&[0], input])).collect();
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    let stored = Stored::of(&all);
    for (size, expected) in (0..).zip(roots) {
        let hash = root(size, |node| stored.node(node)).unwrap();
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected, "{size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_proof_proves_nothing(
        size in 2_usize..600, at in any::<prop::sample::Index>(), hash in any::<prop::sample::Index>(), bit in 0_usize..256,
    ) {
        let all = leaves(size);
        let stored = Stored::of(&all);
        let (head, index) = (mth(&all), at.index(size));
        let (size, number) = (number(size), number(index) + 1);
        let mut proof = inclusion(number, size, |node| stored.node(node)).unwrap();
        prop_assert_eq!(verify_inclusion(number, &all[index], size, &head, &proof), Ok(()));
        for wrong in [number - 1, number + 1] {
            prop_assert!(verify_inclusion(wrong, &all[index], size, &head, &proof).is_err());
        }
        let changed = hash.index(proof.len());
        proof[changed][bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(verify_inclusion(number, &all[index], size, &head, &proof), Err(ProofError::OtherRoot));
        proof.pop();
        prop_assert!(verify_inclusion(number, &all[index], size, &head, &proof).is_err());
    }

    #[test]
    fn a_log_that_forgot_or_changed_a_leaf_has_no_consistency_proof(
        earlier in 1_usize..400, more in 1_usize..400, forked in any::<prop::sample::Index>(),
    ) {
        let all = leaves(earlier + more);
        let mut fork = all.clone();
        fork[forked.index(earlier)] = [9; 32];
        let before = mth(&all[..earlier]);
        let (stored, others) = (Stored::of(&all), Stored::of(&fork));
        let (from, to) = (number(earlier), number(earlier + more));
        let proof = consistency(from, to, |node| stored.node(node)).unwrap();
        prop_assert_eq!(verify_consistency(from, &before, to, &mth(&all), &proof), Ok(()));
        prop_assert!(verify_consistency(from, &before, to, &mth(&fork), &proof).is_err());
        let other = consistency(from, to, |node| others.node(node)).unwrap();
        prop_assert!(verify_consistency(from, &before, to, &mth(&fork), &other).is_err());
        prop_assert!(verify_consistency(to, &mth(&all), from, &before, &proof).is_err());
    }
}
