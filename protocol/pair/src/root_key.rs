//! Root keys (`RK`): what every Diffie-Hellman step is mixed into.

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

    /// `KDF_RK(rk, dh)`.
    pub(crate) fn step(&self, shared: &Secret<32>) -> RootStep {
        let okm = kdf::hkdf::<96>(self.0.expose(), &[shared.expose()], &[label!("UNH1/root")]);
        RootStep {
            root: Self(part::<0, 32, 96>(&okm)),
            chain: ChainKey::new(part::<32, 32, 96>(&okm)),
            next_header_key: HeaderKey::new(part::<64, 32, 96>(&okm)),
        }
    }
}
