//! C: the device that holds the user identity key and certifies another.
//!
//! [`Committed`] → request → [`Comparing`] → the user → [`Approved`] → certificate uploaded → approval.

use alloc::vec::Vec;

use unhidra_chain::{
    Capabilities, Chain, DeviceKind,
    auth::Claim,
    codec::{Reader, concat},
    label,
    record::Subject,
};
use unhidra_crypto::{
    CryptoRng, aead,
    ed25519::{SIGNATURE_BYTES, VerifyingKey},
    hash::sha256,
    x25519,
};
use unhidra_types::{Secret, UserId};

use super::{
    APPROVAL_PLAINTEXT_BYTES, COMMITMENT_BYTES, LinkCode, LinkError, NONCE, REVEAL_BYTES, Sas, Transcript,
    draw,
};

/// What linking may grant. Custody of the identity key is taken with the recovery key only, and a capability that this
/// version does not know is left for a renewal by one that does.
pub const GRANTABLE: Capabilities = Capabilities::PQ.with(Capabilities::PQ_RATCHET);

/// The code is read and the commitment sent.
pub struct Committed {
    transcript: Transcript,
    new_device_key: aead::Key,
    certifier_key: aead::Key,
    r_c: Secret<32>,
}

/// The digits are shown.
pub struct Comparing {
    approved: Approved,
    sas: Sas,
}

/// The user said that the digits are equal.
pub struct Approved {
    user: UserId,
    subject: Subject,
    proof: [u8; SIGNATURE_BYTES],
    certifier_key: aead::Key,
}

impl Committed {
    /// Begins with a code that the user scanned or pasted, after the user was authenticated on this device.
    ///
    /// # Errors
    /// [`LinkError::Malformed`] when the code's key contributes nothing.
    pub fn new<R: CryptoRng + ?Sized>(
        code: &LinkCode,
        user: UserId,
        rng: &mut R,
    ) -> Result<(Self, [u8; COMMITMENT_BYTES]), LinkError> {
        let ephemeral = x25519::SecretKey::generate(rng);
        let r_c = draw(rng);
        let transcript = Transcript {
            user,
            device: code.device,
            e_n: code.e_n,
            e_c: *ephemeral.public(),
            committed: sha256(&[r_c.expose()]),
        };
        let keys = transcript.keys(&code.secret, &ephemeral.diffie_hellman(&code.e_n)?);
        let commitment = concat(&[transcript.e_c.as_bytes(), &transcript.committed]);
        let committed = Self {
            transcript,
            new_device_key: keys.new_device,
            certifier_key: keys.certifier,
            r_c,
        };
        Ok((committed, commitment))
    }

    /// Takes N's request; has the digits to show and the value to reveal.
    ///
    /// # Errors
    /// [`LinkError::Forged`] when it does not open, [`LinkError::Malformed`] or [`LinkError::Unsupported`] for its
    /// content, [`LinkError::Unproven`] when N does not hold the signing key it names.
    pub fn request(self, message: &[u8]) -> Result<(Comparing, [u8; REVEAL_BYTES]), LinkError> {
        let plaintext = self
            .new_device_key
            .open(&NONCE, label!("UNH1/link/req"), message)?;
        let mut reader = Reader::new(&plaintext);
        let r_n = reader.array()?;
        let claim = Claim {
            user: self.transcript.user,
            device: self.transcript.device,
            dsk: VerifyingKey::from_bytes(&reader.array()?).map_err(|_| LinkError::Malformed)?,
            dik: x25519::PublicKey::from_bytes(&reader.array()?)?,
        };
        let kind = DeviceKind::from_byte(reader.u8()?)?;
        let asked = Capabilities::from_bits(reader.u32()?);
        let proof = reader.array()?;
        reader.finish()?;
        claim.verify(&proof).map_err(|_| LinkError::Unproven)?;
        let r_c = *self.r_c.expose();
        let comparing = Comparing {
            sas: self.transcript.sas(&claim, &r_n, &r_c),
            approved: Approved {
                user: claim.user,
                subject: Subject {
                    device: claim.device,
                    kind,
                    dsk: claim.dsk,
                    dik: claim.dik,
                    capabilities: Capabilities::from_bits(asked.bits() & GRANTABLE.bits()),
                },
                proof,
                certifier_key: self.certifier_key,
            },
        };
        Ok((comparing, r_c))
    }
}

impl Comparing {
    /// The digits to show.
    #[must_use]
    pub const fn sas(&self) -> Sas {
        self.sas
    }

