//! PQXDH: the keys that two devices share from one message on, and the transcript that names everything they rest on.

use alloc::vec::Vec;

use unhidra_chain::{
    DeviceIdentity, Suite, label,
    prekey::{KemKind, PrekeyId},
};
use unhidra_crypto::{
    hash::sha256,
    kdf,
    kem::{CIPHERTEXT_BYTES, EncapsulationKey},
    x25519::{KeyError, PublicKey, SecretKey},
};
use unhidra_types::Secret;

use crate::{derived::part, header::HeaderKey, root_key::RootKey};

/// This device, as a party to handshakes.
#[derive(Clone)]
pub struct LocalDevice {
    /// Its certified identity.
    pub identity: DeviceIdentity,
    /// The secret half of `identity.dik`.
    pub dik: SecretKey,
    /// Hash of its newest certificate.
    pub cert_hash: [u8; 32],
}

/// `T`: names the session for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TranscriptHash(pub(crate) [u8; 32]);

/// Everything that `T` binds: suite, both identities, every key by value and by id.
pub(crate) struct Transcript<'a> {
    pub(crate) suite: Suite,
    pub(crate) initiator: &'a DeviceIdentity,
    pub(crate) responder: &'a DeviceIdentity,
    pub(crate) ek: &'a PublicKey,
    pub(crate) spk: (PrekeyId, &'a PublicKey),
    pub(crate) opk: Option<(PrekeyId, &'a PublicKey)>,
    pub(crate) kem: Option<KemTranscript<'a>>,
}

/// The post-quantum part of a [`Transcript`].
pub(crate) struct KemTranscript<'a> {
    pub(crate) id: PrekeyId,
    pub(crate) kind: KemKind,
    pub(crate) key: &'a EncapsulationKey,
    pub(crate) ciphertext: &'a [u8; CIPHERTEXT_BYTES],
}

/// What the handshake key is derived from.
pub(crate) struct HandshakeSecrets {
    /// `DH1 DH2 DH3`, then `DH4` if there is a one-time prekey.
    pub(crate) shared: Vec<Secret<32>>,
    /// `ss`, in [`Suite::Hybrid`].
    pub(crate) kem: Option<Secret<32>>,
}

/// What both sides have in common after the handshake.
pub(crate) struct SharedKeys {
    /// `RK0`.
    pub(crate) root: RootKey,
    /// `HKa`.
    pub(crate) initiator_header_key: HeaderKey,
    /// `HKb`.
    pub(crate) responder_header_key: HeaderKey,
}

impl Transcript<'_> {
    pub(crate) fn hash(&self) -> TranscriptHash {
        let (opk_id, opk) = self
            .opk
            .map_or((0, [0; 32]), |(id, key)| (id.to_u32(), *key.as_bytes()));
        let pq_id = self.kem.as_ref().map_or(0, |kem| kem.id.to_u32());
        let pq_kind = self
            .kem
            .as_ref()
            .map_or(0, |kem| kem.kind.prekey_type().to_byte());
        let pq_key = self.kem.as_ref().map(|kem| kem.key.to_bytes());
        TranscriptHash(sha256(&[
            label!("UNH1/pqxdh"),
            &self.suite.to_bytes(),
            &self.initiator.to_bytes(),
            &self.responder.to_bytes(),
            self.ek.as_bytes(),
            &self.spk.0.to_u32().to_be_bytes(),
            self.spk.1.as_bytes(),
            &opk_id.to_be_bytes(),
            &opk,
            &pq_id.to_be_bytes(),
            &[pq_kind],
            pq_key.as_ref().map_or(&[], |key| key.as_slice()),
            self.kem.as_ref().map_or(&[], |kem| kem.ciphertext.as_slice()),
        ]))
    }
}

