//! N: the device that wants to be certified.
//!
//! [`Offered`] → commitment → [`Requested`] → reveal → [`Comparing`] → the user → [`Confirmed`] → approval → [`Linked`].

use alloc::vec::Vec;

use unhidra_chain::{
    Capabilities, Chain, DeviceKind, Genesis, ListVersion,
    auth::Claim,
    codec::{Reader, concat},
    label,
};
use unhidra_crypto::{CryptoRng, aead, ed25519::SigningKey, hash::sha256, x25519};
use unhidra_types::{DeviceId, Secret, UserId};

use super::{LinkCode, LinkError, NONCE, REQUEST_PLAINTEXT_BYTES, Sas, Transcript, draw};

/// What the new device asks to be certified as.
pub struct Applicant {
    /// The user it logged in as.
    pub user: UserId,
    /// The id it proposes.
    pub device: DeviceId,
    /// What it is.
    pub kind: DeviceKind,
    /// What it can do. Linking never grants [`Capabilities::CERTIFY`], whatever is asked.
    pub capabilities: Capabilities,
    /// Its signing key (DSK).
    pub dsk: SigningKey,
    /// Its Diffie-Hellman key (DIK).
    pub dik: x25519::PublicKey,
}

/// The code is shown.
pub struct Offered {
    applicant: Applicant,
    ephemeral: x25519::SecretKey,
    secret: Secret<32>,
}

/// The request is sent; C has yet to reveal what it committed to.
pub struct Requested {
    transcript: Transcript,
    claim: Claim,
    r_n: Secret<32>,
    certifier_key: aead::Key,
}

/// The digits are shown.
pub struct Comparing {
    claim: Claim,
    sas: Sas,
    certifier_key: aead::Key,
}

/// The user said that the digits are equal.
pub struct Confirmed {
    claim: Claim,
    certifier_key: aead::Key,
}

/// The user's genesis, from the user's own device, and the version of the device list that names this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    claim: Claim,
    genesis: Genesis,
    version: ListVersion,
}

impl Offered {
    /// Draws a code. It is shown once and dies with this state, after 2 min at the latest.
    pub fn new<R: CryptoRng + ?Sized>(applicant: Applicant, rng: &mut R) -> (Self, LinkCode) {
        let ephemeral = x25519::SecretKey::generate(rng);
        let secret = draw(rng);
        let code = LinkCode {
            device: applicant.device,
            e_n: *ephemeral.public(),
            secret: secret.clone(),
        };
        let offered = Self {
            applicant,
            ephemeral,
            secret,
        };
        (offered, code)
    }

    /// Takes C's commitment and makes the request.
    ///
    /// # Errors
    /// [`LinkError::Malformed`] for another length or an unusable key.
    pub fn commitment<R: CryptoRng + ?Sized>(
        self,
        message: &[u8],
        rng: &mut R,
    ) -> Result<(Requested, Vec<u8>), LinkError> {
        let mut reader = Reader::new(message);
        let e_c = x25519::PublicKey::from_bytes(&reader.array()?)?;
        let committed = reader.array()?;
        reader.finish()?;
        let transcript = Transcript {
            user: self.applicant.user,
            device: self.applicant.device,
            e_n: *self.ephemeral.public(),
            e_c,
            committed,
        };
        let keys = transcript.keys(&self.secret, &self.ephemeral.diffie_hellman(&e_c)?);
        let claim = self.applicant.claim();
        let r_n = draw(rng);
        let plaintext: [u8; REQUEST_PLAINTEXT_BYTES] = concat(&[
            r_n.expose(),
            claim.dsk.as_bytes(),
            claim.dik.as_bytes(),
            &[self.applicant.kind.to_byte()],
            &self.applicant.capabilities.bits().to_be_bytes(),
            &claim.prove(&self.applicant.dsk),
        ]);
        let request = keys
            .new_device
            .seal(&NONCE, label!("UNH1/link/req"), &plaintext)?;
        let requested = Requested {
            transcript,
            claim,
            r_n,
            certifier_key: keys.certifier,
        };
        Ok((requested, request))
    }
}

impl Requested {
    /// Takes what C reveals, and has the digits to show.
    ///
    /// # Errors
    /// [`LinkError::Malformed`] for another length, [`LinkError::BrokenCommitment`] when it is not what C committed to.
    pub fn reveal(self, message: &[u8]) -> Result<Comparing, LinkError> {
        let mut reader = Reader::new(message);
        let r_c: [u8; 32] = reader.array()?;
        reader.finish()?;
        if sha256(&[&r_c]) != self.transcript.committed {
            return Err(LinkError::BrokenCommitment);
        }
        Ok(Comparing {
            sas: self.transcript.sas(&self.claim, self.r_n.expose(), &r_c),
            claim: self.claim,
            certifier_key: self.certifier_key,
        })
    }
}