    /// What the new device says it is, to show beside the digits.
    #[must_use]
    pub const fn kind(&self) -> DeviceKind {
        self.approved.subject.kind
    }

    /// The user says that N shows the same digits.
    #[must_use]
    pub fn confirm(self) -> Approved {
        self.approved
    }
}

impl Approved {
    /// Whom to certify, with what linking may grant.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The new device's proof of possession, uploaded beside the certificate.
    #[must_use]
    pub const fn proof(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.proof
    }

    /// Makes the last message, once the server has accepted the certificate into `chain`.
    ///
    /// # Errors
    /// [`LinkError::NotCertified`] when `chain` does not certify the new device, or is another user's.
    pub fn approval(self, chain: &Chain) -> Result<Vec<u8>, LinkError> {
        let certified = chain
            .device(self.subject.device)
            .is_some_and(|device| *device.certificate().subject() == self.subject);
        if !certified || chain.user() != self.user {
            return Err(LinkError::NotCertified);
        }
        let plaintext: [u8; APPROVAL_PLAINTEXT_BYTES] =
            concat(&[chain.genesis().as_bytes(), &chain.head().version.0.to_be_bytes()]);
        Ok(self
            .certifier_key
            .seal(&NONCE, label!("UNH1/link/ok"), &plaintext)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unhidra_crypto::ed25519::SigningKey;
    use unhidra_types::DeviceId;

    /// A request whose plaintext is `r_N | DSK | DIK | kind | caps | pop`, changed by `alter` before it is sealed.
    fn answer(alter: impl FnOnce(&mut Vec<u8>)) -> Result<Comparing, LinkError> {
        let dsk = SigningKey::from_seed(&Secret::new([1; 32]));
        let dh = |seed| x25519::SecretKey::from_bytes(&Secret::new([seed; 32]));
        let transcript = Transcript {
            user: UserId::from_bytes([1; 16]),
            device: DeviceId::from_bytes([2; 16]),
            e_n: *dh(3).public(),
            e_c: *dh(4).public(),
            committed: [5; 32],
        };
        let claim = Claim {
            user: transcript.user,
            device: transcript.device,
            dsk: dsk.verifying_key(),
            dik: *dh(6).public(),
        };
        let mut plaintext = [
            [9; 32].as_slice(),
            claim.dsk.as_bytes(),
            claim.dik.as_bytes(),
            &[2],
            &[0xff; 4],
            &claim.prove(&dsk),
        ]
        .concat();
        alter(&mut plaintext);
        let keys = transcript.keys(&Secret::new([7; 32]), &Secret::new([8; 32]));
        let request = keys
            .new_device
            .seal(&NONCE, label!("UNH1/link/req"), &plaintext)
            .unwrap();
        let committed = Committed {
            transcript,
            new_device_key: keys.new_device,
            certifier_key: keys.certifier,
            r_c: Secret::new([5; 32]),
        };
        committed.request(&request).map(|(comparing, _)| comparing)
    }

    fn refusal(alter: impl FnOnce(&mut Vec<u8>)) -> Option<LinkError> {
        answer(alter).err()
    }

    #[test]
    fn only_the_capabilities_that_linking_may_grant_are_granted() {
        let approved = answer(|_| {}).map(Comparing::confirm);
        assert_eq!(approved.unwrap().subject().capabilities, GRANTABLE);
        assert!(!GRANTABLE.contains(Capabilities::CERTIFY));
    }

    fn with(at: usize, field: &[u8]) -> impl FnOnce(&mut Vec<u8>) {
        move |request| {
            request.splice(at..at + field.len(), field.iter().copied());
        }
    }

    #[test]
    fn a_device_that_does_not_hold_its_signing_key_is_refused() {
        assert_eq!(refusal(with(101, &[0; 64])), Some(LinkError::Unproven));
        assert_eq!(refusal(with(64, &[7; 32])), Some(LinkError::Unproven));
    }

    #[test]
    fn unusable_keys_unknown_kinds_and_other_lengths_are_refused() {
        assert_eq!(refusal(with(32, &[0; 32])), Some(LinkError::Malformed));
        assert_eq!(refusal(with(64, &[0xff; 32])), Some(LinkError::Malformed));
        assert_eq!(refusal(with(96, &[9])), Some(LinkError::Unsupported));
        assert_eq!(refusal(|request| request.push(0)), Some(LinkError::Malformed));
        assert_eq!(
            refusal(|request| request.truncate(164)),
            Some(LinkError::Malformed)
        );
    }
}
