//! Refresh tokens: `session(16) | nonce(16) | HMAC(label | session | nonce)(32)` as base64url.
//!
//! The tag tells a token that this server issued once from one that somebody made up, without a list of all that were
//! ever spent: only the former ends its session when it comes back.

use unhidra_crypto::hash::sha256;
use unhidra_keys::{KeyError, Keys};
use unhidra_runtime::Context;
use unhidra_types::SessionId;
use unhidra_wire::base64;
use zeroize::Zeroizing;

const LABEL: &[u8] = b"\x0cUNH1/refresh";
const SEAL_LABEL: &[u8] = b"\x11UNH1/refresh/seal";

/// A token of this server, whether or not it is still in force.
pub(crate) struct RefreshToken {
    pub(crate) session: SessionId,
    text: Zeroizing<String>,
}

impl RefreshToken {
    pub(crate) fn issue(keys: &Keys, session: SessionId, context: &Context) -> Self {
        let nonce = context.random::<16>();
        let tag = keys.authenticate(&[LABEL, session.as_bytes(), &nonce].concat());
        let bytes = Zeroizing::new([session.as_bytes().as_slice(), &nonce, &tag].concat());
        Self {
            session,
            text: Zeroizing::new(base64::encode(&bytes)),
        }
    }

    /// Reads a token; `None` when this server never issued it.
    pub(crate) fn parse(keys: &Keys, text: &str) -> Option<Self> {
        let bytes: Zeroizing<[u8; 64]> = Zeroizing::new(base64::decode(text)?.try_into().ok()?);
        let (head, tag) = bytes.split_first_chunk::<32>()?;
        let (session, nonce) = head.split_first_chunk::<16>()?;
        let expected = keys.authenticate(&[LABEL, session, nonce].concat());
        let expected = unhidra_types::Secret::new(expected);
        if expected != unhidra_types::Secret::try_from(tag).ok()? {
            return None;
        }
        Some(Self {
            session: SessionId::from_bytes(*session),
            text: Zeroizing::new(text.to_owned()),
        })
    }

    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    /// What the database recognises it by, and what its device signs.
    pub(crate) fn hash(&self) -> [u8; 32] {
        sha256(&[self.text.as_bytes()])
    }

    /// For the database, so that the token before it can be answered with it again.
    pub(crate) fn seal(&self, keys: &Keys) -> Result<Vec<u8>, KeyError> {
        keys.seal(&purpose(self.session), self.text.as_bytes())
    }

    pub(crate) fn open(keys: &Keys, session: SessionId, sealed: &[u8]) -> Result<Self, KeyError> {
        let bytes = keys.open_sealed(&purpose(session), sealed)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| KeyError::Unusable)?;
        Self::parse(keys, text).ok_or(KeyError::Unusable)
    }
}

fn purpose(session: SessionId) -> Vec<u8> {
    [SEAL_LABEL, session.as_bytes()].concat()
}
