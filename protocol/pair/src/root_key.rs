//! Root keys (`RK`): what every Diffie-Hellman step, and the secret of every post-quantum epoch, is mixed into.

use unhidra_chain::label;
use unhidra_crypto::kdf;
use unhidra_types::Secret;

use crate::{chain_key::ChainKey, derived::part, header::HeaderKey};

/// `RK`: changes at every ratchet step, on both sides alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootKey(Secret<32>);

/// What one step gives.
pub(crate) struct RootStep {
    pub(crate) root: RootKey,
    /// `CK` of the chain that begins.
    pub(crate) chain: ChainKey,
    /// `NHK`: the header key of the chain after that.
    pub(crate) next_header_key: HeaderKey,
}

impl RootKey {
    pub(crate) const fn new(bytes: Secret<32>) -> Self {
        Self(bytes)
    }

    pub(crate) const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// `KDF_RK(rk, dh)`, or `KDF_RK(rk, dh, ss)` with a post-quantum secret.
    pub(crate) fn step(&self, shared: &Secret<32>, kem: Option<&Secret<32>>) -> RootStep {
        let kem: &[u8] = kem.map_or(&[], |secret| secret.expose());
        let okm = kdf::hkdf::<96>(self.0.expose(), &[shared.expose(), kem], &[label!("UNH1/root")]);
        RootStep {
            root: Self(part::<0, 32, 96>(&okm)),
            chain: ChainKey::new(part::<32, 32, 96>(&okm)),
            next_header_key: HeaderKey::new(part::<64, 32, 96>(&okm)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(step: &RootStep) -> [[u8; 32]; 3] {
        [
            *step.root.expose(),
            *step.chain.expose(),
            *step.next_header_key.expose(),
        ]
    }

    /// Invariants 5 and 6: every Diffie-Hellman secret without the KEM's, or the reverse, leaves every key unknown.
    #[test]
    fn either_secret_alone_changes_every_key() {
        let root = RootKey::new(Secret::new([1; 32]));
        let (shared, kem) = (Secret::new([2; 32]), Secret::new([3; 32]));
        let honest = all(&root.step(&shared, Some(&kem)));
        let guesses = [
            root.step(&shared, None),
            root.step(&shared, Some(&Secret::new([0xaa; 32]))),
            root.step(&Secret::new([0xbb; 32]), Some(&kem)),
        ];
        for guess in &guesses {
            for (key, guessed) in honest.iter().zip(all(guess)) {
                assert_ne!(*key, guessed);
            }
        }
    }
}
