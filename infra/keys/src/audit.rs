//! The key that signs heads of the audit tree, and nothing else: whoever saw a head keeps its public half for years, so
//! it is not one of the keys that sign tokens and are replaced.

use aws_lc_rs::{
    digest,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use unhidra_runtime::Context;
use unhidra_types::Secret;
use zeroize::Zeroizing;

use crate::{KeyError, ring::decode};

const LOG_LABEL: &[u8; 15] = b"\x0eUNH1/audit/log";

pub(crate) struct AuditKey {
    seed: Secret<32>,
    /// Makes two logs under one key two.
    random: [u8; 16],
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

/// The key as it is sealed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredAuditKey {
    seed: String,
    log: String,
}

impl AuditKey {
    pub(crate) fn fresh(context: &Context) -> Result<Self, KeyError> {
        Self::new(Secret::new(context.random()), context.random())
    }

    fn new(seed: Secret<32>, random: [u8; 16]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| KeyError::Unusable)?;
        let public = pair.public_key().as_ref().try_into();
        Ok(Self {
            seed,
            random,
            pair,
            public: public.map_err(|_| KeyError::Unusable)?,
        })
    }

    pub(crate) fn restore(stored: StoredAuditKey) -> Result<Self, KeyError> {
        let random = BASE64_URL_SAFE_NO_PAD.decode(stored.log);
        let random = random.map_err(|_| KeyError::Unusable)?;
        let seed = decode(&Zeroizing::new(stored.seed))?;
        Self::new(seed, random.try_into().map_err(|_| KeyError::Unusable)?)
    }

    pub(crate) fn store(&self) -> StoredAuditKey {
        StoredAuditKey {
            seed: BASE64_URL_SAFE_NO_PAD.encode(self.seed.expose()),
            log: BASE64_URL_SAFE_NO_PAD.encode(self.random),
        }
    }

    pub(crate) const fn public(&self) -> [u8; 32] {
        self.public
    }

    /// The name of the log (`docs/audit.md`).
    pub(crate) fn log_id(&self) -> [u8; 32] {
        let bytes = [LOG_LABEL.as_slice(), &self.public, &self.random].concat();
        let hash = digest::digest(&digest::SHA256, &bytes);
        // A SHA-256 hash has 32 bytes.
        hash.as_ref().try_into().unwrap_or([0; 32])
    }

    pub(crate) fn sign(&self, head: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(head);
        // An Ed25519 signature has 64 bytes.
        signature.as_ref().try_into().unwrap_or([0; 64])
    }
}
