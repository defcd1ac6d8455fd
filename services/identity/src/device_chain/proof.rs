//! Devices that a chain certifies, and the proof that they hold the keys that it names.

use unhidra_chain::{DeviceCertificate, auth::Claim};
use unhidra_crypto::ed25519::SIGNATURE_BYTES;
use unhidra_store::device::Certified;
use unhidra_wire::{base64::Base64Array, rest::DeviceProof};

use super::{Change, ExtendError};

/// A device that is certified for the first time, with the proof that it has the keys.
pub(crate) fn certify(
    certificate: &DeviceCertificate,
    proofs: &[DeviceProof],
) -> Result<Change, ExtendError> {
    let id = certificate.subject().device;
    let proof = proofs
        .iter()
        .find(|proof| proof.device_id == id)
        .ok_or(ExtendError::Unproved(id))?;
    check_proof(certificate, &proof.signature)?;
    Ok(Change::Certified(id, proof.name.clone(), certified(certificate)))
}

fn check_proof(
    certificate: &DeviceCertificate,
    proof: &Base64Array<SIGNATURE_BYTES>,
) -> Result<(), ExtendError> {
    let subject = certificate.subject();
    let claim = Claim {
        user: certificate.user(),
        device: subject.device,
        dsk: subject.dsk,
        dik: subject.dik,
    };
    claim
        .verify(&proof.0)
        .map_err(|_| ExtendError::Unproved(subject.device))
}

pub(crate) fn certified(certificate: &DeviceCertificate) -> Certified {
    let (subject, validity) = (certificate.subject(), certificate.validity());
    Certified {
        capabilities: subject.capabilities.bits(),
        dsk: *subject.dsk.as_bytes(),
        certificate_hash: certificate.hash(),
        not_before: validity.not_before,
        not_after: validity.not_after,
    }
}
