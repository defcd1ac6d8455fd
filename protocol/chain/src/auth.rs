//! What a device's signing key (DSK) signs for the server: login challenges, and proof that it holds both its keys.

use alloc::vec::Vec;

use unhidra_crypto::{
    ed25519::{SIGNATURE_BYTES, SignatureError, SigningKey, VerifyingKey},
    x25519,
};
use unhidra_types::{DeviceId, UserId};

use crate::label;

/// Random bytes of a login challenge.
pub const CHALLENGE_BYTES: usize = 32;

/// Answers a server's login challenge. `origin` is the server as the device knows it, so that a challenge passed on
/// by another server is of no use there.
#[must_use]
pub fn sign_challenge(
    dsk: &SigningKey,
    origin: &str,
    challenge: &[u8; CHALLENGE_BYTES],
) -> [u8; SIGNATURE_BYTES] {
    dsk.sign(&challenge_input(origin, challenge))
}

/// Checks the answer to a login challenge.
///
/// # Errors
/// [`SignatureError::Forged`] when `dsk` did not sign this challenge for this origin.
pub fn verify_challenge(
    dsk: &VerifyingKey,
    origin: &str,
    challenge: &[u8; CHALLENGE_BYTES],
    signature: &[u8; SIGNATURE_BYTES],
) -> Result<(), SignatureError> {
    dsk.verify(&challenge_input(origin, challenge), signature)
}

/// A device and the two keys it says are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The user it enrols for.
    pub user: UserId,
    /// The id it proposes.
    pub device: DeviceId,
    /// Its signing key (DSK).
    pub dsk: VerifyingKey,
    /// Its Diffie-Hellman key (DIK).
    pub dik: x25519::PublicKey,
}

impl Claim {
    /// Proves that the device holds `dsk` and stands by the rest of the claim (`pop`).
    #[must_use]
    pub fn prove(&self, dsk: &SigningKey) -> [u8; SIGNATURE_BYTES] {
        dsk.sign(&self.input())
    }

    /// Checks the proof. The certifying device does so before it signs, the server when the certificate is uploaded.
    ///
    /// # Errors
    /// [`SignatureError::Forged`] when the claimed DSK did not sign exactly this claim.
    pub fn verify(&self, proof: &[u8; SIGNATURE_BYTES]) -> Result<(), SignatureError> {
        self.dsk.verify(&self.input(), proof)
    }

    fn input(&self) -> Vec<u8> {
        [
            label!("UNH1/pop").as_slice(),
            self.user.as_bytes(),
            self.device.as_bytes(),
            self.dsk.as_bytes(),
            self.dik.as_bytes(),
        ]
        .concat()
    }
}

fn challenge_input(origin: &str, challenge: &[u8; CHALLENGE_BYTES]) -> Vec<u8> {
    // The challenge has a fixed size, so even an origin beyond 4 GiB would have one reading only.
    let origin_len = u32::try_from(origin.len()).unwrap_or(u32::MAX);
    [
        label!("UNH1/auth").as_slice(),
        &origin_len.to_be_bytes(),
        origin.as_bytes(),
        challenge,
    ]
    .concat()
}