/// `DH1 DH2 DH3 DH4` as the initiator computes them.
pub(crate) fn initiator_secrets(
    dik: &SecretKey,
    ek: &SecretKey,
    peer_dik: &PublicKey,
    spk: &PublicKey,
    opk: Option<&PublicKey>,
) -> Result<Vec<Secret<32>>, KeyError> {
    let mut shared = Vec::with_capacity(4);
    shared.push(dik.diffie_hellman(spk)?);
    shared.push(ek.diffie_hellman(peer_dik)?);
    shared.push(ek.diffie_hellman(spk)?);
    if let Some(opk) = opk {
        shared.push(ek.diffie_hellman(opk)?);
    }
    Ok(shared)
}

/// `DH1 DH2 DH3 DH4` as the responder computes them.
pub(crate) fn responder_secrets(
    dik: &SecretKey,
    ek: &PublicKey,
    peer_dik: &PublicKey,
    spk: &SecretKey,
    opk: Option<&SecretKey>,
) -> Result<Vec<Secret<32>>, KeyError> {
    let mut shared = Vec::with_capacity(4);
    shared.push(spk.diffie_hellman(peer_dik)?);
    shared.push(dik.diffie_hellman(ek)?);
    shared.push(spk.diffie_hellman(ek)?);
    if let Some(opk) = opk {
        shared.push(opk.diffie_hellman(ek)?);
    }
    Ok(shared)
}

impl HandshakeSecrets {
    /// `RK0 | HKa | HKb`.
    pub(crate) fn derive(&self, transcript: &TranscriptHash) -> SharedKeys {
        let mut ikm: Vec<&[u8]> = Vec::with_capacity(6);
        // As in X3DH: no input of this derivation is ever the encoding of a point.
        ikm.push(&[0xff; 32]);
        ikm.extend(
            self.shared
                .iter()
                .chain(&self.kem)
                .map(|secret| secret.expose().as_slice()),
        );
        let info: [&[u8]; 2] = [label!("UNH1/pqxdh/keys"), &transcript.0];
        let okm = kdf::hkdf::<96>(&[0; 32], &ikm, &info);
        SharedKeys {
            root: RootKey::new(part::<0, 32, 96>(&okm)),
            initiator_header_key: HeaderKey::new(part::<32, 32, 96>(&okm)),
            responder_header_key: HeaderKey::new(part::<64, 32, 96>(&okm)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const T: TranscriptHash = TranscriptHash([5; 32]);

    fn secrets() -> HandshakeSecrets {
        HandshakeSecrets {
            shared: (1..=4).map(|byte| Secret::new([byte; 32])).collect(),
            kem: Some(Secret::new([9; 32])),
        }
    }

    fn differ_everywhere(one: &SharedKeys, other: &SharedKeys) -> bool {
        one.root != other.root
            && one.initiator_header_key != other.initiator_header_key
            && one.responder_header_key != other.responder_header_key
    }

    /// Invariant 6: whoever knows every DH but not the KEM secret, or the reverse, is left with unrelated keys.
    #[test]
    fn each_secret_alone_changes_every_key() {
        let honest = secrets().derive(&T);
        for unknown in 0..4 {
            let mut guess = secrets();
            guess.shared[unknown] = Secret::new([0xaa; 32]);
            assert!(differ_everywhere(&honest, &guess.derive(&T)), "DH{}", unknown + 1);
        }
        let mut guess = secrets();
        guess.kem = Some(Secret::new([0xaa; 32]));
        assert!(differ_everywhere(&honest, &guess.derive(&T)), "ss");
        guess.shared = vec![Secret::new([0xbb; 32]); 4];
        guess.kem = secrets().kem;
        assert!(differ_everywhere(&honest, &guess.derive(&T)), "every DH");
    }

    /// Invariant 25.
    #[test]
    fn another_transcript_changes_every_key() {
        let other = TranscriptHash([6; 32]);
        assert!(differ_everywhere(
            &secrets().derive(&T),
            &secrets().derive(&other)
        ));
    }
}
