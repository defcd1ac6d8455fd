//! `Idempotency-Key`: a request that makes something and is sent again, because its answer was lost, makes it once.
//!
//! The answer is kept in the transaction of the act: there is no moment at which one is there without the other, and of
//! two at once the second finds the first. Refusals are not kept, since nothing was done. Nothing secret is kept in
//! clear: an invitation is sealed, and an enrolment token is made anew for whoever proves the password again.

use std::str::FromStr;

use serde::Serialize;
use unhidra_crypto::hash::sha256;
use unhidra_store::idempotency::Repeatable;
use unhidra_types::{OrgId, Username};

use crate::{Caller, Identity};

pub use unhidra_store::idempotency::RepeatError;

/// Bytes that a key may have.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 1..=128;

/// What a client calls one request, however often it sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to 128 visible ASCII characters")]
pub struct KeyFormError;

impl FromStr for IdempotencyKey {
    type Err = KeyFormError;

    fn from_str(text: &str) -> Result<Self, KeyFormError> {
        if KEY_BYTES.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyFormError)
        }
    }
}

impl Identity {
    /// A request of an authenticated caller that can be told from all others; `None` without a key.
    ///
    /// `act` names the route, `request` must hold nothing secret.
    #[must_use]
    pub fn repeatable(
        &self,
        caller: &Caller,
        act: &'static str,
        key: Option<&IdempotencyKey>,
        request: &impl Serialize,
    ) -> Option<Repeatable> {
        let user = caller.user()?;
        let request = serde_json::to_vec(request).ok()?;
        Some(repeatable(
            *user.as_bytes(),
            self.org_of(caller),
            act,
            &key?.0,
            &request,
        ))
    }

    /// The same for someone who has nothing but an invitation: the keys are those of the invitation. Of what is asked the
    /// password is left out; whoever asks again proves it.
    pub(crate) fn repeatable_opening(
        &self,
        invitation: &[u8; 32],
        key: Option<&IdempotencyKey>,
        username: &Username,
    ) -> Option<Repeatable> {
        let owner = invitation.first_chunk().copied()?;
        Some(repeatable(
            owner,
            self.0.home,
            "open-account",
            &key?.0,
            username.as_str().as_bytes(),
        ))
    }
}

fn repeatable(owner: [u8; 16], org: OrgId, act: &str, key: &str, request: &[u8]) -> Repeatable {
    // The name of the act is one of a few without a zero byte, and the owner has a fixed length.
    let key = sha256(&[
        b"\x10UNH1/idempotency",
        &owner,
        act.as_bytes(),
        &[0],
        key.as_bytes(),
    ]);
    Repeatable {
        key,
        request: sha256(&[request]),
        owner,
        org,
    }
}
