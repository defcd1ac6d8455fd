//! Linking: how a device that holds the identity key certifies a new device of the same user
//! (`docs/protocol/linking-and-recovery.md`).
//!
//! The new device N shows a [`LinkCode`]; the certifying device C scans or pastes it. Everything else passes through
//! the server, which learns nothing and can only stop it:
//!
//! ```text
//! C -> N  commitment  E_C(32) | H(r_C)(32)                                                        64 B
//! N -> C  request     AEAD(k_N, r_N(32) | DSK(32) | DIK(32) | kind(1) | caps(4) | pop(64))       181 B
//! C -> N  reveal      r_C(32)                                                                     32 B
//! both    SAS         six digits, compared by the user on both screens
//! C -> N  approval    AEAD(k_C, genesis(229) | list version(4))                                  249 B
//! ```
//!
//! One type per state; every step consumes it, and an error ends it: the user starts again with a new code. The two
//! sides are [`new_device`] and [`certifier`].
//!
//! Left to the caller: a code is good for one link within 2 min of its making; C authenticates its user before it
//! reads a code; each message goes only to the device of the other side; the certificate that C signs is uploaded
//! by compare-and-swap before the approval is sent.
//!
//! Invariant: neither a certificate nor an approval exists before the user said, on C, that the digits are equal; and
//! N believes no genesis before the user said so on N. So a stolen code alone gains nothing.

pub mod certifier;
pub mod code;
pub mod new_device;

use core::fmt;

use unhidra_chain::{
    auth::Claim,
    codec::{Malformed, concat},
    label,
    record::RecordError,
};
use unhidra_crypto::{
    CryptoRng, aead,
    hash::sha256,
    kdf::hkdf,
    x25519::{self, KeyError},
};
use unhidra_types::{DeviceId, Secret, UserId};
use zeroize::Zeroize as _;

pub use self::code::LinkCode;

/// Bytes of C's first message.
pub const COMMITMENT_BYTES: usize = 64;
/// Bytes of N's message.
pub const REQUEST_BYTES: usize = REQUEST_PLAINTEXT_BYTES + aead::TAG_BYTES;
/// Bytes of C's second message.
pub const REVEAL_BYTES: usize = 32;
/// Bytes of C's last message.
pub const APPROVAL_BYTES: usize = APPROVAL_PLAINTEXT_BYTES + aead::TAG_BYTES;

const REQUEST_PLAINTEXT_BYTES: usize = 165;
const APPROVAL_PLAINTEXT_BYTES: usize = 233;
/// Each key seals one message, so a constant nonce never repeats.
const NONCE: [u8; aead::NONCE_BYTES] = [0; aead::NONCE_BYTES];

/// Why linking ended. Whatever it was, the user starts again with a new code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A message or code does not have the layout, or a key in it is unusable.
    #[error("linking message is malformed")]
    Malformed,
    /// The code or the device kind needs a newer version.
    #[error("linking needs a newer version")]
    Unsupported,
    /// A message does not open: another code or user, or it was altered on its way.
    #[error("linking message does not open")]
    Forged,
    /// What C revealed is not what it had committed to.
    #[error("certifying device broke its commitment")]
    BrokenCommitment,
    /// The new device does not prove that it holds its signing key.
    #[error("new device does not prove its keys")]
    Unproven,
    /// The genesis or chain is another user's, is not signed, or does not hold the new device.
    #[error("chain does not certify the new device")]
    NotCertified,
}

/// The short authentication string: six digits that both screens show and the user compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sas(u32);

impl fmt::Display for Sas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// What both sides know of the exchange before the keys: the user, the code's fields and C's commitment.
struct Transcript {
    user: UserId,
    device: DeviceId,
    e_n: x25519::PublicKey,
    e_c: x25519::PublicKey,
    committed: [u8; 32],
}

/// One key for each direction.
struct Keys {
    new_device: aead::Key,
    certifier: aead::Key,
}

impl Transcript {
    /// `k_N | k_C = HKDF(secret, DH(E_N, E_C), L("UNH1/link") | user | device | E_N | E_C | H(r_C), 64)`.
    fn keys(&self, secret: &Secret<32>, shared: &Secret<32>) -> Keys {
        let okm: Secret<64> = hkdf(
            secret.expose(),
            &[shared.expose()],
            &[
                label!("UNH1/link"),
                self.user.as_bytes(),
                self.device.as_bytes(),
                self.e_n.as_bytes(),
                self.e_c.as_bytes(),
                &self.committed,
            ],
        );
        let (new_device, certifier) = okm.expose().split_at(32);
        Keys {
            new_device: aead::Key::new(Secret::new(concat(&[new_device]))),
            certifier: aead::Key::new(Secret::new(concat(&[certifier]))),
        }
    }

    /// First 4 B of `H(L("UNH1/link/sas") | user | device | E_N | E_C | DSK | DIK | r_N | r_C)`, mod 10^6.
    fn sas(&self, claim: &Claim, r_n: &[u8; 32], r_c: &[u8; 32]) -> Sas {
        let hash = sha256(&[
            label!("UNH1/link/sas"),
            self.user.as_bytes(),
            self.device.as_bytes(),
            self.e_n.as_bytes(),
            self.e_c.as_bytes(),
            claim.dsk.as_bytes(),
            claim.dik.as_bytes(),
            r_n,
            r_c,
        ]);
        let [a, b, c, d, ..] = hash;
        Sas(u32::from_be_bytes([a, b, c, d]) % 1_000_000)
    }
}

impl From<Malformed> for LinkError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<KeyError> for LinkError {
    fn from(_: KeyError) -> Self {
        Self::Malformed
    }
}

impl From<RecordError> for LinkError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Unsupported => Self::Unsupported,
            _ => Self::Malformed,
        }
    }
}

impl From<aead::AeadError> for LinkError {
    fn from(_: aead::AeadError) -> Self {
        Self::Forged
    }
}

fn draw<R: CryptoRng + ?Sized>(rng: &mut R) -> Secret<32> {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    let secret = Secret::new(bytes);
    bytes.zeroize();
    secret
}
