//! Tokens that need not be verified again: this server made them, or has verified them, a moment ago.
//!
//! A signature that held goes on holding. What may have changed since is asked each time, here or elsewhere: whether its
//! key is in force, whether it is in time, whether its session is live.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use unhidra_runtime::Recent;

use crate::token::Verified;

/// Tokens that are remembered, at least; at most twice as many. The others are verified again.
const REMEMBERED: usize = 16_384;

/// SHA-256 of a whole token: who finds another token with the same one has broken the signature as well, and a token
/// that is not kept can't leak.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

/// A token whose signature holds.
#[derive(Clone)]
pub(crate) struct Known {
    /// The name of the key that it holds under.
    pub(crate) kid: Arc<str>,
    pub(crate) verified: Verified,
}

/// What is remembered of tokens.
pub(crate) struct KnownTokens(Mutex<Recent<Fingerprint, Option<Known>>>);

impl Fingerprint {
    pub(crate) fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }
}

impl KnownTokens {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Recent::new(REMEMBERED)))
    }

    pub(crate) fn find(&self, token: Fingerprint) -> Option<Known> {
        self.lock().find(&token).flatten()
    }

    /// Only what holds is remembered, so that nobody can have others forgotten by making up tokens.
    pub(crate) fn remember(&self, token: Fingerprint, known: Known) {
        *self.lock().entry(token) = Some(known);
    }

    fn lock(&self) -> MutexGuard<'_, Recent<Fingerprint, Option<Known>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KnownTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownTokens({})", self.lock().len())
    }
}