impl Comparing {
    /// The digits to show.
    #[must_use]
    pub const fn sas(&self) -> Sas {
        self.sas
    }

    /// The user says that C shows the same digits.
    #[must_use]
    pub fn confirm(self) -> Confirmed {
        Confirmed {
            claim: self.claim,
            certifier_key: self.certifier_key,
        }
    }
}

impl Confirmed {
    /// Takes C's approval.
    ///
    /// # Errors
    /// [`LinkError::Forged`] when it does not open, [`LinkError::Malformed`] or [`LinkError::Unsupported`] for its
    /// content, [`LinkError::NotCertified`] when the genesis is another user's or not signed.
    pub fn approval(self, message: &[u8]) -> Result<Linked, LinkError> {
        let plaintext = self.certifier_key.open(&NONCE, label!("UNH1/link/ok"), message)?;
        let mut reader = Reader::new(&plaintext);
        let genesis = Genesis::parse(reader.take(Genesis::BYTES)?)?;
        let version = ListVersion(reader.u32()?);
        reader.finish()?;
        if genesis.user() != self.claim.user || genesis.verify().is_err() {
            return Err(LinkError::NotCertified);
        }
        Ok(Linked {
            claim: self.claim,
            genesis,
            version,
        })
    }
}

impl Linked {
    /// The user's genesis: the identity key to pin as one's own.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The lowest version of the own chain to believe.
    #[must_use]
    pub const fn version(&self) -> ListVersion {
        self.version
    }

    /// Checks the chain that the server hands out: it has this genesis, is at least as new as C saw it, and certifies
    /// this device with its own keys.
    ///
    /// # Errors
    /// [`LinkError::NotCertified`] when it does not.
    pub fn check(&self, chain: &Chain) -> Result<(), LinkError> {
        let certified = chain.device(self.claim.device).is_some_and(|device| {
            let subject = device.certificate().subject();
            (subject.dsk, subject.dik) == (self.claim.dsk, self.claim.dik) && device.revoked_at().is_none()
        });
        if certified && chain.head().version >= self.version && *chain.genesis() == self.genesis {
            Ok(())
        } else {
            Err(LinkError::NotCertified)
        }
    }
}

impl Applicant {
    fn claim(&self) -> Claim {
        Claim {
            user: self.user,
            device: self.device,
            dsk: self.dsk.verifying_key(),
            dik: self.dik,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unhidra_types::Timestamp;

    fn confirmed(user: UserId) -> Confirmed {
        Confirmed {
            claim: Claim {
                user,
                device: DeviceId::from_bytes([2; 16]),
                dsk: signing_key(2).verifying_key(),
                dik: *x25519::SecretKey::from_bytes(&Secret::new([2; 32])).public(),
            },
            certifier_key: key(),
        }
    }

    fn sealed(parts: &[&[u8]]) -> Vec<u8> {
        key()
            .seal(&NONCE, label!("UNH1/link/ok"), &parts.concat())
            .unwrap()
    }

    fn key() -> aead::Key {
        aead::Key::new(Secret::new([7; 32]))
    }

    fn signing_key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    #[test]
    fn a_genesis_of_another_user_or_without_its_signature_is_not_believed() {
        let user = UserId::from_bytes([1; 16]);
        let genesis = Genesis::sign(&signing_key(1), user, Timestamp::EPOCH, None);
        let version = 1_u32.to_be_bytes();
        let good = sealed(&[genesis.as_bytes(), &version]);
        assert_eq!(confirmed(user).approval(&good).unwrap().version(), ListVersion(1));

        let other = UserId::from_bytes([9; 16]);
        assert_eq!(confirmed(other).approval(&good), Err(LinkError::NotCertified));
        let mut unsigned = genesis.as_bytes().to_vec();
        *unsigned.last_mut().unwrap() ^= 1;
        assert_eq!(
            confirmed(user).approval(&sealed(&[&unsigned, &version])),
            Err(LinkError::NotCertified)
        );
    }

    #[test]
    fn an_approval_has_exactly_its_length() {
        let user = UserId::from_bytes([1; 16]);
        let genesis = Genesis::sign(&signing_key(1), user, Timestamp::EPOCH, None);
        for rest in [&[0; 3][..], &[0; 5]] {
            assert_eq!(
                confirmed(user).approval(&sealed(&[genesis.as_bytes(), rest])),
                Err(LinkError::Malformed)
            );
        }
    }
}
